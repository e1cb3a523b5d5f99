//! Ways to misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http::Request;

/// A way to misbehave, and where.
#[derive(Debug)]
pub struct Fault {
    method: Option<&'static str>,
    path: String,
    left: AtomicUsize,
    pub(crate) act: Act,
}

/// What is done instead of answering.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with this status, these headers and this page.
    Page(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Promises the whole content and breaks off after some bytes.
    Truncate(usize),
    /// Goes on behind the content for as long as somebody listens, and promises no length.
    Endless,
    /// Changes the last byte.
    Flip,
    /// Sends another body.
    Replace(Vec<u8>),
    /// Sends the same, with one header more.
    Header(&'static str, String),
    /// Sends to another address.
    Redirect(String),
    /// Sends the content in small pieces.
    Slow,
    /// Does what was asked, and hangs up instead of saying so.
    HangUp,
}

impl Fault {
    /// Misbehaves wherever the path has this part, and always.
    #[must_use]
    pub fn at(path: &str, act: Act) -> Self {
        Self { method: None, path: path.to_owned(), left: AtomicUsize::new(usize::MAX), act }
    }

    /// Only where the request has this method.
    #[must_use]
    pub fn only(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = AtomicUsize::new(times);
        self
    }

    /// Tells whether it is this request's turn.
    pub(crate) fn strikes(&self, request: &Request) -> bool {
        let fits = self.method.is_none_or(|method| method == request.method) && request.path.contains(&self.path);
        fits && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}
