//! The child's side of the report: which stage it is in, and in the end the answer.

use super::errand::Answer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where in a plugin's life a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Stage {
    /// No plugin code ran yet.
    Before,
    /// It is being opened: its constructors run.
    Open,
    /// It builds an adapter.
    Build,
    /// It computes.
    Forward,
    /// Its objective turns a record into an example.
    Encode,
    /// Its objective computes the loss.
    Loss,
    /// Its objective counts.
    Tally,
    /// An adapter is dropped.
    Drop,
    /// The child is done and its process ends: destructors run.
    End,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "before the plugin was opened",
            Self::Open => "while the plugin was opened",
            Self::Build => "in `build`",
            Self::Forward => "in `forward`",
            Self::Encode => "in `encode`",
            Self::Loss => "in `loss`",
            Self::Tally => "in `tally`",
            Self::Drop => "in `drop`",
            Self::End => "when the process was to end",
        })
    }
}

/// A line of the report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// The child got here.
    Stage(Stage),
    /// The child is done.
    Answer(Answer),
}

/// Writes the report, unbuffered: what was said stays said when the process dies.
pub(in super::super) struct Reporter {
    inner: Mutex<(File, Stage)>,
}

impl Reporter {
    /// Opens the file that the parent made.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { inner: Mutex::new((OpenOptions::new().append(true).open(path)?, Stage::Before)) })
    }

    /// Says that a stage begins.
    pub(in super::super) fn enter(&self, stage: Stage) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.1 != stage {
            inner.1 = stage;
            write(&mut inner.0, &Line::Stage(stage));
        }
    }

    /// Says what came out.
    pub(super) fn answer(&self, answer: Answer) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut inner.0, &Line::Answer(answer));
    }
}

/// A line that cannot be written is one that the parent misses, and that is what it then says.
fn write(file: &mut File, line: &Line) {
    if let Ok(mut bytes) = serde_json::to_vec(line) {
        bytes.push(b'\n');
        let _ = file.write_all(&bytes);
    }
}
