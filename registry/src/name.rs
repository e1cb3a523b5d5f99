//! Names: namespaces, packages and the aliases that stacks use.
//!
//! Names are lower-case ASCII, so that they are unique without regard to case, safe as file names on every system and
//! free of look-alike letters. They start with a letter or digit, so that none is hidden or an option.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text::{serde_as_string, shorten};

/// The longest name of a namespace, a package within it, or an alias, in bytes: short enough for any file system.
pub const MAX_NAME: usize = 64;

/// Names of devices on Windows, with or without an extension: a file of that name cannot be made there.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Tells whether Windows takes `name` for a device.
pub(crate) fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    RESERVED.iter().any(|reserved| stem.eq_ignore_ascii_case(reserved))
}

/// Says what is wrong with one name, if anything.
fn problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME {
        return Some("it is longer than 64 characters");
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some("it has capital letters; names are lower-case");
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')) {
        return Some("only a-z, 0-9, `-`, `_` and `.` may stand in it");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some("it must start with a letter or digit");
    }
    if name.ends_with('.') {
        return Some("it must not end in a dot");
    }
    is_reserved(name).then_some("Windows reserves it for a device")
}

fn check(what: &'static str, name: &str) -> Result<(), Error> {
    match problem(name) {
        None => Ok(()),
        Some(problem) => Err(Error::Name { what, value: shorten(name), problem }),
    }
}

macro_rules! simple_name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        serde_as_string!($type, $what);
    };
}

simple_name!(
    /// The part of a package's name before the slash; each routes to exactly one registry.
    Namespace,
    "namespace"
);
simple_name!(
    /// The name that a manifest or a task package gives to an adapter or a task, used in stacks.
    Alias,
    "name"
);

/// A package's full name, `namespace/name`.
///
/// ```
/// use kadapter_registry::PackageName;
/// let name: PackageName = "kadapter/factual".parse()?;
/// assert_eq!(name.namespace().as_str(), "kadapter");
/// assert!("Kadapter/factual".parse::<PackageName>().is_err());
/// # Ok::<(), kadapter_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    namespace: Namespace,
    name: Box<str>,
}

impl PackageName {
    /// The part before the slash.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The part after the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name without its separators: two packages of one namespace may not share it.
    pub(crate) fn skeleton(&self) -> String {
        self.name.chars().filter(char::is_ascii_alphanumeric).collect()
    }
}

impl FromStr for PackageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let what = "package name";
        let refuse = |problem| Error::Name { what, value: shorten(text), problem };
        let (namespace, name) = text.split_once('/').ok_or_else(|| refuse("it must be `namespace/name`"))?;
        if let Some(problem) = problem(namespace).or_else(|| problem(name)) {
            return Err(refuse(problem));
        }
        Ok(Self { namespace: Namespace(namespace.into()), name: name.into() })
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

serde_as_string!(PackageName, "package name `namespace/name`");
