//! Why a plugin file is not opened.

use kadapter_registry::Digest;
use std::path::PathBuf;
use thiserror::Error;

/// A plugin file that is refused, and why.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum PluginError {
    #[error("Could not read plugin `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("plugin `{}` is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("plugin `{}` has {found} bytes, expected {expected} as its release says", path.display())]
    Size { path: PathBuf, expected: u64, found: u64 },
    #[error("plugin `{}` has digest {found}, expected {expected} as its release says", path.display())]
    Digest { path: PathBuf, expected: Digest, found: Digest },
    #[error("`{}` is not a native library: {reason}", path.display())]
    NotALibrary { path: PathBuf, reason: String },
    #[error("`{}` is truncated: it describes {described} bytes and has {found}", path.display())]
    Truncated { path: PathBuf, described: u64, found: u64 },
    #[error("plugin `{}` is built for {found}, expected {expected}", path.display())]
    Platform { path: PathBuf, expected: String, found: String },
    #[error("`{}` is a native library but no adapter plugin: it has no {missing}", path.display())]
    NotAPlugin { path: PathBuf, missing: &'static str },
    #[error("plugin `{}` speaks ABI {found}, expected {expected}", path.display())]
    Abi { path: PathBuf, expected: String, found: String },
    #[error("plugin `{}` says {what} `{found}`, expected `{expected}` as its release says", path.display())]
    Note { path: PathBuf, what: &'static str, expected: String, found: String },
    #[error("Could not open plugin `{}`: {reason}", path.display())]
    Open { path: PathBuf, reason: String },
    #[error("plugin `{}` was built against a contract of another layout than this host's ABI {host}", path.display())]
    Layout { path: PathBuf, host: &'static str },
    #[error("Could not seal the plugin's bytes in memory")]
    Seal {
        #[source]
        source: std::io::Error,
    },
}

impl PluginError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::Size { .. } | Self::Digest { .. } | Self::Truncated { .. } | Self::Note { .. } => {
                "the file changed after it was published; fetch it anew with `kadapter fetch`, or publish a new version with \
                 `kadapter publish`"
                    .into()
            }
            Self::Platform { expected, .. } => {
                format!("build the plugin for this machine: `cargo build --release --target {expected}`, then `kadapter publish`")
            }
            Self::NotAPlugin { .. } | Self::NotALibrary { .. } => {
                "a plugin is a `cdylib` crate that calls `export_adapter!`; build it with `cargo build --release`".into()
            }
            Self::Abi { expected, .. } => {
                format!("rebuild it against `kadapter-plugin-api = \"{expected}\"` with `cargo build --release`")
            }
            Self::Layout { host, .. } => {
                format!("rebuild it against `kadapter-plugin-api = \"{host}\"` with `cargo build --release`; `RUST_LOG=debug` shows the difference")
            }
            Self::TooLarge { .. } => "strip it: `strip --strip-debug FILE`".into(),
            Self::Open { .. } => "see which libraries it needs with `ldd FILE`".into(),
            Self::Io { .. } | Self::Seal { .. } => "see which files the project needs with `kadapter verify`".into(),
        }
    }
}
