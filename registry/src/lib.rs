//! Packages, releases, resolution, lock and stores of `kadapter`.
//!
//! A **package** ([`package`]) is a directory with a `kadapter-package.toml`: a backbone, a plugin, an adapter or a task.
//! Publishing ([`mod@publish`]) checks it completely and makes an immutable **release** ([`release`]) of it in a registry
//! ([`index`]), which lies in a store ([`store`]) by a fixed layout ([`layout`]). A project ([`project`]) says in its
//! manifest ([`manifest`]) what it wants; resolution ([`mod@resolve`]) finds releases that really work together, and the
//! lock ([`lock`]) pins them by digest.
//!
//! ```no_run
//! use kadapter_registry::project::{LockMode, Project};
//!
//! let project = Project::open("kadapter.toml")?;
//! let resolved = project.resolve(LockMode::KeepLocked)?;
//! for (name, task) in &resolved.tasks {
//!     println!("{name} stacks {:?}", task.stack);
//! }
//! # Ok::<(), kadapter_registry::Error>(())
//! ```
//!
//! Nothing that is read is trusted: sizes are bounded, names are parsed, content is compared with its digest. Errors are
//! facts ([`Error`]) with the cure apart from them ([`Error::hint`]).

#![forbid(unsafe_code)]

pub mod cache;
mod copy;
pub mod digest;
pub mod doctor;
pub mod error;
pub mod fetch;
mod files;
pub mod gc;
pub mod home;
#[cfg(feature = "hf")]
pub mod hub;
pub mod id;
pub mod index;
pub mod key;
pub mod layout;
pub mod license;
pub mod location;
pub mod lock;
pub mod manifest;
pub mod mirror;
pub mod name;
pub mod note;
pub mod package;
pub mod path;
pub mod progress;
pub mod project;
pub mod publish;
pub mod query;
pub mod release;
pub mod resolve;
pub mod signer;
pub mod store;
pub mod target;
pub mod tensors;
mod text;
pub mod trust;
pub mod verify;
pub mod version;
pub mod warning;
pub mod yank;

pub use cache::Cache;
pub use digest::Digest;
pub use error::Error;
pub use id::PackageId;
pub use index::Registry;
pub use key::KeyId;
pub use license::License;
pub use location::RegistryLocation;
pub use lock::Lock;
pub use manifest::Manifest;
pub use name::{Alias, Namespace, PackageName};
pub use package::Package;
pub use path::PackagePath;
pub use project::{LockMode, Project, Resolved};
pub use release::Release;
pub use signer::Signer;
pub use target::Target;
pub use trust::Trust;
pub use version::{AbiVersion, Version};
pub use warning::Warning;
