//! Training of adapters: one or several recipes on one backbone, one pass of it per update for all of them.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`prepare`] | a recipe's plugin, objective and data, ready for any device |
//! | [`states`] | hidden states of a batch's segments: from the cache on disk, or a backbone pass |
//! | [`network`] | an adapter and its objective on a device: gradients, updates, tallies |
//! | [`job`] | one recipe's run: its order of examples, progress, checkpoints and log |
//! | [`run`] | all jobs, update by update |
//! | [`package`] | the finished adapter as a package |

pub mod job;
pub mod network;
pub mod package;
pub mod prepare;
pub mod run;
pub mod states;
