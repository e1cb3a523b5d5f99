//! The card of a trained adapter.

use kadapter_host::tensor::derivatives::Derivatives;
use kadapter_host::train::adapter::job::Job;
use kadapter_host::train::adapter::package::{Packed, TrainedBeside};

/// Renders it.
pub(super) fn render<E: Derivatives>(job: &Job<E>, beside: &TrainedBeside, packed: &Packed, device: &str) -> String {
    let recipe = &job.prepared.recipe;
    format!(
        "# {}\n\n{}\n{:?}\n{device}\n{}\n{:?}\n",
        recipe.adapter.name, beside.id, packed, recipe.text, job.progress.evaluations
    )
}
