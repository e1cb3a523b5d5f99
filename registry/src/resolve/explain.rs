//! Rejections in few lines: by package, neighbours with one reason together, so that a thousand old versions are one line.

use super::reject::Rejection;
use crate::name::PackageName;
use crate::version::Version;

/// The most versions that a line names one by one.
const NAMED: usize = 6;

/// What is said about the candidates of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The package.
    pub name: PackageName,
    /// `1.1.0 is built for ABI 2.0, …`, in the order in which the versions were tried.
    pub lines: Vec<String>,
}

/// Puts rejections together by package, in the order in which the packages come first. What is there twice is told once.
#[must_use]
pub fn explain(rejections: &[Rejection]) -> Vec<Explained> {
    let mut packages: Vec<(&PackageName, Vec<&Rejection>)> = Vec::new();
    for rejection in rejections {
        match packages.iter_mut().find(|(name, _)| **name == rejection.name) {
            Some((_, known)) if known.contains(&rejection) => {}
            Some((_, known)) => known.push(rejection),
            None => packages.push((&rejection.name, vec![rejection])),
        }
    }
    let explained = |(name, rejections): (&PackageName, Vec<&Rejection>)| Explained {
        name: name.clone(),
        lines: lines(rejections.into_iter()),
    };
    packages.into_iter().map(explained).collect()
}

/// One line for each run of versions with the same reason.
pub(super) fn lines<'a>(rejections: impl Iterator<Item = &'a Rejection>) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&Version>)> = Vec::new();
    for rejection in rejections {
        let reason = rejection.reason.to_string();
        match groups.last_mut() {
            Some((last, versions)) if *last == reason => versions.push(&rejection.version),
            _ => groups.push((reason, vec![&rejection.version])),
        }
    }
    let line = |(reason, versions): (String, Vec<&Version>)| match versions.as_slice() {
        [only] => format!("{only} {reason}"),
        [first, .., last] if versions.len() > NAMED => {
            format!("{first} to {last} ({} releases): each {reason}", versions.len())
        }
        _ => {
            let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
            format!("{}: each {reason}", versions.join(", "))
        }
    };
    groups.into_iter().map(line).collect()
}
