//! Training: adapters through the objectives of their plugins, heads of tasks on top of them, the backbone frozen throughout.
//!
//! ```text
//! recipe -> records -> examples on disk -> batches, in an order that the seed decides
//!        -> hidden states: from the cache, or one backbone pass for all recipes
//!        -> adapter and objective on the tape -> gradients -> AdamW
//!        -> checkpoints, evaluations, log -> the best weights as a package
//! ```
//! Everything that decides a number is in the recipe or the checkpoint, so that a run that was killed ends with the bits of one that
//! was not.

pub mod adapter;
pub mod cache;
pub mod card;
pub mod checkpoint;
pub mod communicator;
pub mod data_file;
pub mod error;
pub mod examples;
pub mod log;
pub mod optimizer;
pub mod progress;
pub mod recipe;
pub mod sampler;
pub mod schedule;
pub mod task;
pub mod tensorboard;
