//! Hashes on a second thread what the first one converts: SHA-256 takes about as long as everything else together.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;

/// Buffers under way; more would only leave the cache.
const DEPTH: usize = 4;

/// A thread that hashes buffers in the order in which it gets them, and gives them back to be filled again.
#[derive(Debug)]
pub(super) struct Background {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Hasher>,
}

impl Background {
    /// Starts the thread with what `hasher` has already seen. It ends with this value.
    pub(super) fn start(mut hasher: Hasher) -> io::Result<Self> {
        let (full, incoming) = sync_channel::<Vec<u8>>(DEPTH);
        let (outgoing, empty) = sync_channel::<Vec<u8>>(DEPTH + 2);
        let thread = Builder::new().name("kadapter-hash".to_owned()).spawn(move || {
            for buffer in incoming {
                hasher.update(&buffer);
                // Nobody needs the buffer back when the reader is gone or already has enough.
                let _ = outgoing.try_send(buffer);
            }
            hasher
        })?;
        Ok(Self { full, empty, thread })
    }

    /// Hashes a buffer and returns another one to fill; its content is arbitrary.
    pub(super) fn exchange(&self, buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        self.full.send(buffer).map_err(|_| stopped())?;
        Ok(self.empty.try_recv().unwrap_or_default())
    }

    /// Waits for the digest and the number of bytes.
    pub(super) fn finish(self) -> io::Result<(Digest, u64)> {
        drop(self.full);
        self.thread.join().map(Hasher::finish).map_err(|_| stopped())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the hashing thread stopped")
}
