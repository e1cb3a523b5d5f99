//! The folders of a user: where the cache is, and where keys and `trust.toml` are, and what is
//! remembered.
//!
//! ```text
//! $KADAPTER_HOME/cache     or $XDG_CACHE_HOME/kadapter, ~/.cache/kadapter        what can be had again
//! $KADAPTER_HOME           or $XDG_CONFIG_HOME/kadapter, ~/.config/kadapter      what a person decides
//! ```

use std::env;
use std::path::PathBuf;

/// The folder for caches; none where the environment names no home.
#[must_use]
pub fn cache() -> Option<PathBuf> {
    CACHE.find(of_process)
}

/// The folder for `trust.toml` and keys; none where the environment names no home.
#[must_use]
pub fn config() -> Option<PathBuf> {
    CONFIG.find(of_process)
}

/// The folder for what this machine remembers between runs; none where the environment names no home.
#[must_use]
pub fn state() -> Option<PathBuf> {
    STATE.find(of_process)
}

/// How one kind of folder is found.
struct Rule {
    /// Below `KADAPTER_HOME`; empty for that folder itself.
    own: &'static str,
    /// The variable of the XDG specification.
    xdg: &'static str,
    /// The variable that Windows sets.
    windows: &'static str,
    /// Below the home folder.
    dotted: &'static str,
}

const CACHE: Rule = Rule { own: "cache", xdg: "XDG_CACHE_HOME", windows: "LOCALAPPDATA", dotted: ".cache" };
const CONFIG: Rule = Rule { own: "", xdg: "XDG_CONFIG_HOME", windows: "APPDATA", dotted: ".config" };
const STATE: Rule = Rule { own: "state", xdg: "XDG_STATE_HOME", windows: "LOCALAPPDATA", dotted: ".local/state" };

impl Rule {
    fn find(&self, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        // The XDG specification tells to ignore relative paths. Our own variable starts at the current folder instead.
        let own = variable("KADAPTER_HOME").filter(|path| !path.as_os_str().is_empty());
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        own.and_then(|path| std::path::absolute(path).ok())
            .map(|home| if self.own.is_empty() { home } else { home.join(self.own) })
            .or_else(|| absolute(self.xdg).map(|base| base.join("kadapter")))
            .or_else(|| absolute(self.windows).filter(|_| cfg!(windows)).map(|base| base.join("kadapter")))
            .or_else(|| absolute("HOME").map(|home| home.join(self.dotted).join("kadapter")))
    }
}

fn of_process(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(rule: &Rule, pairs: &[(&str, &str)]) -> Option<PathBuf> {
        rule.find(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_environment_decides_in_order_and_relative_paths_do_not_count() {
        let cache = |pairs: &[(&str, &str)]| find(&CACHE, pairs);
        assert_eq!(cache(&[("KADAPTER_HOME", "/k"), ("HOME", "/h")]), Some("/k/cache".into()));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/x/kadapter".into()));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]), Some("/h/.cache/kadapter".into()));
        assert_eq!(cache(&[]), None);
    }

    #[test]
    fn what_a_person_decides_is_apart_from_what_can_be_had_again() {
        let config = |pairs: &[(&str, &str)]| find(&CONFIG, pairs);
        assert_eq!(config(&[("KADAPTER_HOME", "/k"), ("HOME", "/h")]), Some("/k".into()));
        assert_eq!(config(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]), Some("/x/kadapter".into()));
        assert_eq!(config(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/h/.config/kadapter".into()));
        let state = |pairs: &[(&str, &str)]| find(&STATE, pairs);
        assert_eq!(state(&[("KADAPTER_HOME", "/k"), ("HOME", "/h")]), Some("/k/state".into()));
        assert_eq!(state(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/h/.local/state/kadapter".into()));
    }
}
