//! What the parent knows when a child has ended.

use super::ending::Ending;
use super::errand::Answer;
use super::reporter::{Line, Stage};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

/// The longest report: an answer is a few sentences.
const MAX_REPORT: u64 = 1 << 20;
/// How much of what a plugin printed is kept, in bytes.
const MAX_QUOTED: u64 = 4096;
/// The longest line of it that is quoted, in characters.
const MAX_LINE: usize = 160;

/// What became of a child.
#[derive(Debug)]
pub(in super::super) struct Met {
    /// What it brought back; nothing when it died before.
    pub(in super::super) answer: Option<Answer>,
    /// The last stage that it was in.
    pub(in super::super) stage: Stage,
    /// How it ended.
    pub(in super::super) ending: Ending,
    /// The start of what was printed.
    pub(in super::super) printed: String,
    /// From its start to its end.
    pub(in super::super) elapsed: Duration,
}

impl Met {
    /// Reads what a child left.
    pub(super) fn read(report: &mut File, printed: &mut File, ending: Ending, elapsed: Duration) -> io::Result<Self> {
        let (mut answer, mut stage) = (None, Stage::Before);
        // A line that is cut off, because its writer died, is no line.
        for line in head(report, MAX_REPORT)?.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match serde_json::from_str(line) {
                Ok(Line::Stage(next)) => stage = next,
                Ok(Line::Answer(found)) => answer = Some(found),
                Err(_) => {}
            }
        }
        Ok(Self { answer, stage, ending, printed: head(printed, MAX_QUOTED)?, elapsed })
    }

    /// How it died, as a sentence.
    pub(in super::super) fn death(&self) -> String {
        let mut text = format!("{}, the process {}", self.stage, self.ending);
        if let Some(line) = self.said() {
            text += &format!("; it said: {line}");
        }
        text
    }

    /// The first line that was printed, without control characters; a panic's place and message stand on two lines.
    pub(in super::super) fn said(&self) -> Option<String> {
        let mut lines = self.printed.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut text = lines.next()?.to_owned();
        if text.ends_with(':') {
            text = format!("{text} {}", lines.next().unwrap_or_default());
        }
        let mut text: String =
            text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        if let Some((cut, _)) = text.char_indices().nth(MAX_LINE) {
            text.truncate(cut);
            text.push('…');
        }
        Some(text)
    }
}

fn head(file: &mut File, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
