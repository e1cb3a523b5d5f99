//! `kadapter sign`: a signature for a release that is in a registry, made here or by the `minisign` command elsewhere.

use super::report::Failure;
use kadapter_host::signing::{self, Ring, SecretKey};
use kadapter_registry::release::ReleaseRecord;
use kadapter_registry::store::{Put, Store};
use kadapter_registry::trust::{self, PublicKey, Signature, TrustError};
use kadapter_registry::{Error, PackageId, PackageName, RegistryLocation, Trust, Version};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `kadapter sign`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").required(true).multiple(true).args(["key", "signature", "record_to"])))]
pub(crate) struct Sign {
    /// The release
    #[arg(value_name = "NS/NAME@VERSION")]
    release: String,
    /// The registry that has it
    #[arg(long, value_name = "REGISTRY")]
    registry: RegistryLocation,
    /// The key that signs: a name from `kadapter key list`, or a file; with --signature the public key
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
    /// Add a signature that `minisign -S` has made
    #[arg(long, value_name = "FILE", conflicts_with = "record_to")]
    signature: Option<PathBuf>,
    /// Only write the record, to sign it where the key is: `minisign -Sm FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    record_to: Option<PathBuf>,
}

impl Sign {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let id = release(&self.release, &self.registry)?;
        let registry = super::place::open(&self.registry)?;
        let Some(record) = registry.release(&id.name, &id.version)? else {
            return Err(Error::NoRelease { id: Box::new(id), location: registry.store().location() }.into());
        };
        if let Some(path) = &self.record_to {
            std::fs::write(path, &record.bytes).map_err(|source| Failure::io("write", path, source))?;
            println!("{id} is in {}", path.display());
            println!("  minisign -Sm {}", path.display());
            println!(
                "  kadapter sign {} --registry {} --signature {}.minisig",
                self.release,
                self.registry,
                path.display()
            );
            return Ok(ExitCode::SUCCESS);
        }
        match (&self.signature, &self.key) {
            (Some(file), key) => attach(registry.store(), &record, file, key.as_deref())?,
            (None, Some(key)) => with(registry.store(), &record, &open(key)?)?,
            (None, None) => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Opens a secret key, asking for its password.
pub(super) fn open(key: &str) -> Result<SecretKey, Failure> {
    Ok(Ring::of_user()?.open(key, super::password::of)?)
}

/// Signs a release and says so.
pub(super) fn with(store: &dyn Store, record: &ReleaseRecord, key: &SecretKey) -> Result<(), Failure> {
    let put = trust::sign(store, record, key, key.public())?;
    print(&record.release.id(), key.public(), put);
    Ok(())
}

fn attach(store: &dyn Store, record: &ReleaseRecord, file: &Path, key: Option<&str>) -> Result<(), Failure> {
    let (id, name) = (record.release.id(), file.display().to_string());
    let signature = Signature::from_file(&signing::read(file)?)
        .map_err(|problem| Error::from(TrustError::Malformed { id: id.clone(), file: name.clone(), problem }))?;
    let public = match key {
        Some(key) => super::key::public_key(key)?,
        None => known(&signature, record)?,
    };
    let put = trust::attach(store, record, signature.as_str().as_bytes(), &public)?;
    print(&id, &public, put);
    Ok(())
}

/// The public key of a signature, among those that sign here and those that are trusted here.
fn known(signature: &Signature, record: &ReleaseRecord) -> Result<PublicKey, Failure> {
    let own = Ring::of_user()?.entries()?.into_iter().filter_map(|entry| entry.public);
    let trust = Trust::of_user()?;
    let trusted = trust.keys_of(record.release.name.namespace()).map(|key| key.public.clone());
    own.chain(trusted).find(|public| public.id() == signature.key()).ok_or_else(|| {
        Failure::new(
            format!("the signature is by `{}`, which neither signs nor is trusted here", signature.key()),
            "name its public key: `--key minisign.pub`",
        )
    })
}

fn print(id: &PackageId, public: &PublicKey, put: Put) {
    let state = match put {
        Put::Created => "is signed",
        Put::Exists => "was signed already",
    };
    println!("{id} {state} by {}", public.id());
}

/// Reads `namespace/name@version`.
fn release(text: &str, registry: &RegistryLocation) -> Result<PackageId, Failure> {
    let (name, version) = text.split_once('@').ok_or_else(|| {
        Failure::new(
            format!("`{text}` names no version, expected `NAMESPACE/NAME@VERSION`"),
            format!("see which there are: `kadapter info {text} --registry {registry}`"),
        )
    })?;
    Ok(PackageId { name: name.parse::<PackageName>()?, version: version.parse::<Version>()? })
}
