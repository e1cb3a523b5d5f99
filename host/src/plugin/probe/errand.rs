//! What a child is sent for, and what it brings back.

use super::super::check::{CheckErrand, Finding};
use super::super::contact::{Contact, ContactErrand};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a child is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// The file to report to.
    pub(super) report: PathBuf,
    /// Bytes of address space that it may use.
    pub(super) memory: u64,
    /// What to do.
    pub(super) errand: Errand,
}

/// What a child is sent for.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) enum Errand {
    /// One check of `kadapter plugin check`.
    Check(CheckErrand),
    /// The first contact of this machine with a plugin.
    Contact(ContactErrand),
}

/// What a child brings back.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) enum Answer {
    /// Of [`Errand::Check`].
    Check(Finding),
    /// Of [`Errand::Contact`].
    Contact(Contact),
}
