//! `trust.toml` as text: read strictly, and changed so that everything else which a person wrote in it stays.
//!
//! Who changes it holds `trust.toml.lock` beside it from reading to writing: of two changes at once the later must not undo the
//! earlier, least of all a key that was taken out.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Native, PublicKey, Trust, TrustError, TrustedKey, Weights};
use crate::error::Error;
use crate::files;
use crate::key::KeyId;
use crate::name::Namespace;
use crate::text;

/// The longest `trust.toml`, in bytes.
pub(super) const MAX_TRUST: u64 = 1024 * 1024;
/// The longest name of a key, in bytes.
const MAX_NAME: usize = 200;
/// What a new file begins with.
const PREAMBLE: &str = "\
# Whom kadapter trusts. `kadapter key trust` and `kadapter key distrust` change the keys; the rest is yours to write.
native = \"signed\"    # plugins, which are native code: \"deny\", \"signed\" (by a key below) or \"any\"
weights = \"digest\"   # backbones, adapters and tasks: \"digest\" (what the lock says) or \"signed\"
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    native: Native,
    #[serde(default)]
    weights: Weights,
    #[serde(default)]
    key: Vec<WireKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    namespace: Namespace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    public: PublicKey,
}

#[derive(Serialize)]
struct Addition<'a> {
    key: [&'a WireKey; 1],
}

/// What changing a file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was written anew.
    Written,
    /// It said so already.
    None,
}

impl Trust {
    /// Reads the text of a `trust.toml`. `file` names it in errors.
    ///
    /// # Errors
    /// One sentence with the line for what is malformed; a key id that stands twice for one namespace; the name of a key
    /// that is no prose.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Error> {
        let wire: Wire = text::from_toml(file, text)?;
        let mut keys: Vec<TrustedKey> = Vec::new();
        for WireKey { namespace, name, public } in wire.key {
            // Two keys of one id cannot be told apart in a lock.
            if keys.iter().any(|other| other.namespace == namespace && other.public.id() == public.id()) {
                return Err(TrustError::Twice { file: file.to_owned(), namespace, key: public.id().clone() }.into());
            }
            if let Some(name) = &name {
                check_name(name)?;
            }
            keys.push(TrustedKey { namespace, name, public });
        }
        Ok(Self { native: wire.native, weights: wire.weights, keys, file: None })
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let problem = match name {
        name if name.trim().is_empty() => "it is empty",
        name if name.len() > MAX_NAME => "it is longer than 200 bytes",
        name if name.chars().any(char::is_control) => "it has control characters",
        _ => return Ok(()),
    };
    Err(Error::Name { what: "name of a key", value: text::shorten(name), problem })
}

