//! What registries say about releases that a project uses already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Project;
use crate::resolve::Selection;
use crate::warning::Warning;
use crate::yank::{self, Counts};

impl Project {
    /// Asks the registries which of the chosen releases are yanked. Each keeps working; who locks or updates is told.
    ///
    /// This is the only way in which a frozen project comes to ask a registry, and no failure: a registry that cannot be
    /// asked is a warning, told once.
    #[must_use]
    pub fn yank_warnings(&self, selection: &Selection) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut silent = BTreeSet::new();
        let mut asked = BTreeSet::new();
        for record in selection.records() {
            let id = record.release.id();
            let Ok(location) = self.sources.location_of(&id.name) else { continue };
            if silent.contains(location) || !asked.insert(id.clone()) {
                continue;
            }
            let standing = self
                .registry_of(&id.name)
                .and_then(|registry| yank::standing_of(registry.store(), record, self.yanks_count()));
            match standing {
                Ok(standing) => {
                    if let Some(reason) = standing.yanked() {
                        warnings.push(Warning::Yanked { id: id.clone(), reason: reason.to_owned() });
                    }
                    warnings.extend(Warning::of_notes(&id, standing));
                }
                Err(error) => {
                    silent.insert(location.clone());
                    warnings.push(Warning::Unasked { location: location.clone(), source: Arc::new(error) });
                }
            }
        }
        warnings
    }

    /// Whose yanks count for this project.
    pub(super) fn yanks_count(&self) -> Counts<'_> {
        &yank::every
    }
}
