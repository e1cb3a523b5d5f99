//! Why no child could be sent.

use std::path::PathBuf;
use thiserror::Error;

/// Why no child could be sent; the plugin has no part in it.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum ProbeError {
    #[error("Could not find the file of the running program, to start it as a child process")]
    Program {
        #[source]
        source: std::io::Error,
    },
    #[error("Could not start `{}` as a child process that meets the plugin", program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("Could not make the files through which a child process reports, in `{}`", std::env::temp_dir().display())]
    Files {
        #[source]
        source: std::io::Error,
    },
}

impl ProbeError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::Files { .. } => "name a folder that you may write to: `export TMPDIR=/path/to/folder`".into(),
            Self::Program { .. } | Self::Start { .. } => {
                "see how many processes you may have with `ulimit -u`, and whether the command is where it was: `command -v kadapter`"
                    .into()
            }
        }
    }
}
