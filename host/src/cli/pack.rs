//! `kadapter pack`: a built plugin crate becomes a package directory.

use super::report::{self, Failure};
use kadapter_host::Error;
use kadapter_host::pack::{self, Request};
use kadapter_registry::Target;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `kadapter pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pack {
    /// The folder of the plugin crate, whose release build is done
    #[arg(value_name = "CRATE", default_value = ".")]
    crate_directory: PathBuf,
    /// The package directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A built library to take, for the machine that it says it is for; give it once per target
    #[arg(long = "library", value_name = "FILE")]
    libraries: Vec<PathBuf>,
    /// Take what `cargo build --release --target TRIPLE` built; may be given several times
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<Target>,
    /// Where cargo builds; without it `target` of the crate or of its workspace
    #[arg(long, value_name = "DIR", env = "CARGO_TARGET_DIR")]
    target_dir: Option<PathBuf>,
}

impl Pack {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let request = Request {
            crate_directory: self.crate_directory,
            libraries: self.libraries,
            targets: self.targets,
            target_directory: self.target_dir,
            out: self.out.clone(),
        };
        let packed = pack::pack(&request).map_err(Error::from)?;
        for warning in &packed.warnings {
            report::print_warning(&warning.to_string(), Some(warning.hint()));
        }
        let package = &packed.package;
        println!("packed {} {} in {}", package.name, package.version, self.out.display());
        println!("  {:<12} {}", "licence", package.license);
        for library in &packed.libraries {
            println!("  {:<12} {}, ABI {}, {} bytes", "library", library.path, library.abi, library.size);
        }
        for notice in &packed.notices {
            println!("  {:<12} {notice}", "notice");
        }
        println!("publish it with: kadapter publish {} --registry DIR", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
