//! Stacks and controls side by side: which knowledge helps a task, and whether that is more than chance.

pub mod statistics;
