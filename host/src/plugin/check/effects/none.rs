//! Systems without filters of system calls.

/// A filter that cannot be installed.
pub(crate) struct Filter;

impl Filter {
    pub(crate) fn files() -> Self {
        Self
    }

    pub(crate) fn threads() -> Self {
        Self
    }

    pub(crate) fn processes() -> Self {
        Self
    }

    pub(crate) fn network() -> Self {
        Self
    }

    pub(crate) fn install(self) -> Result<(), String> {
        Err("only Linux has filters of system calls".into())
    }
}
