//! Training of a task's fusion and head on a frozen backbone and frozen adapters.
//!
//! ```text
//! Labelled ── encode (task) ── Encoded ── backbone and adapters, once ── FeatureSet     rows that the head reads, kept by digest
//! FeatureSet ── train_head: batches of rows ── network on a tape ── loss ── AdamW ── TrainedHead
//! TrainedHead ── predict ── Scores ── Metric
//! ```
//!
//! The backbone and the adapters never change, so their features are computed once ([`extract`]) and a head trains on plain matrices:
//! in seconds, as often as a study needs. The network is the one that answers ([`crate::pipeline`]).

mod batch;
pub mod card;
mod check;
mod cholesky;
mod choose;
mod column;
mod encoded;
mod error;
mod extract;
mod features;
mod grid;
pub mod job;
mod metric;
mod objective;
pub mod package;
mod packaged;
mod predict;
mod reading;
mod recipe;
mod ridge;
mod rounds;
mod settings;
mod shelf;
mod spec;
mod standardise;
pub mod statistics;
mod target;
#[cfg(test)]
mod tests;
mod trainer;

pub use check::{Gradients, gradients};
pub use choose::{Chosen, choose};
pub use column::{Column, MEMORY_BYTES};
pub use encoded::{EncodeReport, Encoded, encode};
pub use error::Error;
pub use extract::{Extraction, extract};
pub use features::{Feature, FeatureSet, View};
pub use grid::Grid;
pub use metric::{Metric, Tally};
pub use predict::{AnswerRule, Logits, predict};
pub use reading::Reading;
pub use recipe::{Files, Held, Part, PreparedTask, SplitName, TaskRecipe};
pub use rounds::{Round, Splits};
pub use settings::{HeadSettings, Solver};
pub use shelf::KEPT_BYTES;
pub use spec::{HeadSpec, LessTaps, Member};
pub use target::Target;
pub use trainer::{Development, EpochReport, Stop, TrainedHead, train_head};
