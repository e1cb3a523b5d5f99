//! What a package and a version are called on the Hub, reversibly.
//!
//! The Hub tells names apart without regard to case, takes `a-z`, `0-9`, `-`, `_` and `.`, and refuses `--`, `..`, a `-` or
//! `.` at an end, and `.git`. So `namespace/name` becomes `namespace_name`, where within both
//!
//! | is written | for |
//! | --- | --- |
//! | `.u` | `_` |
//! | `.d` | `.` |
//! | `.h` | a `-` that is last or follows another |
//!
//! and `me/roberta-large` is `me_roberta-large`. Every name has one spelling, and another spelling is no package.

use crate::hub::RepoId;
use crate::name::PackageName;
use crate::version::Version;

/// What separates namespace and name.
const SEPARATOR: char = '_';
/// What stands before the version in a tag.
const TAG: &str = "v";

/// The name of a package's repository, which is legal but perhaps too long.
pub(super) fn repository_name(name: &PackageName) -> String {
    format!("{}{SEPARATOR}{}", encode(name.namespace().as_str()), encode(name.name()))
}

/// The package behind a repository's name; none where no package is written so.
pub(super) fn package_name(repository: &RepoId) -> Option<PackageName> {
    let (namespace, name) = repository.name().split_once(SEPARATOR)?;
    let package: PackageName = format!("{}/{}", decode(namespace)?, decode(name)?).parse().ok()?;
    (repository_name(&package) == repository.name()).then_some(package)
}

/// The tag of a version.
pub(super) fn tag(version: &Version) -> String {
    format!("{TAG}{version}")
}

/// The version behind a tag; none where no version is written so.
pub(super) fn version(tag_name: &str) -> Option<Version> {
    let version: Version = tag_name.strip_prefix(TAG)?.parse().ok()?;
    (tag(&version) == tag_name).then_some(version)
}

fn encode(part: &str) -> String {
    let mut encoded = String::new();
    let mut characters = part.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '_' => encoded.push_str(".u"),
            '.' => encoded.push_str(".d"),
            '-' if encoded.ends_with('-') || characters.peek().is_none() => encoded.push_str(".h"),
            other => encoded.push(other),
        }
    }
    encoded
}

fn decode(part: &str) -> Option<String> {
    let mut decoded = String::new();
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => decoded.push(match characters.next()? {
                'u' => '_',
                'd' => '.',
                'h' => '-',
                _ => return None,
            }),
            other => decoded.push(other),
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::part_problem;

    fn name(text: &str) -> PackageName {
        text.parse().unwrap()
    }

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(repository_name(&name("me/roberta-large")), "me_roberta-large");
        assert_eq!(repository_name(&name("a_b/c.d")), "a.ub_c.dd");
        assert_eq!(repository_name(&name("a/b--c-")), "a_b-.hc.h");
        assert_eq!(repository_name(&name("x/git")), "x_git");
    }

    #[test]
    fn other_spellings_are_no_packages() {
        for other in ["o/plain", "o/a_b_c", "o/A_b", "o/a_b.h.h", "o/a_.ub", "o/a.x_b", "o/a_b.u-c.", "o/_b"] {
            let Ok(repo) = other.parse::<RepoId>() else { continue };
            assert_eq!(package_name(&repo).filter(|found| other != format!("o/{}", repository_name(found))), None);
        }
        assert_eq!(package_name(&"o/bert-base".parse().unwrap()), None);
        assert_eq!(version("1.0.0"), None);
        assert_eq!(version("v1.0"), None);
        assert_eq!(version("v1.0.0-rc.1").unwrap().to_string(), "1.0.0-rc.1");
    }

    proptest! {
        #[test]
        fn every_name_is_legal_on_the_hub_and_read_back(
            namespace in "[a-z0-9][a-z0-9._-]{0,20}",
            package in "[a-z0-9][a-z0-9._-]{0,20}",
        ) {
            let Ok(package) = format!("{namespace}/{package}").parse::<PackageName>() else { return Ok(()) };
            let encoded = repository_name(&package);
            prop_assert_eq!(part_problem(&encoded), None, "{}", encoded);
            prop_assert_eq!(package_name(&format!("o/{encoded}").parse().unwrap()), Some(package));
        }
    }
}
