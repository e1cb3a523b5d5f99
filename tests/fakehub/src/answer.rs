//! Answers, and how faults spoil them.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::fault::Act;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, value.to_string().into_bytes()).with("Content-Type", "application/json")
    }

    /// A refusal as the Hub makes it.
    pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string().into_bytes();
        Self::new(status, body).with("X-Error-Code", code).with("X-Error-Message", message)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends the answer, spoiled by a fault if there is one.
    pub(crate) fn send(mut self, mut stream: &TcpStream, is_head: bool, fault: Option<&Act>) -> io::Result<()> {
        let mut length = Some(self.body.len());
        let (mut endless, mut slow) = (false, false);
        match fault {
            Some(Act::Page(status, headers, page)) => {
                self = Self::new(*status, page.clone());
                self.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                length = Some(page.len());
            }
            Some(Act::Truncate(bytes)) => self.body.truncate(*bytes),
            Some(Act::Endless) => (endless, length) = (true, None),
            Some(Act::Flip) => {
                if let Some(last) = self.body.last_mut() {
                    *last ^= 1;
                }
            }
            Some(Act::Replace(body)) => {
                self.body.clone_from(body);
                length = Some(body.len());
            }
            Some(Act::Header(name, value)) => {
                self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                self = self.with(name, value.clone());
            }
            Some(Act::Redirect(to)) => self = Self::new(302, Vec::new()).with("Location", to.clone()),
            Some(Act::Slow) => slow = true,
            Some(Act::HangUp) => return stream.shutdown(Shutdown::Both),
            None => {}
        }
        if matches!(fault, Some(Act::Redirect(_))) {
            length = Some(0);
        }
        let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Date")) {
            head += &format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if is_head {
            return Ok(());
        }
        if slow {
            for piece in self.body.chunks(self.body.len().div_ceil(20).max(1)) {
                stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(5));
            }
            return Ok(());
        }
        stream.write_all(&self.body)?;
        if !endless {
            return Ok(());
        }
        loop {
            stream.write_all(&[b'x'; 64 * 1024])?;
        }
    }
}
