//! Copying of streams into files: one thread reads and hashes, another writes, in buffers large enough that system calls do
//! not show.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

/// The buffers, in bytes: large enough that handing one on costs nothing beside filling it.
const BUFFER: usize = 1 << 20;
/// Buffers under way between the threads: enough that neither waits for the other's hiccups.
const DEPTH: usize = 4;

/// Copies a stream to its end into a file and counts the bytes. An error of the stream is returned as it is.
///
/// # Errors
/// The stream's own, or the file cannot be written.
pub(crate) fn copy(content: &mut dyn Read, mut file: &File) -> io::Result<u64> {
    let mut first = vec![0; BUFFER];
    let length = fill(content, &mut first)?;
    if length < BUFFER {
        file.write_all(&first[..length])?;
        return Ok(length as u64);
    }
    std::thread::scope(|scope| {
        let (full, incoming) = sync_channel(DEPTH);
        let (outgoing, empty) = sync_channel(DEPTH + 2);
        let writer = Builder::new()
            .name("kadapter-write".to_owned())
            .spawn_scoped(scope, move || write(file, &incoming, &outgoing))?;
        let read = read(content, first, full, &empty);
        // A writer that stops early says why; the reader only notices that nobody listens.
        let written = writer.join().map_err(|_| io::Error::other("the writing thread stopped"))?;
        written.and(read)
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
        if full.send((buffer, length)).is_err() {
            return Err(io::Error::other("the writing thread stopped"));
        }
        buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER]);
        length = fill(content, &mut buffer)?;
    }
    Ok(total)
}

/// Writes full buffers in their order and gives them back.
fn write(mut file: &File, incoming: &Receiver<(Vec<u8>, usize)>, outgoing: &SyncSender<Vec<u8>>) -> io::Result<()> {
    for (buffer, length) in incoming {
        file.write_all(&buffer[..length])?;
        // Nobody needs the buffer back when the reader is gone or already has enough.
        let _ = outgoing.try_send(buffer);
    }
    Ok(())
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
