//! `kadapter plugin new`: a plugin crate that builds, runs and passes its tests, to change into one's own.

mod name;
mod sdk;
mod template;

use crate::cli::report::{self, Failure};
use kadapter_host::stage::Stage;
use kadapter_registry::{License, Namespace, PackageName};
use std::path::PathBuf;
use std::process::ExitCode;
use template::Values;

/// Arguments of `kadapter plugin new`.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// Name of the crate, and of the package within its namespace
    name: String,
    /// The folder to make; without it one of the crate's name
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Namespace of the package; projects say which registry it is in
    #[arg(long, default_value = "me")]
    namespace: Namespace,
    /// The licence, an SPDX expression or `LicenseRef-…`
    #[arg(long, default_value = "MIT OR Apache-2.0")]
    license: License,
    /// Use the SDK that lies there instead of a copy of the one that this program was built with
    #[arg(long, value_name = "PATH|GIT-URL")]
    sdk: Option<String>,
}

impl New {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        name::check(&self.name)?;
        let package: PackageName = format!("{}/{}", self.namespace, self.name).parse()?;
        let sdk = sdk::Sdk::from_argument(self.sdk.as_deref())?;
        let out = self.out.unwrap_or_else(|| PathBuf::from(&self.name));
        let values = Values { package: &package, license: &self.license, sdk: &sdk };

        let stage = Stage::new(&out)?;
        let mut stand_ins = Vec::new();
        for file in template::files(&values) {
            stage.write(&file.path, file.text.as_bytes())?;
            if file.is_stand_in {
                stand_ins.push(file.path);
            }
        }
        for (path, text) in sdk.files() {
            stage.write(&format!("{}/{path}", sdk::FOLDER), text.as_bytes())?;
        }
        stage.finish()?;

        for path in stand_ins {
            let path = out.join(path);
            report::print_warning(
                &format!("`{}` names the licence and is not its text", path.display()),
                Some(&format!("put the text there before you publish: `$EDITOR {}`", path.display())),
            );
        }
        println!("made plugin {package} in {}", out.display());
        println!("  {:<16} the network: change it into yours", "src/lib.rs");
        println!("  {:<16} what trains it", "src/objective.rs");
        println!("  {:<16} its tests: `cargo test`", "src/tests.rs");
        println!("  {:<16} the card of the package", "README.md");
        println!("  {:<16} {sdk}", "SDK");
        println!("build it with: cargo build --release --manifest-path {}", out.join("Cargo.toml").display());
        Ok(ExitCode::SUCCESS)
    }
}
