//! `kadapter key`: the keys that sign here, and the keys that are trusted here.

use super::report::Failure;
use kadapter_host::signing::{self, NewKey, Part, Ring};
use kadapter_registry::trust::{self, Change, Native, PublicKey, TrustedKey, Weights};
use kadapter_registry::{Alias, Error, KeyId, Namespace, Trust};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What can be done with keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Key {
    /// Make a key that signs releases
    New(New),
    /// Show the keys that sign here and those that are trusted here
    List,
    /// Accept a key's signatures for the packages of one namespace
    Trust(TrustKey),
    /// Accept a key's signatures no more
    Distrust(Distrust),
}

/// Arguments of `kadapter key new`.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// What the key is called here
    name: Alias,
    /// Keep the secret key open to whoever can read its file, instead of encrypted (or set KADAPTER_KEY_PASSWORD)
    #[arg(long)]
    no_password: bool,
}

/// Arguments of `kadapter key trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustKey {
    /// The public key, a file that has it, or the name of a key that signs here
    #[arg(value_name = "PUBLIC_KEY|FILE.pub")]
    key: String,
    /// The namespace whose packages it may sign
    #[arg(long, value_name = "NS")]
    namespace: Namespace,
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

/// Arguments of `kadapter key distrust`.
#[derive(Debug, clap::Args)]
pub(crate) struct Distrust {
    /// The key's id, the key itself, a file that has it, or the name of a key that signs here
    #[arg(value_name = "KEY")]
    key: String,
    /// Only for this namespace
    #[arg(long, value_name = "NS")]
    namespace: Option<Namespace>,
}

impl Key {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::New(command) => command.run(),
            Self::List => list(),
            Self::Trust(command) => command.run(),
            Self::Distrust(command) => command.run(),
        }
    }
}

impl New {
    fn run(self) -> Result<ExitCode, Failure> {
        let ring = Ring::of_user()?;
        ring.check_free(&self.name)?;
        let password = if self.no_password { None } else { Some(super::password::new()?) };
        let key = NewKey::generate(password)?;
        ring.keep(&self.name, &key)?;
        println!("made the key `{}`, {}", self.name, key.public.id());
        println!("  secret  {}", ring.secret(&self.name).display());
        println!("  public  {}", ring.public(&self.name).display());
        println!("tell others how to trust it, by a way that they know to be yours:");
        println!("  kadapter key trust {} --namespace NAMESPACE", key.public);
        Ok(ExitCode::SUCCESS)
    }
}

fn list() -> Result<ExitCode, Failure> {
    for entry in Ring::of_user()?.entries()? {
        let id = entry.public.map_or_else(|| "(no .pub beside it)".to_owned(), |public| public.id().to_string());
        println!("signs    {id:<16}  {:<20}  {}", entry.name, entry.secret.display());
    }
    let trust = Trust::of_user()?;
    for key in &trust.keys {
        let name = key.name.as_deref().unwrap_or_default();
        println!("trusted  {:<16}  {:<20}  {name}", key.public.id().to_string(), key.namespace.to_string());
    }
    let native = match trust.native {
        Native::Deny => "no plugins",
        Native::Signed => "plugins that a trusted key has signed",
        Native::Any => "all plugins",
    };
    let weights = match trust.weights {
        Weights::Digest => "weights that the lock names",
        Weights::Signed => "weights that a trusted key has signed",
    };
    let file = trust.file.filter(|file| file.is_file());
    let source = file.map_or_else(|| "without a trust.toml".to_owned(), |file| format!("as {} says", file.display()));
    println!("let in   {native}, and {weights}, {source}");
    Ok(ExitCode::SUCCESS)
}

impl TrustKey {
    fn run(self) -> Result<ExitCode, Failure> {
        let path = trust_file()?;
        let public = public_key(&self.key)?;
        let key = TrustedKey { namespace: self.namespace, name: self.name, public };
        let state = match trust::trust(&path, &key)? {
            Change::Written => "is trusted now",
            Change::None => "was trusted already",
        };
        println!("{} {state} for `{}`, in {}", key.public.id(), key.namespace, path.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl Distrust {
    fn run(self) -> Result<ExitCode, Failure> {
        let path = trust_file()?;
        // A name such as `ada` could be an id, too: whoever has a key of that name means it.
        let id = match (Ring::of_user()?.find(&self.key, Part::Public), key_id(&self.key)) {
            (Err(_), Some(id)) => id,
            _ => public_key(&self.key)?.id().clone(),
        };
        for key in trust::distrust(&path, self.namespace.as_ref(), &id)? {
            println!("{} is trusted no more for `{}`, in {}", key.public.id(), key.namespace, path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn trust_file() -> Result<PathBuf, Failure> {
    Ok(trust::user_file().ok_or(Error::NoHome)?)
}

/// A public key as people give it: itself, in a file, or by the name of a key that signs here.
pub(super) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    let looks_like_a_key = text.starts_with("RW") && !Path::new(text).exists();
    if looks_like_a_key {
        return Ok(text.parse()?);
    }
    let path = Ring::of_user()?.find(text, Part::Public)?;
    Ok(signing::read(&path)?.parse()?)
}

/// A key id as minisign prints it, which leaves zeros at the front out.
fn key_id(text: &str) -> Option<KeyId> {
    if text.len() > 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    format!("{:0>16}", text.to_ascii_uppercase()).parse().ok()
}
