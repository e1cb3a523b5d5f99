//! The frozen RoBERTa: configuration, weights, and the forward pass that keeps the hidden states somebody taps.

mod batch;
mod config;
mod error;
mod load;
mod mask_head;
mod network;

pub use batch::{Batch, Positions};
pub use config::{MAX_CONFIG_BYTES, RobertaConfig};
pub use error::BackboneError;
pub use mask_head::MaskHead;
pub use network::{HiddenStates, Roberta};
