//! A plugin file read as bytes: format, machine, entry symbol and metadata note, before anything is opened.

use super::machine::{self, HOST_ARCHITECTURE, HOST_FORMAT, Machine};
use super::{PluginError, Promise};
use kadapter_plugin_api::abi::{ABI_VERSION, ENTRY_SYMBOL};
use kadapter_plugin_api::note::{self, Note};
use object::{Object, ObjectKind, ObjectSection, ObjectSegment};
use std::path::Path;

/// The largest plugin file, in bytes: release builds have half a megabyte, debug builds ten.
pub const MAX_PLUGIN_SIZE: u64 = 256 << 20;

/// What a plugin file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The metadata note.
    pub note: Note,
}

/// Reads a file's bytes as a plugin for this machine. `path` only names it in errors.
///
/// # Errors
/// When the bytes are no whole native library, are for another machine or ABI major, or are no adapter plugin.
pub fn inspect(path: &Path, bytes: &[u8]) -> Result<Inspected, PluginError> {
    let file = parse(path, bytes)?;
    let platform = |found: String| PluginError::Platform {
        path: path.to_owned(),
        expected: env!("KADAPTER_TARGET").into(),
        found,
    };
    let host = Machine {
        format: HOST_FORMAT,
        architecture: HOST_ARCHITECTURE,
        wide: cfg!(target_pointer_width = "64"),
        little_endian: cfg!(target_endian = "little"),
    };
    let found = Machine::of(&file);
    if host != found {
        return Err(platform(found.to_string()));
    }
    let note = read_note(path, bytes, &file)?;
    if note.target != env!("KADAPTER_TARGET") {
        return Err(platform(note.target));
    }
    Ok(Inspected { note })
}

/// Reads a file's bytes as a plugin for whichever machine its note names: to pack what another machine built.
///
/// # Errors
/// When the bytes are no whole native library, are for another ABI major, are no adapter plugin, or are for another machine
/// than their note says.
pub fn inspect_for_any_machine(path: &Path, bytes: &[u8]) -> Result<Inspected, PluginError> {
    let file = parse(path, bytes)?;
    let found = Machine::of(&file);
    let note = read_note(path, bytes, &file)?;
    let said = (machine::format(&note.target), machine::architecture(&note.target));
    if said.0 != found.format || said.1.is_some_and(|architecture| architecture != found.architecture) {
        return Err(PluginError::Platform { path: path.to_owned(), expected: note.target, found: found.to_string() });
    }
    Ok(Inspected { note })
}

fn parse<'data>(path: &Path, bytes: &'data [u8]) -> Result<object::File<'data>, PluginError> {
    let broken = |reason: String| PluginError::NotALibrary { path: path.to_owned(), reason };
    if bytes.is_empty() {
        return Err(broken("it is empty".into()));
    }
    check_whole_elf(path, bytes)?;
    object::File::parse(bytes).map_err(|error| broken(error.to_string()))
}

fn read_note(path: &Path, bytes: &[u8], file: &object::File<'_>) -> Result<Note, PluginError> {
    let path_buf = || path.to_owned();
    let broken = |reason: String| PluginError::NotALibrary { path: path_buf(), reason };
    if file.kind() != ObjectKind::Dynamic {
        return Err(broken(format!("it is of kind {:?}, expected a dynamic library", file.kind())));
    }
    let end_of_segments =
        file.segments().map(|segment| segment.file_range()).map(|(start, size)| start.saturating_add(size)).max();
    if let Some(described) = end_of_segments.filter(|&end| end > bytes.len() as u64) {
        return Err(PluginError::Truncated { path: path_buf(), described, found: bytes.len() as u64 });
    }
    let mut exports = file.exports().map_err(|error| broken(error.to_string()))?;
    let is_entry = |name: object::NameOrOrdinal<&[u8]>| match name {
        object::NameOrOrdinal::Name(name) => name.strip_prefix(b"_").unwrap_or(name) == ENTRY_SYMBOL.as_bytes(),
        object::NameOrOrdinal::Ordinal(_) => false,
    };
    if !exports.any(|export| export.is_ok_and(|export| is_entry(export.name()))) {
        return Err(PluginError::NotAPlugin { path: path_buf(), missing: "entry symbol `KADAPTER_PLUGIN`" });
    }
    let note = SECTIONS
        .iter()
        .find_map(|name| file.section_by_name(name))
        .and_then(|section| section.data().ok())
        .and_then(note::parse)
        .ok_or(PluginError::NotAPlugin { path: path_buf(), missing: "metadata note" })?;
    if major(&note.abi) != major(ABI_VERSION) {
        return Err(PluginError::Abi { path: path_buf(), expected: ABI_VERSION.into(), found: note.abi });
    }
    Ok(note)
}

impl Inspected {
    /// Compares the note with the release that the file came with.
    ///
    /// # Errors
    /// When version or ABI differ.
    pub fn compare(&self, path: &Path, promise: &Promise) -> Result<(), PluginError> {
        let differs = |what, expected: &str, found: &str| {
            Err(PluginError::Note { path: path.to_owned(), what, expected: expected.into(), found: found.into() })
        };
        if self.note.version != promise.version {
            return differs("version", &promise.version, &self.note.version);
        }
        if self.abi() != promise.abi {
            return differs("ABI", &promise.abi, &self.abi());
        }
        Ok(())
    }

    /// The ABI as releases write it, `major.minor`.
    pub fn abi(&self) -> String {
        self.note.abi.split('.').take(2).collect::<Vec<_>>().join(".")
    }
}

/// Says `truncated` where an ELF header promises more than there is; a parser would only say `invalid`.
fn check_whole_elf(path: &Path, bytes: &[u8]) -> Result<(), PluginError> {
    let word = |at: usize, size: usize| -> Option<u64> {
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes.get(at..at + size)?);
        Some(u64::from_le_bytes(word))
    };
    if bytes.starts_with(b"\x7fELF\x02\x01")
        && let (Some(table), Some(entry), Some(count)) = (word(40, 8), word(58, 2), word(60, 2))
    {
        let described = table.saturating_add(entry * count);
        if described > bytes.len() as u64 {
            return Err(PluginError::Truncated { path: path.to_owned(), described, found: bytes.len() as u64 });
        }
    }
    Ok(())
}

fn major(version: &str) -> Option<&str> {
    version.split('.').next()
}

const SECTIONS: [&str; 3] = [note::SECTION, "__kadapter", ".kadapt"];
