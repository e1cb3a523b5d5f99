//! What can go wrong with a cache on disk.

use std::path::{Path, PathBuf};

/// Why a tap cache could not be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum CacheError {
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the tap cache `{}` says that it holds {found}, expected {expected}", path.display())]
    Identity { path: PathBuf, found: String, expected: String },
    #[error("a tap cache of {taps} hidden states of width {hidden} was asked for, expected at least one of each")]
    Empty { taps: usize, hidden: usize },
}

impl CacheError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "choose a directory that you may write to, or train without a cache".to_owned(),
            Self::Identity { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                format!("nothing in it is lost but time: `rm -r {}`", folder.display())
            }
            Self::Empty { .. } => "train without a cache: the adapter reads no hidden state".to_owned(),
        }
    }
}

/// Makes an error of one of the operating system's.
pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { action, path, source }
}
