//! Cures: for each error that has one, a sentence that ends in something to type.

use super::Error;
use crate::manifest::ManifestError;
use crate::package::stack_text;
use crate::resolve::{Chosen, NoFit, Reason, Untrained};

impl Error {
    /// What to do about it, ending in something to type; none where nothing in general helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            #[cfg(feature = "hf")]
            Self::Hub(problem) => return problem.hint(),
            Self::Io { path, source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                format!("make room there and try again: `df -h {}`", path.parent().unwrap_or(path).display())
            }
            #[cfg(feature = "s3")]
            Self::S3(problem) => return problem.hint(),
            Self::Toml { suggestion: Some(word), .. } => format!("perhaps `{word}` is meant"),
            Self::Schema { found, known, .. } if found > known => {
                "it was written by a newer kadapter; update this one: `cargo install --path host` in a newer clone"
                    .to_owned()
            }
            Self::MissingFile { path, .. } if path.as_str() == crate::package::CARD_FILE => {
                "every package has a card that says what it is and where it comes from: `$EDITOR README.md`".to_owned()
            }
            Self::MissingFile { path, .. } if path.as_str() == crate::package::PACKAGE_FILE => {
                "every package directory has one; `kadapter import` writes it".to_owned()
            }
            Self::UnnamedFile { path, directory } => {
                format!("name it in the package file or remove it: `rm {}`", directory.join(path).display())
            }
            Self::VersionTaken { .. } => {
                "a release never changes; raise `version` in `kadapter-package.toml` and publish again".to_owned()
            }
            Self::LookAlike { other, .. } => {
                format!("choose another name, or publish a new version of `{other}`: `name = \"{other}\"`")
            }
            Self::NoRegistry { location } => {
                format!("publishing makes one: `kadapter publish DIRECTORY --registry {location}`")
            }
            Self::StoreNotBuilt { .. } => {
                "use a directory in [registries]: `NAMESPACE = \"path/to/registry\"`".to_owned()
            }
            Self::MissingBlob { .. } => "see what else is missing: `kadapter verify`".to_owned(),
            Self::Altered { .. } => "restore the file; one in the cache is replaced by `kadapter fetch`".to_owned(),
            Self::NoManifest { .. } => "name the project's manifest: `--manifest FILE`".to_owned(),
            Self::Manifest { problem, .. } => return manifest_hint(problem),
            Self::NoLock { .. } | Self::StaleLock { .. } | Self::StaleEntry { .. } => {
                "write it: `kadapter lock`".to_owned()
            }
            Self::NotLocked { .. } => "lock it: `kadapter lock`".to_owned(),
            Self::LockedTwice { .. } => "delete it and write it anew: `kadapter lock`".to_owned(),
            Self::LockedDiffers { .. } => {
                "a release never changes, so compare with its publisher's; if it is your own and was \
                 built again, lock it anew: `rm kadapter.lock && kadapter lock`"
                    .to_owned()
            }
            Self::Downgrade { name, after, .. } => {
                format!("allow it once: `kadapter update {name}@{after} --allow-downgrade`")
            }
            Self::NoPackage { similar: Some(similar), .. } => format!("perhaps `{similar}` is meant"),
            Self::NoPackage { location, .. } => format!("see what there is: `kadapter search --registry {location}`"),
            Self::NoRelease { id, .. } => format!("see what there is: `kadapter info {}`", id.name),
            Self::NoVersion { name, location, .. } => {
                format!("see what there is: `kadapter info {name} --registry {location}`")
            }
            Self::NotCollected { key, location, source } => source.hint().unwrap_or_else(|| match key.as_release() {
                Some((name, version)) => {
                    format!("restore the record and look at it: `kadapter info {name}@{version} --registry {location}`")
                }
                None => {
                    format!("put what a link leads to in its place, move what is no record elsewhere: `ls -l {location}/{key}`")
                }
            }),
            Self::NoteRefused { id, .. } => format!(
                "tell its publisher, since notes never change, and say it anew: `kadapter info {}@{}`",
                id.name, id.version
            ),
            Self::NoteDiffers { id, to, .. } => format!(
                "a note never changes, so one of the two was altered; see what it says: `kadapter info {}@{} --registry {to}`",
                id.name, id.version
            ),
            Self::MirrorDiffers { id, to, .. } => format!(
                "a release never changes, so one of the two is not its publisher's: `kadapter info {}@{} --registry {to}`",
                id.name, id.version
            ),
            Self::NoFit(no_fit) => return no_fit_hint(no_fit),
            Self::Untrained(untrained) => untrained_hint(untrained),
            Self::NotUsed { nearest: Some(nearest), .. } => format!("perhaps `{nearest}` is meant"),
            Self::NotUsed { .. } => "see what the project uses: `kadapter tree`".to_owned(),
            Self::TooManyCombinations { .. } => "pin tasks and adapters to versions that belong together: \
                 `version = \"=1.0.0\"`"
                .to_owned(),
            #[cfg(feature = "oci")]
            Self::Oci(problem) => return problem.hint(),
            Self::Trust(error) => return error.hint(),
            Self::NoHome => "name a folder: `export KADAPTER_HOME=/path/to/folder`".to_owned(),
            _ => return None,
        })
    }
}

