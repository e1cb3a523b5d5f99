//! Child processes that meet a plugin, so that whatever it does to a process it does to that one.
//!
//! ```text
//! parent: Prober ── errand as JSON on stdin ──────────────────────> child: `serve`
//!                <── report file: a line per stage, then the answer ── opened before the plugin is
//!                <── how the process ended: status, signal, time-out
//!                <── what the plugin printed: stdout and stderr, in a file of their own
//! ```
//! A child without an answer died, whatever its status says: a plugin that calls `exit(0)` is seen.

mod child;
mod ending;
mod errand;
mod error;
pub(super) mod hollow;
mod limits;
mod met;
mod platform;
mod reporter;

pub use child::serve;
pub use ending::Ending;
pub use error::ProbeError;
pub use limits::Limits;

pub(super) use errand::{Answer, Errand};
pub(super) use met::Met;
pub(super) use reporter::{Reporter, Stage};

use errand::Envelope;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How to start a child: a program that calls [`serve`] when it gets these arguments, and what the child may use.
#[derive(Clone, Debug)]
pub struct Prober {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What one child may use.
    pub limits: Limits,
}

/// The first and the longest pause between two looks at a child.
const PAUSES: [Duration; 2] = [Duration::from_micros(250), Duration::from_millis(5)];

impl Prober {
    /// Children of the running program, started with these arguments.
    ///
    /// # Errors
    /// When the running program's file is not known.
    pub fn this_program(arguments: &[&str], limits: Limits) -> Result<Self, ProbeError> {
        // The link leads to the running program also when its file was replaced meanwhile.
        let link = PathBuf::from("/proc/self/exe");
        let program = if cfg!(target_os = "linux") && link.exists() {
            link
        } else {
            std::env::current_exe().map_err(|source| ProbeError::Program { source })?
        };
        Ok(Self { program, arguments: arguments.iter().map(OsString::from).collect(), limits })
    }

    /// Sends a child on an errand and waits for it, at most as long as the limits say.
    pub(super) fn send(&self, errand: Errand) -> Result<Met, ProbeError> {
        let files = |source| ProbeError::Files { source };
        let mut report = tempfile::Builder::new().prefix("kadapter-report").tempfile().map_err(files)?;
        let mut printed = tempfile::tempfile().map_err(files)?;
        let envelope = Envelope { report: report.path().to_owned(), memory: self.limits.memory, errand };

        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env("RUST_LOG", "off").stdin(stdin(&envelope).map_err(files)?);
        command.stdout(Stdio::from(printed.try_clone().map_err(files)?));
        command.stderr(Stdio::from(printed.try_clone().map_err(files)?));
        platform::prepare(&mut command);
        let started = Instant::now();
        let start = |source| ProbeError::Start { program: self.program.clone(), source };
        let mut child = command.spawn().map_err(start)?;
        let ending = self.wait(&mut child, &printed, started).map_err(start)?;
        Met::read(report.as_file_mut(), &mut printed, ending, started.elapsed()).map_err(files)
    }

    fn wait(&self, child: &mut Child, printed: &File, started: Instant) -> std::io::Result<Ending> {
        let [mut pause, longest] = PAUSES;
        loop {
            if platform::has_ended(child)? {
                // What it started ends with it.
                platform::kill(child);
                return Ok(platform::ending(child.wait()?));
            }
            let too_long = (started.elapsed() >= self.limits.time).then_some(Ending::TimeOut(self.limits.time));
            let too_much = (printed.metadata()?.len() > limits::MAX_PRINTED).then_some(Ending::Printed);
            if let Some(ending) = too_long.or(too_much) {
                platform::kill(child);
                child.wait()?;
                return Ok(ending);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

/// The errand as a file that the child reads to its end before it does anything else.
fn stdin(envelope: &Envelope) -> std::io::Result<Stdio> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&serde_json::to_vec(envelope)?)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Whether a process runs; one that ended and that nobody has waited for does not.
    fn runs(process: &str) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    #[test]
    fn what_a_child_started_ends_with_it() {
        let limits = Limits::default();
        for (script, expected) in
            [("sleep 600 & echo $!; exit 3", Ending::Status(3)), ("sleep 600 & echo $!; kill -6 $$", Ending::Signal(6))]
        {
            let prober = Prober { program: PathBuf::from("/bin/sh"), arguments: Vec::new(), limits };
            let mut printed = tempfile::tempfile().unwrap();
            let mut command = Command::new(&prober.program);
            command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::from(printed.try_clone().unwrap()));
            platform::prepare(&mut command);
            let ending = prober.wait(&mut command.spawn().unwrap(), &printed, Instant::now()).unwrap();
            assert_eq!(ending, expected);
            printed.seek(SeekFrom::Start(0)).unwrap();
            let process = std::io::read_to_string(&printed).unwrap();
            assert!(process.trim().parse::<u32>().is_ok(), "{process}");
            let patience = Instant::now() + Duration::from_secs(10);
            while runs(process.trim()) {
                assert!(Instant::now() < patience, "{process} outlives {script}");
                std::thread::sleep(PAUSES[1]);
            }
        }
    }
}
