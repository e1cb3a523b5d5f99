//! A plugin file read as bytes: format, machine, entry symbol and metadata note, before anything is opened.

use super::{PluginError, Promise};
use kadapter_plugin_api::abi::{ABI_VERSION, ENTRY_SYMBOL};
use kadapter_plugin_api::note::{self, Note};
use object::{Architecture, BinaryFormat, Object, ObjectKind, ObjectSection, ObjectSegment};
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
    let path_buf = || path.to_owned();
    let broken = |reason: String| PluginError::NotALibrary { path: path_buf(), reason };
    if bytes.is_empty() {
        return Err(broken("it is empty".into()));
    }
    check_whole_elf(path, bytes)?;
    let file = object::File::parse(bytes).map_err(|error| broken(error.to_string()))?;

    let host = (HOST_FORMAT, HOST_ARCHITECTURE, cfg!(target_pointer_width = "64"), cfg!(target_endian = "little"));
    let found = (file.format(), file.architecture(), file.is_64(), file.is_little_endian());
    if host != found {
        let name = |(format, architecture, ..): (BinaryFormat, Architecture, bool, bool)| {
            format!("{format:?} on {architecture:?}")
        };
        return Err(PluginError::Platform {
            path: path_buf(),
            expected: env!("KADAPTER_TARGET").into(),
            found: name(found),
        });
    }
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
    if note.target != env!("KADAPTER_TARGET") {
        return Err(PluginError::Platform {
            path: path_buf(),
            expected: env!("KADAPTER_TARGET").into(),
            found: note.target,
        });
    }
    Ok(Inspected { note })
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

const HOST_FORMAT: BinaryFormat = if cfg!(target_vendor = "apple") {
    BinaryFormat::MachO
} else if cfg!(windows) {
    BinaryFormat::Pe
} else {
    BinaryFormat::Elf
};

const HOST_ARCHITECTURE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else if cfg!(target_arch = "riscv64") {
    Architecture::Riscv64
} else {
    Architecture::Unknown
};