/// Keeps other changes of a `trust.toml` out until it is dropped; waits for those that are at work. Its folder is made.
fn hold(path: &Path) -> Result<File, Error> {
    let folder = folder(path);
    fs::create_dir_all(folder).map_err(|source| Error::Io { action: "make", path: folder.into(), source })?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let refuse = |source| Error::Io { action: "lock", path: beside.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&beside).map_err(refuse)?;
    match file.lock() {
        // Where nobody can lock, changes at once are as rare as elsewhere.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        locked => locked.map(|()| file).map_err(refuse),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Trusts a key for a namespace: adds it to the end of a `trust.toml`, which is made when it is not there.
///
/// # Errors
/// The file is malformed, has another key of this id for the namespace, or cannot be locked or written.
pub fn trust(path: &Path, key: &TrustedKey) -> Result<Change, Error> {
    let _hold = hold(path)?;
    let before = Trust::read(path)?;
    if let Some(other) = before.key(&key.namespace, key.public.id()) {
        if other.public == key.public {
            return Ok(Change::None);
        }
        let (file, namespace) = (path.display().to_string(), key.namespace.clone());
        return Err(TrustError::Twice { file, namespace, key: key.public.id().clone() }.into());
    }
    if let Some(name) = &key.name {
        check_name(name)?;
    }
    let mut text = if path.exists() { files::read_text(path, MAX_TRUST)? } else { PREAMBLE.to_owned() };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let TrustedKey { namespace, name, public } = key.clone();
    let wire = WireKey { namespace, name, public };
    let addition = toml::to_string(&Addition { key: [&wire] })
        .map_err(|source| Error::WriteToml { file: super::TRUST_FILE, source })?;
    text.push('\n');
    text.push_str(&addition);
    let mut after = before;
    after.keys.push(key.clone());
    write(path, &text, &after)
}

/// Trusts a key no more, for one namespace or for all; gives what was taken out.
///
/// # Errors
/// The file is malformed, does not have the key, or cannot be locked or written.
pub fn distrust(path: &Path, namespace: Option<&Namespace>, id: &KeyId) -> Result<Vec<TrustedKey>, Error> {
    let goes =
        |key: &TrustedKey| key.public.id() == id && namespace.is_none_or(|namespace| key.namespace == *namespace);
    let _hold = hold(path)?;
    let before = Trust::read(path)?;
    let (gone, stay): (Vec<_>, Vec<_>) = before.keys.iter().cloned().partition(goes);
    if gone.is_empty() {
        let known = before.keys.iter().map(|key| key.public.id().clone()).collect();
        return Err(TrustError::NotTrusted { file: path.display().to_string(), key: id.clone(), known }.into());
    }
    let text = without(&files::read_text(path, MAX_TRUST)?, &goes);
    write(path, &text, &Trust { keys: stay, ..before })?;
    Ok(gone)
}

/// Leaves out the `[[key]]` tables of some keys. Comments and blank lines before the next table belong to that one.
fn without(text: &str, goes: &dyn Fn(&TrustedKey) -> bool) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut kept = String::new();
    let mut index = 0;
    while index < lines.len() {
        let mut end = index + 1;
        if is_header(&lines[index]) {
            while end < lines.len() && !is_header(&lines[end]) {
                end += 1;
            }
            while end < lines.len() && end > index + 1 && !is_content(&lines[end - 1]) {
                end -= 1;
            }
        }
        let block = lines[index..end].concat();
        let keys = Trust::from_toml(super::TRUST_FILE, &block).map(|trust| trust.keys).unwrap_or_default();
        if !matches!(keys.as_slice(), [key] if goes(key)) {
            kept.push_str(&block);
        }
        index = end;
    }
    kept
}

/// Writes a changed text, whose folder is there, when it says what it should.
fn write(path: &Path, text: &str, expected: &Trust) -> Result<Change, Error> {
    let file = path.display().to_string();
    let found = Trust::from_toml(&file, text).map(|found| Trust { file: expected.file.clone(), ..found });
    // Keys may be written in other ways than as [[key]] tables. Then it is not for us to rewrite them.
    if found.ok().as_ref() != Some(expected) {
        return Err(TrustError::HandWritten { file }.into());
    }
    files::write_atomic(path, text.as_bytes())?;
    Ok(Change::Written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const TWO: &str = "RWSSTfHHlkXmh/zKDQHklbhhIP2ts96Hwq95u0lC5TTJ0nDOe+7EIrQb";

    fn key(namespace: &str, public: &str) -> TrustedKey {
        TrustedKey { namespace: namespace.parse().unwrap(), name: None, public: public.parse().unwrap() }
    }

    #[test]
    fn what_a_person_wrote_stays_when_keys_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/trust.toml");
        assert_eq!(trust(&path, &key("a", ONE)).unwrap(), Change::Written);
        assert_eq!(trust(&path, &key("a", ONE)).unwrap(), Change::None);
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.starts_with(PREAMBLE), "{written}");

        let by_hand = format!(
            "# mine\nweights = \"signed\" # yes\n\n# about a\n[[key]]  # first\npublic = \"{ONE}\"\nnamespace = \"a\"\n\n# about b\n\
             [[key]]\nnamespace = \"b\"\npublic = \"{ONE}\""
        );
        fs::write(&path, &by_hand).unwrap();
        trust(&path, &key("b", TWO)).unwrap();
        let added = fs::read_to_string(&path).unwrap();
        assert!(added.starts_with(&by_hand), "{added}");
        let id = key("b", TWO).public.id().clone();
        distrust(&path, None, &id).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), by_hand);
        let gone = distrust(&path, Some(&"a".parse().unwrap()), key("a", ONE).public.id()).unwrap();
        assert_eq!(gone, [key("a", ONE)]);
        let left = fs::read_to_string(&path).unwrap();
        assert_eq!(
            left.trim_end(),
            format!(
                "# mine\nweights = \"signed\" # yes\n\n# about a\n\n# about b\n[[key]]\nnamespace = \"b\"\npublic = \"{ONE}\""
            )
        );
    }

    /// Each change reads what the one before it wrote, so that none is undone.
    #[test]
    fn changes_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        let key_of = |namespace: usize| key(&format!("n{namespace}"), ONE);
        trust(&path, &key("old", TWO)).unwrap();
        std::thread::scope(|scope| {
            let (path, key_of) = (&path, &key_of);
            for namespace in 0..16 {
                scope.spawn(move || trust(path, &key_of(namespace)).unwrap());
            }
            scope.spawn(move || distrust(path, None, key("old", TWO).public.id()).unwrap());
        });
        let mut found: Vec<_> = Trust::read(&path).unwrap().keys;
        found.sort_by_key(|key| key.namespace.clone());
        let mut expected: Vec<_> = (0..16).map(key_of).collect();
        expected.sort_by_key(|key| key.namespace.clone());
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_that_are_written_otherwise_are_left_to_their_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        let inline = |namespace: &str| format!("{{ namespace = \"{namespace}\", public = \"{ONE}\" }}");
        let by_hand = format!("key = [{}, {}]\n", inline("a"), inline("b"));
        fs::write(&path, &by_hand).unwrap();
        let is_refused = |outcome: Result<(), Error>| {
            let Err(Error::Trust(error)) = outcome else { return false };
            matches!(*error, TrustError::HandWritten { .. })
        };
        assert!(is_refused(trust(&path, &key("b", TWO)).map(|_| ())));
        assert!(is_refused(distrust(&path, Some(&"a".parse().unwrap()), key("a", ONE).public.id()).map(|_| ())));
        assert_eq!(fs::read_to_string(&path).unwrap(), by_hand);
    }
}
