//! Why nothing was packed, and what to look at where something was.

use crate::plugin::PluginError;
use crate::stage::StageError;
use kadapter_registry::{AbiVersion, License, PackagePath, Target};
use std::path::PathBuf;

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum Error {
    #[error("Could not find `{}`", path.display())]
    NoManifest { path: PathBuf },
    #[error("Could not read `{}` at line {line}: {problem}", path.display())]
    Manifest { path: PathBuf, line: usize, problem: String },
    #[error("`{}` is a workspace without a crate of its own, expected a plugin crate", path.display())]
    NoCrate { path: PathBuf },
    #[error("`{}` has no `[package.metadata.kadapter]`, expected one with the package's name", path.display())]
    NoMetadata { path: PathBuf, name: String },
    #[error("`{}` says no `{key}`, neither in `[package]` nor in its workspace", path.display())]
    MissingKey { path: PathBuf, key: &'static str },
    #[error("Could not accept `{key}` of `{}`", path.display())]
    Value {
        path: PathBuf,
        key: &'static str,
        #[source]
        source: Box<kadapter_registry::Error>,
    },
    #[error("`{}` does not build a `cdylib`, expected one in the `crate-type` of `[lib]`", path.display())]
    NotACdylib { path: PathBuf },
    #[error("Could not find the built library `{}`", path.display())]
    NoLibrary { path: PathBuf, directory: PathBuf, target: Option<Target> },
    #[error("no library is named, expected at least one")]
    NoLibraries,
    #[error("`{}` is a debug build, expected a release build", path.display())]
    DebugBuild { path: PathBuf },
    #[error("`{}` says {what} `{found}`, expected `{expected}` as Cargo.toml says", path.display())]
    Differs { path: PathBuf, what: &'static str, expected: String, found: String },
    #[error("`{}` is built for {found}, expected {expected}", path.display())]
    OtherMachine { path: PathBuf, expected: Target, found: Target },
    #[error("`{}` and `{}` are both for {target}, expected one library per target", first.display(), second.display())]
    TwoLibraries { target: Target, first: PathBuf, second: PathBuf },
    #[error("`{}` speaks ABI {first_abi} and `{}` {second_abi}, expected one ABI", first.display(), second.display())]
    TwoAbis { first: PathBuf, first_abi: AbiVersion, second: PathBuf, second_abi: AbiVersion },
    #[error("Could not find the card `{}`", path.display())]
    NoCard { path: PathBuf },
    #[error("Could not accept `{}`: {problem}", path.display())]
    Prose { path: PathBuf, problem: String },
    #[error("`{}` is named in `license-files` and is no licence text by its name", path.display())]
    NotANotice { path: PathBuf },
    #[error("`license-files` names two files called `{name}`, expected different names")]
    TwoNotices { name: PackagePath },
    #[error("`{}` is longer than {limit} bytes", path.display())]
    TooLong { path: PathBuf, limit: u64 },
    #[error("Could not {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Registry(Box<kadapter_registry::Error>),
}

impl From<kadapter_registry::Error> for Error {
    fn from(source: kadapter_registry::Error) -> Self {
        Self::Registry(Box::new(source))
    }
}

impl Error {
    /// What to type next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoManifest { .. } | Self::NoCrate { .. } => {
                "name the folder of a plugin crate, or make one: `kadapter plugin new NAME`".to_owned()
            }
            Self::NoMetadata { name, .. } => {
                format!("say what the package is called: `[package.metadata.kadapter]` with `name = \"NAMESPACE/{name}\"`")
            }
            Self::MissingKey { key, .. } | Self::Value { key, .. } => match *key {
                "license" => "say it in `[package]`: `license = \"MIT OR Apache-2.0\"`".to_owned(),
                "version" => "say it in `[package]`: `version = \"1.0.0\"`".to_owned(),
                _ => "say in one sentence what it is: `description = \"…\"` in `[package]`".to_owned(),
            },
            Self::NotACdylib { .. } => "a plugin is a library that can be opened: `crate-type = [\"cdylib\"]`".to_owned(),
            Self::NoLibrary { directory, target, .. } => {
                let target = target.as_ref().filter(|&target| *target != Target::host());
                let target = target.map(|target| format!(" --target {target}")).unwrap_or_default();
                format!(
                    "build it with `cargo build --release{target} --manifest-path {}`, or name the file: `--library FILE`",
                    directory.join("Cargo.toml").display()
                )
            }
            Self::DebugBuild { .. } => "a debug build is large and slow: `cargo build --release`".to_owned(),
            Self::Differs { what: "version", .. } => "build what Cargo.toml says: `cargo build --release`".to_owned(),
            Self::Differs { .. } => "name a library of this crate: `--library FILE`".to_owned(),
            Self::OtherMachine { expected, .. } => format!(
                "build it for that machine with `cargo build --release --target {expected}`, or pack it for the machine that it \
                 is for: `--library FILE`"
            ),
            Self::NoLibraries | Self::TwoLibraries { .. } => "name one library per target: `--library FILE`".to_owned(),
            Self::TwoAbis { .. } => "build all of them with one kadapter-plugin-api: `cargo build --release`".to_owned(),
            Self::NoCard { .. } => {
                "every package has a card that says what it is and where it comes from: `$EDITOR README.md`".to_owned()
            }
            Self::NotANotice { .. } => {
                "licence texts are called LICENSE, LICENCE, NOTICE or COPYING, with any ending: `license-files = [\"LICENSE\"]`"
                    .to_owned()
            }
            Self::Manifest { path, .. } | Self::Prose { path, .. } | Self::TooLong { path, .. } => {
                format!("mend it: `$EDITOR {}`", path.display())
            }
            Self::TwoNotices { .. } => "name each once: `license-files = [\"LICENSE\"]`".to_owned(),
            Self::Plugin(PluginError::Truncated { .. }) => "build it again: `cargo build --release`".to_owned(),
            Self::Plugin(PluginError::Platform { expected, .. }) => {
                format!("build it for the machine that its note names: `cargo build --release --target {expected}`")
            }
            Self::Plugin(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::Registry(error) => return error.hint(),
            Self::Io { .. } => return None,
        })
    }
}

/// What the author of a package should look at before publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A source was changed after the library was built.
    Stale {
        /// The library.
        library: PathBuf,
        /// The newest source.
        source: PathBuf,
    },
    /// The package has no licence text.
    NoNotice {
        /// The licence that it states.
        license: License,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stale { library, source } => {
                write!(formatter, "`{}` is older than `{}`", library.display(), source.display())
            }
            Self::NoNotice { license } => {
                write!(formatter, "the package states the licence `{license}` and holds no text of it")
            }
        }
    }
}

impl Warning {
    /// What to type next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "if the change matters, build and pack again: `cargo build --release`",
            Self::NoNotice { .. } => "lay the text beside Cargo.toml: `$EDITOR LICENSE`",
        }
    }
}
