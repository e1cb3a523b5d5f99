//! Everything that can go wrong here, as facts; what to do about it is [`Error::hint`].

mod hint;

use std::io;
use std::path::PathBuf;

use crate::digest::{Difference, Digest};
use crate::id::PackageId;
use crate::layout::Key;
use crate::location::RegistryLocation;
use crate::manifest::ManifestError;
use crate::name::PackageName;
use crate::note::Note;
pub use crate::package::PackageError;
use crate::path::PackagePath;
use crate::resolve::{NoFit, Untrained};
use crate::tensors::TensorsError;
use crate::trust::TrustError;
use crate::version::Version;

/// What could not be done, with the facts that tell why. Causes are in `source()`, cures in [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name, version, digest, path or the like is not well-formed.
    #[error("`{value}` is not a valid {what}: {problem}")]
    Name {
        /// What it should have been.
        what: &'static str,
        /// What it is, shortened.
        value: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// The operating system refused.
    #[error("Could not {action} `{}`", .path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is longer than anything sensible.
    #[error("Could not read `{file}`: it is longer than {limit} bytes")]
    TooLong {
        /// The file.
        file: String,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// A text file is not text.
    #[error("Could not read `{file}`: byte {offset} is not UTF-8")]
    NotUtf8 {
        /// The file.
        file: String,
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// A TOML file is malformed or outside its schema.
    #[error("Could not read `{file}` at line {line}: {problem}")]
    Toml {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
        /// The known word nearest to an unknown one.
        suggestion: Option<String>,
    },
    /// A value cannot be written as TOML.
    #[error("Could not write `{file}`")]
    WriteToml {
        /// The file.
        file: &'static str,
        /// What the serializer said.
        #[source]
        source: toml::ser::Error,
    },
    /// A file is of a schema that this program does not know.
    #[error("Could not read `{file}`: it has schema {found}, this program knows schema {known}")]
    Schema {
        /// The file.
        file: String,
        /// The schema in it.
        found: u32,
        /// The schema known here.
        known: u32,
    },
    /// A package breaks a rule.
    #[error("Could not accept `{file}`: {problem}")]
    Package {
        /// The package file.
        file: String,
        /// The rule.
        problem: Box<PackageError>,
    },
    /// A JSON file is malformed or outside its schema.
    #[error("Could not read `{file}`: {problem}")]
    Json {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A safetensors file is not what it should be.
    #[error("Could not accept `{file}`: {problem}")]
    Tensors {
        /// The file.
        file: String,
        /// What is wrong.
        problem: Box<TensorsError>,
    },
    /// A file is not what its role asks for.
    #[error("Could not accept `{file}`: {problem}")]
    Content {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The package file names a file that is not there.
    #[error("Could not find `{path}` in `{}`", .directory.display())]
    MissingFile {
        /// The file.
        path: PackagePath,
        /// The package directory.
        directory: PathBuf,
    },
    /// A file in the package directory is not named by the package file.
    #[error("Could not accept `{path}` in `{}`: `kadapter-package.toml` does not name it", .directory.display())]
    UnnamedFile {
        /// The file.
        path: String,
        /// The folder that it is in.
        directory: PathBuf,
    },
    /// One file has two roles, or two files are one where case does not count.
    #[error("Could not accept `{path}`: it and `{other}` are one file where case does not count")]
    NamedTwice {
        /// The file.
        path: PackagePath,
        /// The other name or role.
        other: PackagePath,
    },
    /// A link, device or the like stands in a package directory.
    #[error("Could not accept `{}`: it is neither a regular file nor a folder", .path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// A package directory has more files than a release may.
    #[error("Could not accept `{}`: it has more than {limit} files", .directory.display())]
    TooManyFiles {
        /// The folder where the limit was met.
        directory: PathBuf,
        /// The most that is allowed.
        limit: usize,
    },
    /// A file changed between check and upload.
    #[error("Could not publish `{file}`: it changed while it was read")]
    Changed {
        /// The file.
        file: String,
    },
    /// A release record breaks a rule.
    #[error("Could not accept `{file}`: {problem}")]
    Release {
        /// The record.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A release record does not say what its package file says.
    #[error("Could not accept `{id}`: its record does not say what its package file says")]
    ReleaseDiffers {
        /// The release.
        id: Box<PackageId>,
    },
    /// The index has another release under a key.
    #[error("Could not accept `{wanted}`: the registry has `{found}` in its place")]
    OtherRelease {
        /// What was asked for.
        wanted: Box<PackageId>,
        /// What the record says that it is.
        found: Box<PackageId>,
    },
    /// Another content was published under this version.
    #[error("Could not publish `{id}`: it is published with another content, `{}` there and `{}` here", .theirs.short(), .ours.short())]
    VersionTaken {
        /// The release.
        id: Box<PackageId>,
        /// The release digest that would have been published.
        ours: Digest,
        /// The release digest that is there.
        theirs: Digest,
    },
    /// A new package's name differs from another's in separators only.
    #[error("Could not publish `{name}`: it is too much like `{other}`")]
    LookAlike {
        /// The new name.
        name: PackageName,
        /// The package that is there.
        other: PackageName,
    },
    /// There is no registry where one should be.
    #[error("Could not find a registry in `{location}`: it has no `registry.json`")]
    NoRegistry {
        /// The place.
        location: String,
    },
    /// A registry is in a kind of store that this build does not have.
    #[error("Could not open `{location}`: this build has no store for `{}://`", scheme(.location))]
    StoreNotBuilt {
        /// The place.
        location: RegistryLocation,
    },
    /// Garbage cannot be told from what is needed.
    #[error("Could not collect garbage in `{location}`: nobody can tell what `{}` needs", what(.key))]
    NotCollected {
        /// The registry.
        location: String,
        /// The record that cannot be read, or what else stands in the index.
        key: Box<Key>,
        /// Why.
        source: Box<Self>,
    },
    /// Two registries have different releases under one version.
    #[error("Could not mirror `{id}`: it is `{}` in `{from}` and `{}` in `{to}`", .here.short(), .there.short())]
    MirrorDiffers {
        /// The release.
        id: Box<PackageId>,
        /// The registry that is mirrored.
        from: Box<str>,
        /// The release digest in it.
        here: Digest,
        /// The registry that it is mirrored to.
        to: Box<str>,
        /// The release digest in that one.
        there: Digest,
    },
    /// A note is none that may be copied.
    #[error("Could not mirror `{note}` of `{id}` from `{location}`: {problem}")]
    NoteRefused {
        /// The release.
        id: Box<PackageId>,
        /// The note.
        note: Box<Note>,
        /// The registry that is mirrored.
        location: String,
        /// What is wrong: a sentence about `it`.
        problem: String,
    },
    /// Two registries have different notes under one name.
    #[error("Could not mirror `{note}` of `{id}`: it is `{}` in `{from}` and `{}` in `{to}`", .here.short(), .there.short())]
    NoteDiffers {
        /// The release.
        id: Box<PackageId>,
        /// The note.
        note: Box<Note>,
        /// The registry that is mirrored.
        from: Box<str>,
        /// The digest of the note in it.
        here: Digest,
        /// The registry that it is mirrored to.
        to: Box<str>,
        /// The digest of the note in that one.
        there: Digest,
    },
    /// No version of a package is among those asked for.
    #[error("Could not find a version of `{name}` in `{location}` that fits `{requirement}`")]
    NoVersion {
        /// The package.
        name: PackageName,
        /// What was asked for.
        requirement: semver::VersionReq,
        /// The registry.
        location: String,
    },
    /// A kind of store cannot do something.
    #[error("Could not {action} in `{location}`: this kind of registry does not offer it")]
    NotOffered {
        /// What was asked: a verb.
        action: &'static str,
        /// The place.
        location: String,
    },
    /// An S3-compatible store, or the way to it.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3(Box<crate::store::s3::S3Error>),
    /// An OCI registry, or the way to it.
    #[cfg(feature = "oci")]
    #[error(transparent)]
    Oci(Box<crate::store::oci::OciError>),
    /// A registry lacks content that a release lists.
    #[error("Could not find `{path}` in `{location}`: no blob has the digest `{digest}`")]
    MissingBlob {
        /// The registry.
        location: String,
        /// The file of the release.
        path: PackagePath,
        /// Its digest.
        digest: Digest,
    },
    /// An object was there and then was not.
    #[error("Could not read `{file}`: it was there a moment ago")]
    Vanished {
        /// The object.
        file: String,
    },
    /// What should be said about a release breaks a rule.
    #[error("Could not say this about `{id}`: {problem}")]
    Statement {
        /// The release.
        id: Box<PackageId>,
        /// The rule.
        problem: String,
    },
    /// A release has more notes than anything sensible.
    #[error("Could not read the notes on `{id}` in `{location}`: there are more than {limit}")]
    TooManyNotes {
        /// The release.
        id: Box<PackageId>,
        /// The most that are looked at.
        limit: usize,
        /// The registry.
        location: String,
    },
    /// Other processes were faster each time.
    #[error("Could not write {what} in `{location}`: others were faster each time")]
    Contended {
        /// What was to be written.
        what: String,
        /// The registry.
        location: String,
    },
    /// Content is not what its digest promises.
    #[error("Could not accept `{file}`: {difference}")]
    Altered {
        /// The file.
        file: String,
        /// Both sides.
        difference: Difference,
    },
    /// There is no manifest where one should be.
    #[error("Could not find a manifest at `{}`", .path.display())]
    NoManifest {
        /// Where it should be.
        path: PathBuf,
    },
    /// A manifest breaks a rule.
    #[error("Could not accept `{file}`: {problem}")]
    Manifest {
        /// The manifest.
        file: String,
        /// The rule.
        problem: Box<ManifestError>,
    },
    /// A release stands in a lock twice.
    #[error("Could not read `{file}`: `{id}` stands in it twice")]
    LockedTwice {
        /// The lock.
        file: String,
        /// The release.
        id: Box<PackageId>,
    },
    /// A frozen project has no lock.
    #[error("Could not find the lock `{}`", .path.display())]
    NoLock {
        /// Where it should be.
        path: PathBuf,
    },
    /// A frozen project's lock does not say what its manifest wants.
    #[error("Could not use the lock `{}`: it does not fit the manifest", .path.display())]
    StaleLock {
        /// The lock.
        path: PathBuf,
        /// What does not fit.
        source: Box<Self>,
    },
    /// A frozen project's lock has an entry that is not what its manifest comes to.
    #[error("Could not use the lock `{}`: its entry for `{id}` is not what the manifest comes to", .path.display())]
    StaleEntry {
        /// The lock.
        path: PathBuf,
        /// The entry's release.
        id: Box<PackageId>,
    },
    /// A package is wanted that the lock does not have.
    #[error("Could not find `{name}` in the lock")]
    NotLocked {
        /// The package.
        name: PackageName,
    },
    /// What the registry or the cache has is not what was locked.
    #[error("Could not accept `{id}`: its release record is `{}`, the lock has `{}`", .found.short(), .locked.short())]
    LockedDiffers {
        /// The release.
        id: Box<PackageId>,
        /// The release digest in the lock.
        locked: Digest,
        /// The release digest that was found.
        found: Digest,
    },
    /// A locked package would move to a lower version.
    #[error("Could not move `{name}` down from {before} to {after} without being told to")]
    Downgrade {
        /// The package.
        name: PackageName,
        /// The version in the lock.
        before: Version,
        /// The version that would replace it.
        after: Version,
    },
    /// A registry does not have a package.
    #[error("Could not find `{name}` in `{location}`")]
    NoPackage {
        /// The package.
        name: PackageName,
        /// The registry.
        location: String,
        /// A package of the namespace with nearly that name.
        similar: Option<PackageName>,
    },
    /// A registry does not have a version.
    #[error("Could not find `{id}` in `{location}`")]
    NoRelease {
        /// The release.
        id: Box<PackageId>,
        /// The registry.
        location: String,
    },
    /// No version of a package works together with the rest.
    #[error("{0}")]
    NoFit(Box<NoFit>),
    /// An adapter would be another release than the one that a task was trained on.
    #[error("{0}")]
    Untrained(Box<Untrained>),
    /// A package that should be updated is not one of the project's.
    #[error("Could not update `{name}`: the project uses {}", crate::text::list(.known))]
    NotUsed {
        /// The package.
        name: PackageName,
        /// The project's packages.
        known: Vec<PackageName>,
        /// The one of them with nearly that name.
        nearest: Option<PackageName>,
    },
    /// The search for versions that work together was given up.
    #[error("Could not choose versions: none of the first {steps} combinations of tasks and adapters works together")]
    TooManyCombinations {
        /// The combinations that were tried.
        steps: usize,
    },
    /// The Hugging Face Hub, or the way to it.
    #[cfg(feature = "hf")]
    #[error(transparent)]
    Hub(Box<crate::hub::HubError>),
    /// Trust refuses something.
    #[error("{0}")]
    Trust(Box<TrustError>),
    /// The environment names no home directory.
    #[error("Could not find the folder for your files: neither `KADAPTER_HOME` nor `HOME` is set to an absolute path")]
    NoHome,
    /// Two things that were checked against each other differ later: a defect of this program.
    #[error("Could not go on: what was checked before is not so any more, which is a defect of kadapter")]
    Inconsistent,
}

impl Error {
    /// Tells whether another choice of versions may help, so that resolution goes on.
    pub(crate) fn is_about_choice(&self) -> bool {
        matches!(self, Self::NoFit(_) | Self::Untrained(_) | Self::NotLocked { .. })
    }
}

/// The release behind a key of the index, or the key itself.
fn what(key: &Key) -> String {
    key.as_release().map_or_else(|| key.to_string(), |(name, version)| PackageId::new(&name, &version).to_string())
}

fn scheme(location: &RegistryLocation) -> &'static str {
    match location {
        RegistryLocation::Directory(_) => "file",
        RegistryLocation::Remote { scheme, .. } => scheme.as_str(),
    }
}
