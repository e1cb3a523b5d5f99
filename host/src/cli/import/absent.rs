//! Stands in for the Hugging Face Hub in a build without it.

use crate::cli::report::Failure;
use kadapter_host::import::Identity;
use std::path::PathBuf;

/// Says that this build does not know the Hub.
pub(super) fn fetch(address: &str, _identity: &mut Identity) -> Result<PathBuf, Failure> {
    Err(Failure::new(
        format!("`{address}` is on the Hugging Face Hub, which this build does not know"),
        "build it in: `cargo install --path host --features hf`",
    ))
}
