//! How failures are shown: one sentence with its causes, then what to type next.

use std::error::Error as StdError;
use tracing_subscriber::EnvFilter;

/// Why a command stops.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn StdError>,
    hint: Option<String>,
}

impl Failure {
    /// A failure of the command line itself.
    pub(crate) fn new(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { error: sentence.into().into(), hint: Some(hint.into()) }
    }

    /// A file that could not be read or written.
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        kadapter_host::Error::Io { action, path: path.to_owned(), source }.into()
    }
}

impl<E: Into<kadapter_host::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { hint: error.hint(), error: Box::new(error) }
    }
}

/// An error and its causes as one sentence.
pub(crate) fn sentence(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Prints a failure to stderr.
pub(crate) fn print(failure: &Failure) {
    anstream::eprintln!("{RED}error{RESET}: {}", sentence(&*failure.error));
    if let Some(hint) = &failure.hint {
        anstream::eprintln!("  {CYAN}hint{RESET}: {hint}");
    }
}

/// Prints something that went wrong with a part of the work.
pub(crate) fn print_part(place: &str, error: &kadapter_host::Error) {
    anstream::eprintln!("{RED}error{RESET}: {place}: {}", sentence(error));
    if let Some(hint) = error.hint() {
        anstream::eprintln!("  {CYAN}hint{RESET}: {hint}");
    }
}

/// Prints to stderr what should be known though nothing failed.
pub(crate) fn print_warning(sentence: &str, hint: Option<&str>) {
    anstream::eprintln!("{YELLOW}warning{RESET}: {sentence}");
    if let Some(hint) = hint {
        anstream::eprintln!("  {CYAN}hint{RESET}: {hint}");
    }
}

/// One line of JSON; what is printed this way can always be written.
pub(crate) fn json(line: &impl serde::Serialize) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

/// Shows logs on stderr as `RUST_LOG` asks for, warnings without it. What `hf-hub` warns of is told as our own errors.
pub(crate) fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,hf_hub=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";
