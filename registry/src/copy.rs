//! Streams in two threads: one reads, another writes or hashes what was read meanwhile.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use crate::digest::BUFFER;

/// Buffers under way between the threads: enough that neither waits for the other's hiccups, few enough to stay in the
/// processor's cache.
const DEPTH: usize = 4;
/// How many bytes are written between two syncs.
const SYNC: usize = 64 << 20;

/// Copies a stream to its end into a file and counts the bytes. An error of the stream is returned as it is. Most is on the
/// disk then, so that little is left to sync: that was done while the stream was read and hashed, which takes longest.
///
/// # Errors
/// The stream's own, or the file cannot be written.
pub(crate) fn copy(content: &mut dyn Read, mut file: &File) -> io::Result<u64> {
    let mut dirty = 0;
    pipe(content, |bytes| {
        file.write_all(bytes)?;
        dirty += bytes.len();
        if dirty >= SYNC {
            file.sync_data()?;
            dirty = 0;
        }
        Ok(())
    })
}

/// Reads a stream to its end and counts the bytes, while a second thread takes them in their order; what fits one buffer is
/// taken without a second thread. An error of the stream is returned as it is.
///
/// # Errors
/// The stream's own, or the taker's.
pub(crate) fn pipe(content: &mut dyn Read, mut take: impl FnMut(&[u8]) -> io::Result<()> + Send) -> io::Result<u64> {
    let mut first = vec![0; BUFFER];
    let length = fill(content, &mut first)?;
    if length < BUFFER {
        take(&first[..length])?;
        return Ok(length as u64);
    }
    std::thread::scope(|scope| {
        let (full, incoming) = sync_channel::<(Vec<u8>, usize)>(DEPTH);
        let (outgoing, empty) = sync_channel(DEPTH + 2);
        let take_all = move || {
            for (buffer, length) in incoming {
                take(&buffer[..length])?;
                // Nobody needs the buffer back when the reader is gone or already has enough.
                let _ = outgoing.try_send(buffer);
            }
            Ok(())
        };
        let taker = Builder::new().name("kadapter-transfer".to_owned()).spawn_scoped(scope, take_all)?;
        let read = read(content, first, full, &empty);
        // A taker that stops early says why; the reader only notices that nobody listens.
        let taken: io::Result<()> = taker.join().map_err(|_| stopped())?;
        taken.and(read)
    })
}

/// Hands on full buffers until the stream ends.
fn read(
    content: &mut dyn Read,
    first: Vec<u8>,
    full: SyncSender<(Vec<u8>, usize)>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<u64> {
    let (mut buffer, mut length, mut total) = (first, BUFFER, 0);
    while length > 0 {
        total += length as u64;
        full.send((buffer, length)).map_err(|_| stopped())?;
        buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER]);
        length = fill(content, &mut buffer)?;
    }
    Ok(total)
}

fn stopped() -> io::Error {
    io::Error::other("a thread stopped")
}

/// Reads until the buffer is full or the stream ends.
fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match content.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Reads a stream to its end for the sake of what it checks.
///
/// # Errors
/// The stream's own.
pub(crate) fn drain(content: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while fill(content, &mut buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives little at a time, is interrupted, and may break.
    struct Rough<'a> {
        bytes: &'a [u8],
        calls: usize,
        breaks: bool,
    }

    impl Read for Rough<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            match self.calls % 3 {
                0 => Err(io::Error::from(io::ErrorKind::Interrupted)),
                _ if self.bytes.is_empty() && self.breaks => Err(io::Error::other("the cable was pulled")),
                _ => (&mut self.bytes).take(30_011).read(buffer),
            }
        }
    }

    #[test]
    fn every_length_around_the_buffer_is_copied_whole() {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, 20 * BUFFER + 7] {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 31 % 251) as u8).collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut content = Rough { bytes: &bytes, calls: 0, breaks: false };
            assert_eq!(copy(&mut content, file.as_file()).unwrap(), length as u64);
            assert!(std::fs::read(file.path()).unwrap() == bytes, "{length}");
        }
    }

    #[test]
    fn whichever_side_fails_says_why() {
        let bytes = vec![1; 20 * BUFFER];
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut content = Rough { bytes: &bytes, calls: 0, breaks: true };
        assert_eq!(copy(&mut content, file.as_file()).unwrap_err().to_string(), "the cable was pulled");
        let unwritable = File::open(file.path()).unwrap();
        for length in [5, bytes.len()] {
            let mut content = Rough { bytes: &bytes[..length], calls: 0, breaks: true };
            let error = copy(&mut content, &unwritable).unwrap_err();
            assert!(length == 5 || error.raw_os_error().is_some(), "{error}");
        }
    }
}
