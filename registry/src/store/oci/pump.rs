//! Bodies of uploads: whatever can be read, passed on in pieces from a thread of its own, so that no file is ever whole in
//! memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream;
use reqwest::Body;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::store::remote::wait;

/// The size of one piece, in bytes.
const PIECE: usize = 256 * 1024;
/// Pieces that wait to be sent: enough to keep both sides busy.
const WAITING: usize = 8;

type Piece = io::Result<Bytes>;

/// The side that reads.
pub(super) struct Pump {
    pieces: Sender<Piece>,
    /// Answers when nobody waits for the upload any more.
    end: oneshot::Receiver<()>,
}

/// The side that is sent. As long as it is there, the pump runs.
pub(super) struct Upload {
    /// The body of the request.
    pub(super) body: Body,
    /// How far it is.
    pub(super) progress: Progress,
    /// A connection that nobody reads may hold on to a body for long; this is let go at once.
    _end: Option<oneshot::Sender<()>>,
}

impl Upload {
    /// Sends bytes that are in memory.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { body: Bytes::copy_from_slice(bytes).into(), progress: Progress::default(), _end: None }
    }
}

/// How many pieces a body has given away.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The count so far.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes a pump, and the upload that has what it reads.
pub(super) fn pump() -> (Pump, Upload) {
    let (pieces, receiver) = channel(WAITING);
    let (ending, end) = oneshot::channel();
    let progress = Progress::default();
    let body = body(receiver, progress.clone());
    (Pump { pieces, end }, Upload { body, progress, _end: Some(ending) })
}

fn body(receiver: Receiver<Piece>, progress: Progress) -> Body {
    Body::wrap_stream(stream::unfold((receiver, progress), |(mut receiver, progress)| async {
        let piece = receiver.recv().await?;
        progress.0.fetch_add(1, Ordering::Relaxed);
        Some((piece, (receiver, progress)))
    }))
}

impl Pump {
    /// Reads the stream to its end, or until nobody wants more of it.
    ///
    /// A piece is given away when the next one was read: a stream that fails at its very end, because it is not what it
    /// should be, has not been sent whole.
    ///
    /// # Errors
    /// The stream's own; the request then breaks off.
    pub(super) fn run(mut self, mut stream: impl Read) -> io::Result<()> {
        let mut held = Bytes::new();
        loop {
            let next = match read_piece(&mut stream) {
                Ok(next) => next,
                Err(error) => {
                    // The request is to break off; whether it still could does not matter.
                    let broken = io::Error::other("the content could not be read to its end");
                    self.give(Err(broken));
                    return Err(error);
                }
            };
            let is_end = next.is_empty();
            let piece = std::mem::replace(&mut held, next);
            if !piece.is_empty() && !self.give(Ok(piece)) || is_end {
                return Ok(());
            }
        }
    }

    /// Gives a piece away, and tells whether anybody took it.
    fn give(&mut self, piece: Piece) -> bool {
        let sending = std::pin::pin!(self.pieces.send(piece));
        match wait(select(sending, &mut self.end)) {
            Either::Left((sent, _)) => sent.is_ok(),
            Either::Right(_) => false,
        }
    }
}

/// Reads a full piece; a shorter one, and an empty one after it, are the end.
fn read_piece(stream: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    stream.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(Bytes::from(piece))
}
