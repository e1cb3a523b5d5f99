//! The bytes of a file, decompressed while they are read.

use super::Error;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The first bytes of an xz file.
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The most memory for a dictionary of xz, in KiB: what the highest preset, `xz -9`, needs, and some more. A header may ask for
/// 4 GiB.
const XZ_MEMORY: u32 = 80 << 10;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// Bytes, whatever they were compressed with.
pub(crate) type Bytes = Box<dyn BufRead + Send>;

/// Opens a file. Its compression is told by its first bytes, not by its name.
pub(crate) fn open(path: &Path) -> Result<Bytes, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    decompress(file).map_err(failed)
}

/// Reads bytes through what they were compressed with.
pub(super) fn decompress(raw: impl Read + Send + 'static) -> std::io::Result<Bytes> {
    let mut raw = BufReader::with_capacity(BUFFER, raw);
    let start = raw.fill_buf()?;
    Ok(if start.starts_with(&XZ) {
        Box::new(BufReader::with_capacity(BUFFER, XzReader::new_mem_limit(raw, true, XZ_MEMORY)))
    } else if start.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw)))
    } else {
        Box::new(raw)
    })
}
