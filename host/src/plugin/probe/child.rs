//! What runs in the child.

use super::errand::{Answer, Envelope, Errand};
use super::reporter::{Reporter, Stage};
use super::{super::check, super::contact, platform};
use std::io::Read;
use std::process::ExitCode;

/// The longest errand: a configuration of a package is far below.
const MAX_ERRAND: u64 = 8 << 20;

/// Does what the errand on stdin asks for. Only for a process that a [`Prober`](super::Prober) started: plugin code runs here, of
/// plugins that nobody has met.
pub fn serve() -> ExitCode {
    let mut errand = Vec::new();
    let read = std::io::stdin().lock().take(MAX_ERRAND).read_to_end(&mut errand);
    let envelope = read.ok().and_then(|_| serde_json::from_slice::<Envelope>(&errand).ok());
    let Some(envelope) = envelope else {
        eprintln!(
            "error: no errand came on stdin; this command is for `kadapter` itself, see `kadapter plugin check --help`"
        );
        return ExitCode::FAILURE;
    };
    let Ok(reporter) = Reporter::open(&envelope.report) else { return ExitCode::FAILURE };
    platform::confine(envelope.memory);
    let answer = match &envelope.errand {
        Errand::Check(errand) => Answer::Check(check::carry_out(errand, &reporter)),
        Errand::Contact(errand) => Answer::Contact(contact::carry_out(errand, &reporter)),
    };
    reporter.answer(answer);
    reporter.enter(Stage::End);
    ExitCode::SUCCESS
}
