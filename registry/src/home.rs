//! Where a user's own files are: what can be made again (the cache), and what cannot but is no setting (state).
//!
//! ```text
//! $KADAPTER_HOME/cache        or $XDG_CACHE_HOME/kadapter, ~/.cache/kadapter
//! $KADAPTER_HOME/state        or $XDG_STATE_HOME/kadapter, ~/.local/state/kadapter
//! ```

use std::env;
use std::path::{Path, PathBuf};

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Cache,
    State,
}

/// The folder for what this machine remembers between runs; none when the environment names no home directory.
#[must_use]
pub fn state() -> Option<PathBuf> {
    folder(Purpose::State, |name| env::var_os(name).map(PathBuf::from))
}

/// Finds a folder from the environment.
pub(crate) fn folder(purpose: Purpose, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let (own_name, xdg, below_home) = match purpose {
        Purpose::Cache => ("cache", "XDG_CACHE_HOME", ".cache"),
        Purpose::State => ("state", "XDG_STATE_HOME", ".local/state"),
    };
    // The XDG specification tells to ignore relative paths. Our own variable starts at the current folder instead.
    let own = variable("KADAPTER_HOME").filter(|path| !path.as_os_str().is_empty());
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    // Windows has one folder for what does not roam; the other systems have one for each purpose.
    let local = || absolute("LOCALAPPDATA").filter(|_| cfg!(windows)).map(|base| base.join("kadapter"));
    own.and_then(|path| std::path::absolute(path).ok())
        .map(|home| home.join(own_name))
        .or_else(|| absolute(xdg).map(|base| base.join("kadapter")))
        .or_else(|| local().map(|base| if purpose == Purpose::State { base.join("state") } else { base }))
        .or_else(|| absolute("HOME").map(|home| home.join(Path::new(below_home)).join("kadapter")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_in_order_and_relative_paths_do_not_count() {
        let root = |purpose, pairs: &[(&str, &str)]| {
            folder(purpose, |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let cache = |pairs| root(Purpose::Cache, pairs);
        assert_eq!(cache(&[("KADAPTER_HOME", "/k"), ("HOME", "/h")]), Some("/k/cache".into()));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/x/kadapter".into()));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]), Some("/h/.cache/kadapter".into()));
        assert_eq!(cache(&[]), None);
        let state = |pairs| root(Purpose::State, pairs);
        assert_eq!(state(&[("KADAPTER_HOME", "/k"), ("HOME", "/h")]), Some("/k/state".into()));
        assert_eq!(state(&[("XDG_STATE_HOME", "/x"), ("XDG_CACHE_HOME", "/c")]), Some("/x/kadapter".into()));
        assert_eq!(state(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/h/.local/state/kadapter".into()));
    }
}
