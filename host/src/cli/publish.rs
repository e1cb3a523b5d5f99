//! `kadapter publish`: a package directory becomes a release.

use super::progress::ProgressArguments;
use super::report::Failure;
use kadapter_host::plugin;
use kadapter_registry::package::Content;
use kadapter_registry::{RegistryLocation, Target, publish};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `kadapter publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// The package directory, with its kadapter-package.toml
    package: PathBuf,
    /// The registry: a directory or address, made if it is not there
    #[arg(long, value_name = "REGISTRY")]
    registry: RegistryLocation,
    #[command(flatten)]
    progress: ProgressArguments,
    /// Sign the release with this key: a name from `kadapter key list`, or a file
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
}

impl Publish {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let observer = self.progress.observer();
        let store = super::place::store(&self.registry)?;
        let checked = publish::check_for(&*store, &self.package, &observer)?;
        if let Content::Plugin(package) = &checked.package.content {
            // A library for another machine cannot be judged here; one for this machine must be what the package says.
            if let Some(library) = package.libraries.get(&Target::host()) {
                let path = self.package.join(library.to_string());
                let inspected = plugin::inspect(&path, &plugin::read(&path)?)?;
                let promise = plugin::Promise {
                    digest: kadapter_registry::Digest::of(&[]),
                    size: 0,
                    version: checked.package.version.to_string(),
                    abi: package.abi.to_string(),
                };
                inspected.compare(&path, &promise)?;
            }
        }
        // A key that does not open must not leave a release behind that nobody has signed.
        let key = self.key.as_deref().map(super::sign::open).transpose()?;
        let published = publish::publish_observed(&*store, &checked, &observer)?;
        let release = &published.record.release;
        let state = if published.created { "published" } else { "was published already" };
        println!("{} {state} to {}", release.id(), self.registry);
        println!("  release {}", published.record.digest);
        if let Some(weights) = release.backbone_weights() {
            println!("  belongs to backbone weights {weights}");
        }
        if let Some(key) = key {
            super::sign::with(&*store, &published.record, &key)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