fn manifest_hint(problem: &ManifestError) -> Option<String> {
    Some(match problem {
        ManifestError::UnknownAdapter { nearest: Some(nearest), .. } => format!("perhaps `{nearest}` is meant"),
        ManifestError::UnknownAdapter { name, .. } => {
            format!("name it in [adapters]: `{name} = {{ package = \"NAMESPACE/NAME\", version = \"^1\" }}`")
        }
        ManifestError::NoRegistry { package, .. } => {
            format!("say in [registries] where it is: `{} = \"registry/local\"`", package.namespace())
        }
        ManifestError::TaskFusion { .. } => "choose a variant by its stack: `stack = [\"NAME\"]`".to_owned(),
        ManifestError::LearnedFusion { .. } => {
            "use `fusion = \"concat\"` or `fusion = \"add\"`, or a task package that has such a variant".to_owned()
        }
        ManifestError::Twice { name, .. } => format!("once is enough: `stack = [\"{name}\"]`"),
        ManifestError::TaskKind { .. } => "name the task's package: `package = \"NAMESPACE/NAME\"`".to_owned(),
        ManifestError::TaskKey { key, .. } => match *key {
            "version" => "say which versions will do: `version = \"^1\"`".to_owned(),
            _ => "name the task's package: `package = \"NAMESPACE/NAME\"`".to_owned(),
        },
        ManifestError::FeaturesKey { key, .. } => format!("remove one of the two lines: `kind` or `{key}`"),
    })
}

fn untrained_hint(untrained: &Untrained) -> String {
    let Untrained { adapter, wanted, trained, release, .. } = untrained;
    let other = format!("take or train a release of `{}` for {}", release.name, wanted.version);
    match &trained.version {
        Some(version) => {
            let line = format!("{adapter} = {{ package = \"{}\", version = \"={version}\" }}", wanted.name);
            format!("{other} (`kadapter versions {}` shows them), or keep the adapter: `{line}`", release.name)
        }
        None => format!("{other}: `kadapter versions {}`", release.name),
    }
}

fn no_fit_hint(no_fit: &NoFit) -> Option<String> {
    Some(match no_fit.main_reason()? {
        Reason::Requirement { .. } => {
            format!("see what there is and widen the requirement: `kadapter info {}`", no_fit.name)
        }
        Reason::Schema { .. } => "update this program: `cargo install --path host` in a newer clone".to_owned(),
        Reason::Kind { found, .. } => format!("see what there is: `kadapter search {found}`"),
        Reason::Backbone { package, .. } => {
            format!("choose the backbone that it belongs to: `[backbone] package = \"{package}\"`")
        }
        Reason::Abi { .. } | Reason::Target { .. } | Reason::Plugin { .. } | Reason::Stuck { .. } => {
            format!("see which other releases there are: `kadapter info {}`", no_fit.name)
        }
        Reason::Yanked { .. } | Reason::AdapterYanked { .. } | Reason::Trained { .. } => {
            format!("see which releases are not yanked: `kadapter versions {}`", no_fit.name)
        }
        Reason::Variant { found, .. } => {
            let example =
                found.iter().max_by_key(|stack| stack.len()).map(|stack| stack_text(stack).replace('`', "\""));
            format!("choose one of these stacks, such as `stack = {}`", example.unwrap_or_default(),)
        }
        Reason::Adapter { alias, chosen, .. } => match chosen {
            Chosen::Decided { .. } => format!("stack `{alias}` only in tasks that were trained with one release of it"),
            Chosen::NotAmongFitting { .. } => {
                format!("let `{alias}` be the release that the task was trained with: `kadapter info {}`", no_fit.name)
            }
        },
    })
}
