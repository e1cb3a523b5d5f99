//! Machines: what a library file is made for, and what a target triple means.

use object::{Architecture, BinaryFormat, Object};
use std::fmt;

/// What a library file is made for, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) format: BinaryFormat,
    pub(super) architecture: Architecture,
    /// Whether addresses have 64 bits.
    pub(super) wide: bool,
    pub(super) little_endian: bool,
}

impl Machine {
    pub(super) fn of(file: &object::File<'_>) -> Self {
        Self {
            format: file.format(),
            architecture: file.architecture(),
            wide: file.is_64(),
            little_endian: file.is_little_endian(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} on {:?}", self.format, self.architecture)
    }
}

/// The format of the libraries of a target triple.
pub(super) fn format(target: &str) -> BinaryFormat {
    if target.contains("-apple-") {
        BinaryFormat::MachO
    } else if target.contains("-windows-") {
        BinaryFormat::Pe
    } else {
        BinaryFormat::Elf
    }
}

/// The architecture of a target triple; none for those that plugins are rarely built for.
pub(super) fn architecture(target: &str) -> Option<Architecture> {
    match target.split('-').next()? {
        "x86_64" => Some(Architecture::X86_64),
        "aarch64" | "arm64e" => Some(Architecture::Aarch64),
        "riscv64gc" | "riscv64a23" => Some(Architecture::Riscv64),
        "i586" | "i686" => Some(Architecture::I386),
        "loongarch64" => Some(Architecture::LoongArch64),
        "powerpc64le" => Some(Architecture::PowerPc64),
        _ => None,
    }
}

pub(super) const HOST_FORMAT: BinaryFormat = if cfg!(target_vendor = "apple") {
    BinaryFormat::MachO
} else if cfg!(windows) {
    BinaryFormat::Pe
} else {
    BinaryFormat::Elf
};

pub(super) const HOST_ARCHITECTURE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else if cfg!(target_arch = "riscv64") {
    Architecture::Riscv64
} else {
    Architecture::Unknown
};
