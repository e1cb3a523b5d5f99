//! From a manifest to answers: plan once, then one backbone pass per batch, each distinct adapter once, every task on top.
//!
//! ```text
//! texts ── encode (task) ── distinct segments ── backbone, once, keeping taps ── adapters, once each, over the rows that need them
//!                                             ── per task: gather the rows it reads ── fusion ── head ── decode
//! ```

mod adapter;
mod batch;
mod features;
mod fold;
pub(crate) mod fusion;
pub(crate) mod head;
mod model;
pub(crate) mod network;
mod open;
mod plan;
mod raw;
mod rows;
mod stats;

pub use model::Model;
pub(crate) use open::read_verified;
pub use open::{Opened, Settings, backbone_and_tokenizer, backbone_config, open};
pub use plan::{Plan, PlannedAdapter, PlannedTask};
pub use raw::{RawInput, RawOutput};
pub use rows::RowSource;
pub use stats::Stats;

use crate::error::Error;
use crate::task::{Answer, Encoding, Record, Task};

/// One question: a record and the task, by its place in [`Plan::tasks`], that is to answer it.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What is asked about.
    pub record: &'a Record,
    /// Index into [`Plan::tasks`].
    pub task: usize,
}

/// A loaded model, whatever device it is on.
pub trait Runner: Send {
    /// The plan it was loaded for.
    fn plan(&self) -> &Plan;

    /// Answers every job, in order; one that cannot be answered disturbs no other.
    fn answer(&self, jobs: &[Job<'_>]) -> Vec<Result<Answer, Error>>;

    /// Whether a job's record is longer than its task takes, so that its answer is about a part of it.
    fn is_cut(&self, job: &Job<'_>) -> bool;

    /// Hidden states and adapter outputs of token ids, for checking against other implementations.
    ///
    /// # Errors
    /// When the ids do not fit the backbone, an adapter fails or the device does.
    fn forward(&self, input: &RawInput, task: Option<&str>) -> Result<RawOutput, Error>;

    /// The rows that a head reads of encoded records, per source row-major: the records in order, each one's units, each unit's reads.
    /// `task` is the one that encoded them; it need not be of the plan.
    ///
    /// # Errors
    /// When a record does not fit the backbone, a source is not of the plan, an adapter fails or the device does.
    fn rows(&self, task: &dyn Task, encodings: &[Encoding], sources: &[RowSource]) -> Result<Vec<Vec<f32>>, Error>;

    /// What was counted since the model was loaded.
    fn stats(&self) -> Stats;
}
