//! How a child ended, in words.

use super::limits::MAX_PRINTED;
use std::fmt;
use std::time::Duration;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Status(i32),
    /// By a signal.
    Signal(i32),
    /// It was killed, because it was not done in this time.
    TimeOut(Duration),
    /// It was killed, because it printed without end.
    Printed,
}

impl Ending {
    /// Whether a filter of system calls ended it.
    pub(in super::super) fn is_forbidden_call(&self) -> bool {
        matches!(self, Self::Signal(signal) if signal_name(*signal).is_some_and(|(name, _)| name == "SIGSYS"))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "ended with status {status} before it was done"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some((name, meaning)) => write!(formatter, "was killed by {name} ({meaning})"),
                None => write!(formatter, "was killed by signal {signal}"),
            },
            Self::TimeOut(time) => write!(formatter, "was not done after {} s", time.as_secs_f64()),
            Self::Printed => write!(formatter, "printed more than {} MiB", MAX_PRINTED >> 20),
        }
    }
}

/// Name and meaning of the signals that end processes. Their numbers are the same on all systems of ours but where noted.
fn signal_name(signal: i32) -> Option<(&'static str, &'static str)> {
    let linux = cfg!(target_os = "linux");
    Some(match signal {
        1 => ("SIGHUP", "its terminal is gone"),
        2 => ("SIGINT", "interrupted"),
        3 => ("SIGQUIT", "told to quit"),
        4 => ("SIGILL", "an instruction that this processor does not have"),
        5 => ("SIGTRAP", "a trap, as from a failed assertion of the compiler"),
        6 => ("SIGABRT", "it aborted itself"),
        7 if linux => ("SIGBUS", "memory that is not there"),
        10 if !linux => ("SIGBUS", "memory that is not there"),
        8 => ("SIGFPE", "an arithmetic fault"),
        9 => ("SIGKILL", "from outside, or the system had no memory left"),
        11 => ("SIGSEGV", "a wrong access to memory"),
        13 => ("SIGPIPE", "nobody reads what it writes"),
        14 => ("SIGALRM", "an alarm that it set"),
        15 => ("SIGTERM", "told to end"),
        24 => ("SIGXCPU", "too much processor time"),
        25 => ("SIGXFSZ", "too large a file"),
        31 if linux => ("SIGSYS", "a forbidden system call"),
        12 if !linux => ("SIGSYS", "a forbidden system call"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_said_in_words() {
        assert_eq!(Ending::Signal(11).to_string(), "was killed by SIGSEGV (a wrong access to memory)");
        assert_eq!(Ending::Signal(60).to_string(), "was killed by signal 60");
        assert_eq!(Ending::Status(0).to_string(), "ended with status 0 before it was done");
        assert_eq!(Ending::TimeOut(Duration::from_millis(1500)).to_string(), "was not done after 1.5 s");
    }
}
