//! The files of a new plugin crate: those of `template/`, where `@NAME@` and the like stand for what the author chose.

use super::sdk::Sdk;
use kadapter_registry::{License, PackageName};

/// What the author chose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub(super) package: &'a PackageName,
    pub(super) license: &'a License,
    pub(super) sdk: &'a Sdk,
}

/// A file of the new crate.
#[derive(Debug)]
pub(super) struct TemplateFile {
    /// Its path, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// Whether the author has to put another text there.
    pub(super) is_stand_in: bool,
}

/// Files that are the same in every crate.
const PLAIN: [(&str, &str); 5] = [
    ("src/lib.rs", include_str!("../template/src/lib.rs")),
    ("src/objective.rs", include_str!("../template/src/objective.rs")),
    ("src/tests.rs", include_str!("../template/src/tests.rs")),
    (".gitignore", include_str!("../template/gitignore")),
    (".github/workflows/ci.yml", include_str!("../template/ci.yml")),
];
const MANIFEST: &str = include_str!("../template/Cargo.toml.in");
const CARD: &str = include_str!("../template/README.md.in");
const MIT: &str = include_str!("../template/LICENSE-MIT.in");
const APACHE: &str = include_str!("../../../../../LICENSE-APACHE");
const OTHER: &str = include_str!("../template/LICENSE-OTHER.in");

/// Every file of the crate, without those of the SDK.
pub(super) fn files(values: &Values<'_>) -> Vec<TemplateFile> {
    let file = |path: &str, text: String| TemplateFile { path: path.to_owned(), text, is_stand_in: false };
    let mut files: Vec<_> = PLAIN.iter().map(|(path, text)| file(path, (*text).to_owned())).collect();
    files.push(file("Cargo.toml", fill(MANIFEST, values)));
    files.push(file("README.md", fill(CARD, values)));
    files.extend(licenses(values));
    files
}

/// A text for each licence that the expression names: the text itself where this program has it.
fn licenses(values: &Values<'_>) -> Vec<TemplateFile> {
    let mut identifiers: Vec<&str> = values.license.identifiers().collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    let several = identifiers.len() > 1;
    let license = |identifier: &str| {
        let (short, text, is_stand_in) = match identifier {
            "MIT" => ("MIT".to_owned(), fill(MIT, values), false),
            "Apache-2.0" => ("APACHE".to_owned(), APACHE.to_owned(), false),
            other => (other.replace(':', "-"), fill(&OTHER.replace("@IDENTIFIER@", other), values), true),
        };
        let path = if several { format!("LICENSE-{short}") } else { "LICENSE".to_owned() };
        TemplateFile { path, text, is_stand_in }
    };
    identifiers.into_iter().map(license).collect()
}

fn fill(text: &str, values: &Values<'_>) -> String {
    text.replace("@NAME@", values.package.name())
        .replace("@NAMESPACE@", values.package.namespace().as_str())
        .replace("@LICENSE@", values.license.as_str())
        .replace("@RUST_VERSION@", env!("CARGO_PKG_RUST_VERSION"))
        .replace("@SDK@", &values.sdk.dependency())
        .replace("@WORKSPACE@\n", &values.sdk.workspace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(license: &str, sdk: &Sdk) -> Vec<TemplateFile> {
        files(&Values { package: &"acme/chemistry".parse().unwrap(), license: &license.parse().unwrap(), sdk })
    }

    #[test]
    fn nothing_is_left_to_fill() {
        for sdk in [Sdk::Copy, Sdk::Folder("/a \"b\"".into()), Sdk::Git("https://example.org/a".into())] {
            for file in made("MIT AND (Apache-2.0 OR LicenseRef-x)", &sdk) {
                assert!(!file.text.contains('@') || file.path.ends_with("ci.yml"), "{}: {}", file.path, file.text);
            }
        }
    }

    #[test]
    fn the_manifest_is_toml_whatever_the_author_chose() {
        for sdk in [Sdk::Copy, Sdk::Folder("/a \"b\"\\c".into()), Sdk::Git("https://example.org/a?\"".into())] {
            let files = made("MIT", &sdk);
            let manifest = files.iter().find(|file| file.path == "Cargo.toml").unwrap();
            let table: toml::Table = manifest.text.parse().unwrap();
            assert_eq!(table["package"]["metadata"]["kadapter"]["name"].as_str(), Some("acme/chemistry"));
            assert!(table["dependencies"]["kadapter-plugin-api"].is_table() && table.contains_key("workspace"));
        }
    }

    #[test]
    fn each_licence_has_a_file_and_what_is_no_text_says_so() {
        let names = |license: &str| -> Vec<_> {
            let files = made(license, &Sdk::Copy).into_iter().filter(|file| file.path.starts_with("LICENSE"));
            files.map(|file| (file.path, file.is_stand_in)).collect()
        };
        assert_eq!(names("MIT"), [("LICENSE".into(), false)]);
        assert_eq!(names("MIT OR Apache-2.0"), [("LICENSE-APACHE".into(), false), ("LICENSE-MIT".into(), false)]);
        assert_eq!(names("CC-BY-4.0"), [("LICENSE".into(), true)]);
    }
}
