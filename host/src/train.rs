//! Training: the optimiser and its schedule, and what is trained with them.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`optimizer`] | AdamW as the official code computes it, on the device, and clipping |
//! | [`schedule`] | the learning rate of each update |
//! | [`task`] | heads of tasks on frozen backbone and adapters |

pub mod optimizer;
pub mod schedule;
pub mod task;
