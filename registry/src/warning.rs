//! What whoever asked should be told though nothing failed.

use std::sync::Arc;

use crate::error::Error;
use crate::id::PackageId;
use crate::location::RegistryLocation;
use crate::note::Note;
use crate::yank::{PassedOver, Standing};

/// A fact that stops nothing; what to do about it is [`Warning::hint`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A locked release is yanked. It keeps working.
    #[error("`{id}` is yanked: {reason}")]
    Yanked {
        /// The release.
        id: PackageId,
        /// What its publisher says.
        reason: String,
    },
    /// A note on a release was passed over.
    #[error("Could not read the note `{note}` on `{id}`: {problem}")]
    Note {
        /// The release.
        id: PackageId,
        /// The note.
        note: Note,
        /// What is wrong with it.
        problem: String,
    },
    /// A registry could not be asked whether what is locked is yanked.
    #[error("Could not ask `{location}` for yanks")]
    Unasked {
        /// The registry, as the manifest writes it.
        location: RegistryLocation,
        /// Why.
        #[source]
        source: Arc<Error>,
    },
}

impl Warning {
    /// The notes that were passed over while asking where a release stands.
    pub(crate) fn of_notes(id: &PackageId, standing: Standing) -> impl Iterator<Item = Self> {
        standing.passed_over.into_iter().map(|PassedOver { note, problem }| Self::Note {
            id: id.clone(),
            note,
            problem,
        })
    }

    /// What to do about it, ending in something to type; none where nothing in general helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Yanked { id, .. } => Some(format!("move to another release: `kadapter update {}`", id.name)),
            Self::Note { .. } => None,
            Self::Unasked { source, .. } => source.hint(),
        }
    }
}
