//! `kadapter versions`: what there is of a package, and what is yanked.

use super::query::{Registries, split};
use super::report::{Failure, json, print_part};
use kadapter_registry::{Version, query};
use std::process::ExitCode;

/// Arguments of `kadapter versions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Versions {
    /// `namespace/name`
    package: String,
    #[command(flatten)]
    registries: Registries,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// A line of `kadapter versions --json`.
#[derive(serde::Serialize)]
struct Line<'a> {
    version: &'a Version,
    yanked: Option<&'a str>,
}

impl Versions {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (name, version) = split(&self.package)?;
        if version.is_some() {
            let sentence = format!("`{}` names a version, expected a package", self.package);
            return Err(Failure::new(sentence, format!("describe it: `kadapter info {}`", self.package)));
        }
        let mut code = ExitCode::SUCCESS;
        for registry in self.registries.open(Some(&name))? {
            for listed in query::versions(&registry, &name)? {
                let standing = match listed.standing {
                    Ok(standing) => standing,
                    Err(error) => {
                        print_part(&format!("{name} {}", listed.version), &error.into());
                        code = ExitCode::FAILURE;
                        continue;
                    }
                };
                let (version, yanked) = (&listed.version, standing.yanked());
                match (self.json, yanked) {
                    (true, _) => println!("{}", json(&Line { version, yanked })),
                    (false, None) => println!("{version}"),
                    (false, Some(reason)) => println!("{version}  yanked: {reason}"),
                }
            }
        }
        Ok(code)
    }
}
