//! The CPU engine: float32 arithmetic over prepacked weights, ragged rows and reused buffers.
//!
//! [`CpuEngine`] implements [`kadapter_plugin_api::Engine`] for inference, and [`super::derivatives::Derivatives`] beside it for
//! training. What makes it fast:
//!
//! * a weight is packed once, when it is loaded ([`CpuParam::linear`]), for the instructions of this processor;
//! * bias and activation are part of the product, residual and norm are one pass, `narrow` is a view;
//! * buffers come from a pool ([`CpuConfig::pool_bytes`]) and go back to it when the last tensor that shares one is dropped;
//! * a unit of work is a tile of the result; threads take tiles from their own end of the list and, when they run out, from
//!   the other end of a neighbour's.
//!
//! The order of additions that make up one element depends on the shapes of a weight and on the length of a segment, never on
//! how many rows there are, on what else is in the batch, or on the number of threads. So a row in a batch has the bits of the
//! row alone, on the same processor.
//!
//! ```text
//! engine ── linear ──┐
//!        ── attention ┼── kernel: microkernels, packing, threads, tiles, aligned memory (the only `unsafe`)
//!        ── norm, …  ─┘        ↑ math: scalar functions that the compiler vectorises
//!        ── tensor, param ── pool
//! ```

mod attention;
mod derivatives;
mod elementwise;
mod engine;
mod kernel;
mod linear;
mod loss;
mod math;
mod norm;
mod param;
mod pool;
mod rows;
mod tensor;

pub(super) use derivatives::{mask_column, write_mask};
pub use engine::{CpuConfig, CpuEngine};
pub use kernel::Isa;
pub use param::CpuParam;
pub use tensor::CpuTensor;

#[cfg(test)]
mod tests;
