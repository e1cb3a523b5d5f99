//! Stacks and controls side by side: which knowledge helps a task, and whether that is more than chance.
//!
//! ```text
//! recipe ── tasks × shares of the training data × conditions × seeds ── runs, each kept by the digest of all that went into it
//!        ── paired bootstrap over test records and seeds ── Report ── text, JSON, SVG
//! ```
//!
//! | condition | stack |
//! | --- | --- |
//! | a stack | adapters, in the order of fusion |
//! | control `none` | the last hidden state alone |
//! | control `taps` | a learned mix of the hidden states that the adapters read, in their place: same fusion, same number of parameters |
//! | control `random` | untrained adapters of the same plugin and configuration |
//! | control `shuffled` | adapters that were trained on the same data with permuted labels |

pub mod chart;
pub mod condition;
pub mod recipe;
pub mod report;
pub mod results;
pub mod run;
pub mod text;
