//! One pass over a safetensors file, hashed as it goes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use kadapter_registry::tensors::{Header, TensorInfo};

use super::convert::{decode_f32, is_float};
use super::error::Error;
use super::hash::Background;

/// Bytes read, hashed and converted at a time: they stay in the second-level cache. Whole values of every type.
const CHUNK: usize = 128 * 1024;

/// What a release says about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256 of the whole file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A safetensors file that is read once, from its first byte to its last.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    background: Background,
    header: Header,
    expected: Option<Expected>,
    /// Index of the tensor that comes next.
    next: usize,
    /// Bytes of tensor data that were read.
    position: u64,
    chunk: Vec<u8>,
}

impl Reader {
    /// Opens a file, reads its header and checks its length.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, that is not safetensors, or that has another length than its header or `expected` says.
    pub fn open(path: &Path, expected: Option<Expected>) -> Result<Self, Error> {
        let refuse = |source| Error::Io { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(refuse)?;
        let found = file.metadata().map_err(refuse)?.len();
        if let Some(Expected { size, .. }) = expected
            && size != found
        {
            return Err(Error::Size { path: path.to_owned(), expected: size, found });
        }
        let mut hashing = Hashing { file, hasher: Hasher::new() };
        let header = Header::read(&mut hashing)
            .and_then(|header| header.check_file_size(found).map(|()| header))
            .map_err(|source| Error::Header { path: path.to_owned(), source })?;
        let Hashing { file, hasher } = hashing;
        let background = Background::start(hasher).map_err(refuse)?;
        Ok(Self { path: path.to_owned(), file, background, header, expected, next: 0, position: 0, chunk: Vec::new() })
    }

    /// The file's header: all tensors, in the order in which they come.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next tensor; what was left of the one before is skipped (and hashed).
    ///
    /// # Errors
    ///
    /// A file that cannot be read on.
    pub fn next_tensor(&mut self) -> Result<Option<Tensor<'_>>, Error> {
        let Some(begin) = self.header.tensors().get(self.next).map(|info| info.begin) else { return Ok(None) };
        self.skip_to(begin)?;
        self.next += 1;
        Ok(Some(Tensor { index: self.next - 1, reader: self }))
    }

    /// Hands every tensor's bytes to `visit`, in one buffer that is used again and again.
    ///
    /// # Errors
    ///
    /// The first error of `visit`, or of reading; also at the end, when the file was not the expected one.
    pub fn for_each<E: From<Error>>(
        mut self,
        mut visit: impl FnMut(&TensorInfo, &[u8]) -> Result<(), E>,
    ) -> Result<(Digest, u64), E> {
        let mut bytes = Vec::new();
        while let Some(mut tensor) = self.next_tensor()? {
            tensor.read_bytes(&mut bytes)?;
            visit(tensor.info(), &bytes)?;
        }
        Ok(self.finish()?)
    }

    /// Reads what is left and tells digest and size of the whole file.
    ///
    /// # Errors
    ///
    /// [`Error::Digest`] or [`Error::Size`] when they are not as expected: nothing that was read may be used then.
    pub fn finish(mut self) -> Result<(Digest, u64), Error> {
        self.skip_to(self.header.data_size())?;
        // A file that grew while it was read is not the one whose length was checked.
        let refuse = |source| Error::Io { action: "read", path: self.path.clone(), source };
        let more = self.file.read(&mut [0]).map_err(refuse)?;
        self.background.exchange(self.chunk).map_err(refuse)?;
        let (digest, size) = self.background.finish().map_err(refuse)?;
        let path = self.path;
        match self.expected {
            Some(expected) if expected.size != size || more > 0 => {
                Err(Error::Size { path, expected: expected.size, found: size })
            }
            Some(expected) if expected.digest != digest => {
                Err(Error::Digest { path, expected: expected.digest, found: digest })
            }
            _ => Ok((digest, size)),
        }
    }

    fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        while self.position < position {
            self.fill(position - self.position)?;
        }
        Ok(())
    }

    /// Reads at most `left` bytes, and at most a chunk, into `chunk`; the one that was there goes to be hashed.
    fn fill(&mut self, left: u64) -> Result<(), Error> {
        let refuse = |source| Error::Io { action: "read", path: self.path.clone(), source };
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        self.chunk = self.background.exchange(std::mem::take(&mut self.chunk)).map_err(refuse)?;
        self.chunk.resize(length, 0);
        self.file.read_exact(&mut self.chunk).map_err(refuse)?;
        self.position += length as u64;
        Ok(())
    }
}

/// A tensor whose bytes come next.
#[derive(Debug)]
pub struct Tensor<'a> {
    reader: &'a mut Reader,
    index: usize,
}

impl Tensor<'_> {
    /// Name, type and shape.
    #[must_use]
    pub fn info(&self) -> &TensorInfo {
        &self.reader.header.tensors()[self.index]
    }

    /// Reads the values as `f32`, row-major. The vector is the only copy, and is exactly as large as needed.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`], [`Error::NotFloat`], or a file that cannot be read.
    pub fn read_f32(self) -> Result<Vec<f32>, Error> {
        let mut values = Vec::new();
        self.read_f32_into(&mut values)?;
        Ok(values)
    }

    /// Reads the values as `f32` into `values`, which is cleared first: for those who pack or copy them at once, and save
    /// the page faults of a fresh vector per tensor, which cost more than reading and hashing do.
    ///
    /// # Errors
    ///
    /// As [`Tensor::read_f32`].
    pub fn read_f32_into(self, values: &mut Vec<f32>) -> Result<(), Error> {
        let TensorInfo { dtype, end, .. } = *self.info();
        let name = self.info().name.clone();
        let elements = self.info().elements();
        if !is_float(dtype) {
            return Err(Error::NotFloat { tensor: name, found: dtype });
        }
        values.clear();
        // The header was checked against the file's length, so this is not more than the file has.
        values.reserve_exact(usize::try_from(elements).unwrap_or_default());
        while self.reader.position < end {
            self.reader.fill(end - self.reader.position)?;
            decode_f32(&name, dtype, &self.reader.chunk, values)?;
        }
        Ok(())
    }

    /// Reads the bytes as they are into `bytes`, which is cleared first; a second call gives nothing.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn read_bytes(&mut self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let end = self.info().end;
        bytes.clear();
        bytes.reserve(usize::try_from(end - self.reader.position).unwrap_or_default());
        while self.reader.position < end {
            self.reader.fill(end - self.reader.position)?;
            bytes.extend_from_slice(&self.reader.chunk);
        }
        Ok(())
    }
}

/// A file that hashes what is read from it: for the header, before there is a thread.
#[derive(Debug)]
struct Hashing {
    file: File,
    hasher: Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
