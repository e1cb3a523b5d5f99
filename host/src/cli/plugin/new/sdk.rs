//! Where the new crate has its SDK from: a copy of the one that this program was built with, a folder, or a git repository.

use crate::cli::report::Failure;
use kadapter_plugin_api::abi::ABI_VERSION;
use std::fmt;
use std::path::{Path, PathBuf};

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The folder of the copy, and the name of the SDK's crate.
pub(super) const FOLDER: &str = "kadapter-plugin-api";
/// The longest `Cargo.toml` that is looked at, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;

/// An SDK.
#[derive(Debug)]
pub(super) enum Sdk {
    /// Written into the new crate.
    Copy,
    /// A folder with the SDK's `Cargo.toml`, absolute.
    Folder(PathBuf),
    /// A repository that has the SDK in it.
    Git(String),
}

impl Sdk {
    /// Understands `--sdk`.
    pub(super) fn from_argument(argument: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = argument else { return Ok(Self::Copy) };
        if text.contains("://") {
            let known = ["https://", "ssh://", "file://", "git://", "http://"];
            return if known.iter().any(|scheme| text.starts_with(scheme)) && !text.contains(char::is_whitespace) {
                Ok(Self::Git(text.to_owned()))
            } else {
                Err(Failure::new(
                    format!(
                        "`--sdk {text}` is no address that cargo fetches from, expected one of https://, ssh:// and file://"
                    ),
                    "name a folder instead: `--sdk path/to/kadapter/plugin-api`",
                ))
            };
        }
        let folder = Path::new(text);
        let manifest = folder.join("Cargo.toml");
        let hint = "name the folder of the SDK in a clone, `--sdk path/to/kadapter/plugin-api`, or leave `--sdk` out";
        let named = read_name(&manifest)
            .map_err(|source| Failure::new(format!("Could not read `{}`: {source}", manifest.display()), hint))?;
        if named.as_deref() != Some(FOLDER) {
            return Err(Failure::new(
                format!(
                    "`{}` is of {}, expected the SDK `{FOLDER}`",
                    manifest.display(),
                    named.map_or_else(|| "no crate".to_owned(), |name| format!("crate `{name}`"))
                ),
                hint,
            ));
        }
        Ok(Self::Folder(folder.canonicalize().map_err(|source| Failure::io("find", folder, source))?))
    }

    /// The files to write into [`FOLDER`].
    pub(super) fn files(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Copy => FILES,
            Self::Folder(_) | Self::Git(_) => &[],
        }
    }

    /// The dependency as a value of TOML.
    pub(super) fn dependency(&self) -> String {
        let text = |value: &str| toml::Value::from(value).to_string();
        let from = match self {
            Self::Copy => format!("path = \"{FOLDER}\""),
            Self::Folder(folder) => format!("path = {}", text(&folder.display().to_string())),
            Self::Git(address) => format!("git = {}", text(address)),
        };
        format!("{{ {from}, version = \"{}\" }}", ABI_VERSION.rsplit_once('.').map_or(ABI_VERSION, |(minor, _)| minor))
    }

    /// What `[workspace]` says about it.
    pub(super) fn workspace(&self) -> String {
        match self {
            Self::Copy => format!(
                "# The SDK's copy is not formatted, linted and tested with this crate.\nexclude = [\"{FOLDER}\"]\n"
            ),
            Self::Folder(_) | Self::Git(_) => String::new(),
        }
    }
}

impl fmt::Display for Sdk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => write!(formatter, "{FOLDER} {ABI_VERSION}, a copy of its source"),
            Self::Folder(folder) => write!(formatter, "{FOLDER} in {}", folder.display()),
            Self::Git(address) => write!(formatter, "{FOLDER} from {address}"),
        }
    }
}

/// The name of the crate that a `Cargo.toml` is of.
fn read_name(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_MANIFEST).read_to_string(&mut text)?;
    let table: Option<toml::Table> = text.parse().ok();
    Ok(table.as_ref().and_then(|table| Some(table.get("package")?.get("name")?.as_str()?.to_owned())))
}
