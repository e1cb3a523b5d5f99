//! TensorBoard's event files, written by hand: a few fields of two messages do not need a protobuf library.
//!
//! ```text
//! file    events.out.tfevents.SECONDS.HOST.PROCESS.0     read in the order of their names
//! record  length 8 | masked CRC-32C of it 4 | event | masked CRC-32C of it 4
//! event   wall_time 1: double | step 2: int64 | file_version 3: string, or summary 5, or session_log 7
//! ```
//!
//! **Restarts.** Every run of the program writes a file of its own, later in order than all that are there. A run that goes on from the
//! checkpoint of step S says so by a session start at step S + 1: TensorBoard then forgets what earlier files say of that and later
//! steps, which the killed run had reached beyond its checkpoint. Each step is therefore shown once. Events are with the operating
//! system when a call returns, so none before the checkpoint is lost.

mod protobuf;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protobuf::Message;

const PREFIX: &str = "events.out.tfevents.";
/// What the first record of each file says.
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;

/// Why events could not be written.
#[derive(Debug, thiserror::Error)]
#[error("Could not {action} `{}`", path.display())]
#[expect(missing_docs, reason = "the message says what each field is")]
pub struct EventError {
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: std::io::Error,
}

impl EventError {
    /// What to type next.
    pub fn hint(&self) -> String {
        "choose a directory that you may write to, with room".to_owned()
    }
}

/// A file of events, for `tensorboard --logdir DIRECTORY`.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    record: Vec<u8>,
}

impl EventWriter {
    /// Makes a new file in `directory`, and the directory if need be. `resumed_after` is the step of the checkpoint from which the run
    /// goes on; a run from the start says `None`, and nothing that was in the directory is shown any more.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn open(directory: &Path, resumed_after: Option<u64>) -> Result<Self, EventError> {
        let refuse = |action, path: &Path| {
            let path = path.to_owned();
            move |source| EventError { action, path, source }
        };
        fs::create_dir_all(directory).map_err(refuse("make", directory))?;
        let (mut seconds, mut is_first) = (now().as_secs(), true);
        for entry in fs::read_dir(directory).map_err(refuse("list", directory))? {
            let name = entry.map_err(refuse("list", directory))?.file_name();
            if let Some(earlier) = seconds_of(&name.to_string_lossy()) {
                // Also for a clock that was set back, and for two runs in one second.
                seconds = seconds.max(earlier + 1);
                is_first = false;
            }
        }
        let name = format!("{PREFIX}{seconds:010}.{}.{}.0", host(), std::process::id());
        let path = directory.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(refuse("make", &path))?;
        let mut writer = Self { file, path, record: Vec::new() };
        writer.write(now(), None, |event| event.bytes(3, FILE_VERSION.as_bytes()))?;
        if !is_first {
            let step = resumed_after.map_or(0, |step| step + 1);
            writer.write(now(), Some(step), |event| event.message(7, |session| session.integer(1, START)))?;
        }
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes scalars of one step, as one event. Steps never go back within a file.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), EventError> {
        self.write(now(), Some(step), |event| event.message(5, |summary| write_scalars(summary, values)))
    }

    fn write(&mut self, time: Duration, step: Option<u64>, what: impl FnOnce(&mut Message)) -> Result<(), EventError> {
        record::encode(&event(time, step, what), &mut self.record);
        let refuse = |source| EventError { action: "write", path: self.path.clone(), source };
        // In one call: a process that is killed leaves whole records.
        self.file.write_all(&self.record).map_err(refuse)
    }
}

/// An event as bytes.
fn event(time: Duration, step: Option<u64>, what: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, time.as_secs_f64());
    if let Some(step) = step {
        event.integer(2, step);
    }
    what(&mut event);
    event.into_bytes()
}

/// A `Summary` with values: tag and number, in the `float` that TensorBoard keeps.
#[expect(clippy::cast_possible_truncation, reason = "the format has no wider scalar that every version reads")]
fn write_scalars(summary: &mut Message, values: &[(&str, f64)]) {
    for (tag, number) in values {
        summary.message(1, |value| {
            value.bytes(1, tag.as_bytes());
            value.float(2, *number as f32);
        });
    }
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time in the name of an event file.
fn seconds_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

/// This machine's name, as far as it can stand in a file's name.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    let name: String =
        name.unwrap_or_default().trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::{EventWriter, START, event, record, seconds_of, write_scalars};
    use std::fs;
    use std::time::Duration;

    /// Written down field by field from the `.proto` files; the checksums were computed with another program.
    #[test]
    fn a_scalar_is_these_bytes() {
        let bytes = event(Duration::from_millis(1500), Some(300), |event| {
            event.message(5, |summary| write_scalars(summary, &[("loss", 0.5)]));
        });
        let expected = [
            0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // wall_time = 1.5
            0x10, 0xac, 0x02, // step = 300
            0x2a, 13, // summary
            0x0a, 11, // value
            0x0a, 4, b'l', b'o', b's', b's', // tag
            0x15, 0, 0, 0, 0x3f, // simple_value = 0.5
        ];
        assert_eq!(bytes, expected);
        let mut record = Vec::new();
        record::encode(&bytes, &mut record);
        assert_eq!(record[..8], [27, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record[12..39], expected);
        assert_eq!((&record[8..12], &record[39..]), (&LENGTH_CHECKSUM[..], &EVENT_CHECKSUM[..]));
    }

    const LENGTH_CHECKSUM: [u8; 4] = [0x1a, 0x0d, 0x9e, 0x13];
    const EVENT_CHECKSUM: [u8; 4] = [0x69, 0xf9, 0x31, 0x5b];

    #[test]
    fn a_restart_is_these_bytes() {
        let bytes = event(Duration::ZERO, Some(7), |event| event.message(7, |session| session.integer(1, START)));
        assert_eq!(bytes, [0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 7, 0x3a, 2, 0x08, 1]);
    }

    #[test]
    fn each_run_has_a_later_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("events");
        let future = "events.out.tfevents.4102444800.host.1.0";
        let mut names = Vec::new();
        for resumed in [None, Some(10), Some(20)] {
            let mut writer = EventWriter::open(&directory, resumed).unwrap();
            writer.scalars(21, &[("loss", 0.25), ("learning_rate", 1e-5)]).unwrap();
            names.push(writer.path().file_name().unwrap().to_str().unwrap().to_owned());
            fs::write(directory.join(future), "").unwrap();
        }
        assert!(names.is_sorted() && names[1].as_str() > future, "{names:?}");
        assert_eq!([seconds_of(&names[1]), seconds_of(&names[2])], [Some(4_102_444_801), Some(4_102_444_802)]);
        assert_eq!(seconds_of("events.out"), None);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = EventWriter::open(&file, None).unwrap_err();
        assert_eq!(error.to_string(), format!("Could not make `{}`", file.display()));
    }
}
