//! Linux: an anonymous memory file, sealed so that nobody can change it, this process included.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// Sealed bytes.
///
/// It is never closed: the loader knows open libraries by path, and a number used twice would give the first library again.
pub(crate) struct Image {
    path: PathBuf,
}

impl Image {
    /// Copies the bytes into a sealed memory file.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memfd_create("kadapter-plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(bytes)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        std::mem::forget(file);
        Ok(Self { path })
    }

    /// An absolute path to the bytes.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}
