//! Training: the optimiser and its schedule.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`optimizer`] | AdamW as the official code computes it, on the device, and clipping |
//! | [`schedule`] | the learning rate of each update |

pub mod optimizer;
pub mod schedule;
