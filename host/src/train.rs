//! What training needs beside the arithmetic: hidden states kept on disk, logs, ranks, and the card of what was trained.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`cache`] | the backbone's hidden states of segments seen before, on disk and bounded |
//! | [`log`], [`tensorboard`] | what happened at each step, as JSON lines and as TensorBoard's event files |
//! | [`progress`] | the line that a person looks at |
//! | [`communicator`] | several processes that train one adapter: alone, over MPI, over NCCL |
//! | [`card`] | the README of a trained package |

pub mod cache;
pub mod card;
pub mod communicator;
pub mod log;
pub mod progress;
pub mod tensorboard;
