//! Puts answers into words for a terminal.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Answer, LabelScore};

/// How many labels below the first are shown.
const RUNNERS_UP: usize = 2;

/// How many numbers of a feature vector are shown.
const VECTOR_HEAD: usize = 4;

/// Shows an answer as a person reads it: the answer first, then what it rests on. `--json` shows all of it.
///
/// Text from records and packages is shown with its control characters escaped, so that it cannot drive the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Readable<'a>(
    /// The answer to show.
    pub &'a Answer,
);

impl Display for Readable<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Relation(answer) => {
                let (subject, object) = (Shown(&answer.subject), Shown(&answer.object));
                write!(formatter, "{}  ({subject} -> {object})", Shown(&answer.label))?;
                scores(formatter, answer.scores.iter().take(1 + RUNNERS_UP))
            }
            Answer::Sequence(answer) => {
                write!(formatter, "{}", Shown(&answer.label))?;
                scores(formatter, answer.scores.iter().take(1 + RUNNERS_UP))
            }
            Answer::Typing(answer) => {
                let labels: Vec<String> = answer.labels.iter().map(|label| Shown(label).to_string()).collect();
                let labels = if labels.is_empty() { "no label".to_owned() } else { labels.join(", ") };
                write!(formatter, "{labels}  ({})", Shown(&answer.mention))?;
                let shown = answer.labels.len().max(1) + RUNNERS_UP;
                scores(formatter, answer.scores.iter().take(shown))
            }
            Answer::Choice(answer) => {
                write!(formatter, "{}  (answer {})", Shown(&answer.text), answer.answer)?;
                scores(formatter, answer.scores.iter())
            }
            Answer::Span(answer) => {
                write!(formatter, "{}  (characters {} to {}", Shown(&answer.text), answer.start, answer.end)?;
                write!(formatter, ", probability {:.3})", answer.probability)
            }
            Answer::Features(answer) => {
                write!(formatter, "{} tokens x {} features", answer.tokens.len(), answer.width)?;
                for token in &answer.tokens {
                    write!(formatter, "\n  {:<16}", Shown(&token.token).to_string())?;
                    for number in token.vector.iter().take(VECTOR_HEAD) {
                        write!(formatter, " {number:>9.4}")?;
                    }
                    if token.vector.len() > VECTOR_HEAD {
                        formatter.write_str(" …")?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn scores<'a>(formatter: &mut Formatter<'_>, scores: impl Iterator<Item = &'a LabelScore>) -> fmt::Result {
    for score in scores {
        write!(formatter, "\n  {:.3}  {}", score.probability, Shown(&score.label))?;
    }
    Ok(())
}

/// A text with what could drive a terminal escaped: control characters and the marks that reorder text.
struct Shown<'t>(&'t str);

impl Display for Shown<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    write!(formatter, "{}", character.escape_unicode())?;
                }
                _ if character.is_control() => write!(formatter, "{}", character.escape_default())?,
                _ => formatter.write_char(character)?,
            }
        }
        Ok(())
    }
}
