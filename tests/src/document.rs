//! Documents whose commands are run: the blocks of a Markdown file as steps, a shell that keeps its folder, and what a step shows
//! compared with what it says.
//!
//! ````text
//! ```sh            every line is run, nothing is compared
//! ```console       `$ ` begins a command (`\` at its end continues it), the lines behind it are what it prints
//! ````
//! In what is printed, `…` stands for any text, and alone on a line for any lines. A command whose first printed line begins with
//! `error:` must fail; every other must not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line that it begins in.
    pub line: usize,
    /// The heading (`## `) that it stands under; empty before the first.
    pub section: String,
    /// What is typed.
    pub command: String,
    /// What is shown; none in a `sh` block.
    pub shown: Option<Vec<String>>,
}

/// The steps of a Markdown text, in order.
pub fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut section = String::new();
    let mut lines = markdown.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((_, fence)) = lines.next() {
        if let Some(heading) = fence.strip_prefix("## ") {
            heading.trim().clone_into(&mut section);
        }
        match fence.trim_end() {
            "```sh" => {
                let block: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
                let text: Vec<_> = block.iter().map(|(_, line)| *line).collect();
                let line = block.first().map_or(0, |(line, _)| *line);
                steps.push(Step { line, section: section.clone(), command: text.join("\n"), shown: None });
            }
            "```console" => {
                let mut continued = false;
                for (number, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
                    if let Some(command) = line.strip_prefix("$ ") {
                        let (section, command) = (section.clone(), command.to_owned());
                        steps.push(Step { line: number, section, command, shown: Some(Vec::new()) });
                    } else {
                        let step =
                            steps.last_mut().unwrap_or_else(|| panic!("line {number} shows what no command printed"));
                        if continued {
                            step.command = format!("{}\n{line}", step.command);
                        } else if let Some(shown) = &mut step.shown {
                            shown.push(line.to_owned());
                        }
                    }
                    continued = (continued || line.starts_with("$ ")) && line.ends_with('\\');
                }
            }
            other if other.starts_with("```") => lines.by_ref().take_while(|(_, line)| *line != "```").for_each(drop),
            _ => {}
        }
    }
    steps
}

/// A shell whose folder lasts from step to step.
#[derive(Debug)]
pub struct Shell {
    folder: PathBuf,
    set: Vec<(String, String)>,
    removed: Vec<String>,
}

impl Shell {
    /// A shell in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), set: Vec::new(), removed: Vec::new() }
    }

    /// Sets a variable for every step.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set.push((name.to_owned(), value.into()));
        self
    }

    /// Takes a variable from every step.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    /// Runs a step and compares what it prints with what it shows.
    ///
    /// # Panics
    /// When it ends otherwise than it should or prints something else.
    pub fn run(&mut self, document: &str, step: &Step) {
        let place = format!("{document}:{}: {}", step.line, step.command);
        let state = tempfile::NamedTempFile::new().expect("a temporary file");
        let script = format!("exec 2>&1\nset -eu\n{}\npwd > '{}'\n", step.command, state.path().display());
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).current_dir(&self.folder).stdin(Stdio::null());
        self.removed.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout);
        let fails =
            step.shown.as_ref().and_then(|shown| shown.first()).is_some_and(|first| first.starts_with("error:"));
        assert_eq!(output.status.success(), !fails, "{place}\n{printed}");
        if let Some(shown) = &step.shown {
            let printed: Vec<_> = printed.lines().map(str::trim_end).collect();
            let shown: Vec<_> = shown.iter().map(|line| line.trim_end()).collect();
            assert!(fits(&shown, &printed), "{place}\nshows\n{}\nbut prints\n{}", shown.join("\n"), printed.join("\n"));
        }
        if !fails {
            let folder = fs::read_to_string(state.path()).expect("the folder of the shell");
            self.folder = PathBuf::from(folder.trim_end_matches('\n'));
        }
    }
}

/// Whether lines are those that are shown.
fn fits(shown: &[&str], printed: &[&str]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..])),
        ([line, rest @ ..], [found, others @ ..]) => line_fits(line, found) && fits(rest, others),
        _ => false,
    }
}

fn line_fits(shown: &str, found: &str) -> bool {
    match shown.split_once('…') {
        None => shown == found,
        Some((start, rest)) => found.strip_prefix(start).is_some_and(|left| {
            left.char_indices().map(|(at, _)| at).chain([left.len()]).any(|at| line_fits(rest, &left[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_steps() {
        let text = "# A\n## B\n```toml\n$ no\n```\n```sh\na\nb\n```\n```console\n$ c \\\n    d\nshown\n\n$ e\n```\n";
        let step = |line, command: &str, shown: Option<&[&str]>| Step {
            line,
            section: "B".to_owned(),
            command: command.to_owned(),
            shown: shown.map(|shown| shown.iter().map(|&line| line.to_owned()).collect()),
        };
        let expected = [step(7, "a\nb", None), step(11, "c \\\n    d", Some(&["shown", ""])), step(15, "e", Some(&[]))];
        assert_eq!(steps(text), expected);
    }

    #[test]
    fn dots_stand_for_any_text_and_for_nothing_else() {
        assert!(fits(&["a … c", "…", "z"], &["a b c", "1", "2", "z"]));
        assert!(fits(&["…"], &[]));
        assert!(!fits(&["a … c"], &["a b d"]));
        assert!(!fits(&["a"], &["a", "b"]));
        assert!(!fits(&["a", "…", "b"], &["a"]));
    }

    #[test]
    fn a_shell_keeps_its_folder_and_refuses_what_is_shown_otherwise() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut shell = Shell::new(folder.path()).with("WORD", "here");
        for step in steps(
            "```sh\nmkdir inner\ncd inner\n```\n```console\n$ basename \"$(pwd)\"; echo $WORD\ninner\nhere\n```\n",
        ) {
            shell.run("text", &step);
        }
        for wrong in ["```console\n$ echo a\nb\n```\n", "```sh\nfalse\n```\n", "```console\n$ true\nerror: no\n```\n"] {
            let mut shell = Shell::new(folder.path());
            let step = steps(wrong).remove(0);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shell.run("text", &step))).unwrap_err();
        }
    }
}
