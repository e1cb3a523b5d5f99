//! What can be wrong with a PyTorch file.

/// Why a PyTorch file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system said no.
    #[error("Could not read the file")]
    Io(#[from] std::io::Error),
    /// The file is not one that `torch.save` wrote.
    #[error("Expected a file that `torch.save` wrote, found {found}")]
    NotTorch {
        /// What it looks like instead.
        found: &'static str,
    },
    /// The file stops too early.
    #[error("The file is cut off: {what} needs {needed} bytes, {found} are there")]
    Truncated {
        /// The part that is incomplete.
        what: String,
        /// Bytes that the part needs, or the file offset it reaches to.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The pickle asks for code.
    #[error("The file asks to call `{module}.{name}`; a state dict needs only tensors and ordered dicts")]
    ForbiddenGlobal {
        /// Python module.
        module: String,
        /// Name in the module.
        name: String,
    },
    /// An instruction that no state dict needs.
    #[error("The file uses the pickle instruction `{instruction}` at byte {at}, which a state dict never needs")]
    ForbiddenInstruction {
        /// Name or number of the instruction.
        instruction: String,
        /// Byte in the pickle.
        at: usize,
    },
    /// A pickle that its own writer could not have written.
    #[error("The pickle is malformed at byte {at}: {what}")]
    Malformed {
        /// Byte in the pickle.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// A limit of the reader.
    #[error("The pickle has more than {limit} {what}, which no state dict needs")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The numbers are stored in an order that no supported machine uses.
    #[error("The file holds big-endian numbers; only little-endian files are read")]
    BigEndian,
    /// The zip container is broken, or not of the plain kind that torch writes.
    #[error("The zip container is not one that `torch.save` wrote: {what}")]
    Zip {
        /// What is wrong.
        what: String,
    },
    /// The pickle is fine, but not a state dict.
    #[error("Expected a state dict (names to tensors), found {found}")]
    NotStateDict {
        /// What it is instead.
        found: String,
    },
    /// A tensor reaches outside its storage, or is larger than it.
    #[error("Tensor `{tensor}` does not fit its storage: {what}")]
    OutsideStorage {
        /// Name of the tensor.
        tensor: String,
        /// Which bound is broken.
        what: String,
    },
    /// A storage is missing, or its length is not what the pickle says.
    #[error("Storage `{key}` {what}")]
    Storage {
        /// The storage's name in the file.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor that the file does not have was asked for.
    #[error("Could not find tensor `{tensor}` in the file")]
    UnknownTensor {
        /// Name of the tensor.
        tensor: String,
    },
}

impl Error {
    /// What a person can do about it; ends in something to type.
    pub fn hint(&self) -> Option<String> {
        let resave = "save only the state dict, with tensors alone: `torch.save(model.state_dict(), \"weights.pt\")`";
        match self {
            Self::Io(_) | Self::UnknownTensor { .. } => None,
            Self::Truncated { .. } | Self::Storage { .. } => {
                Some("the file is incomplete: copy or download it again and compare with `sha256sum FILE`".to_owned())
            }
            Self::ForbiddenGlobal { .. } => {
                Some(format!("do not open this file with `torch.load`; if it is your own, {resave}"))
            }
            Self::NotTorch { .. }
            | Self::ForbiddenInstruction { .. }
            | Self::Malformed { .. }
            | Self::TooMany { .. }
            | Self::NotStateDict { .. }
            | Self::OutsideStorage { .. }
            | Self::Zip { .. }
            | Self::BigEndian => Some(format!("if the file is your own, {resave}")),
        }
    }
}
