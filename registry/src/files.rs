//! Small files: bounded reading, and writing that leaves the old file or the new one and nothing between.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::error::Error;

/// What the names of files begin with that are being written.
pub(crate) const UNFINISHED: &str = ".kadapter-";

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let refuse = |source| Error::Io { action: "read", path: path.to_path_buf(), source };
    let file = File::open(path).map_err(refuse)?;
    read_bounded(file, limit).map_err(refuse)?.ok_or_else(|| Error::TooLong { file: path.display().to_string(), limit })
}

/// Reads a stream of at most `limit` bytes; none when it is longer.
pub(crate) fn read_bounded(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Reads a UTF-8 file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let bytes = read_bytes(path, limit)?;
    String::from_utf8(bytes)
        .map_err(|error| Error::NotUtf8 { file: path.display().to_string(), offset: error.utf8_error().valid_up_to() })
}

/// Writes a file through a temporary one beside it, so that a crash leaves the old content or the new.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let refuse = |source| Error::Io { action: "write", path: path.to_path_buf(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary(directory).map_err(refuse)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(refuse)?;
    file.persist(path).map_err(|error| refuse(error.error))?;
    sync_directory(directory).map_err(refuse)
}

/// Makes a temporary file in `directory` that others may read once it has its name.
pub(crate) fn temporary(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    let permissions: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(directory)
}

/// Makes a directory's entries last through a power cut, where the system can.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
