//! Linux: an anonymous memory file, sealed so that nobody can change it, this process included.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

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
        seal(&file)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        std::mem::forget(file);
        Ok(Self { path })
    }

    /// An absolute path to the bytes.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

/// How often sealing is tried, and how long to wait between: five seconds together.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Seals a memory file. Where memory is short the kernel itself holds pages for a moment, and says that they are busy.
fn seal(file: &File) -> io::Result<()> {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    for _ in 1..TRIES {
        match fcntl_add_seals(file, seals) {
            Err(Errno::BUSY) => sleep(PAUSE),
            done => return Ok(done?),
        }
    }
    Ok(fcntl_add_seals(file, seals)?)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "mapping memory is the only way to hold its pages")]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    #[test]
    fn pages_that_are_held_for_a_moment_are_waited_for() {
        const LENGTH: usize = 4096;
        let mut file = File::from(memfd_create("busy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
        file.write_all(&[1; LENGTH]).unwrap();
        let (nowhere, both) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the kernel chooses a place that nothing else has.
        let held = unsafe { mmap(nowhere, LENGTH, both, MapFlags::SHARED, &file, 0) }.unwrap().expose_provenance();
        assert_eq!(fcntl_add_seals(&file, SealFlags::WRITE), Err(Errno::BUSY));
        let holder = std::thread::spawn(move || {
            sleep(3 * PAUSE);
            // SAFETY: nobody else knows of the mapping.
            unsafe { munmap(std::ptr::with_exposed_provenance_mut(held), LENGTH) }.unwrap();
        });
        seal(&file).unwrap();
        holder.join().unwrap();
        assert!(file.write_all(&[2]).is_err(), "it is sealed");
    }
}
