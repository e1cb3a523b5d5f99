//! The one error that crosses the contract: a kind a program can act on and a sentence a person can read.

use abi_stable::{StableAbi, std_types::RString};
use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a fact a host can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The adapter's configuration is wrong: a key is missing, unknown or out of range.
    Config,
    /// An op got tensors whose shapes do not fit.
    Shape,
    /// An op could not be carried out by the device.
    Device,
    /// The plugin's code panicked; the panic was caught at the boundary.
    Panic,
    /// The plugin refused for a reason of its own.
    Other,
}

/// An error of an adapter or of an op.
///
/// Crosses the boundary as a number and a string, so that later kinds never change its layout.
#[repr(C)]
#[derive(Clone, PartialEq, Eq, StableAbi)]
pub struct Error {
    code: u32,
    message: RString,
}

impl Error {
    /// An error of the plugin's own; write what was expected and what was found.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Other, message)
    }

    /// A configuration error.
    pub fn config(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Config, message)
    }

    /// A shape error.
    pub fn shape(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Shape, message)
    }

    /// An error of the device that carries out ops.
    pub fn device(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Device, message)
    }

    /// A caught panic.
    pub fn panic(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Panic, message)
    }

    fn of(kind: ErrorKind, message: impl Into<String>) -> Self {
        let code = match kind {
            ErrorKind::Other => 0,
            ErrorKind::Config => 1,
            ErrorKind::Shape => 2,
            ErrorKind::Device => 3,
            ErrorKind::Panic => 4,
        };
        Self { code, message: message.into().into() }
    }

    /// What kind of error this is; codes from a newer ABI read as [`ErrorKind::Other`].
    pub fn kind(&self) -> ErrorKind {
        match self.code {
            1 => ErrorKind::Config,
            2 => ErrorKind::Shape,
            3 => ErrorKind::Device,
            4 => ErrorKind::Panic,
            _ => ErrorKind::Other,
        }
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.kind(), self.message)
    }
}

impl std::error::Error for Error {}
