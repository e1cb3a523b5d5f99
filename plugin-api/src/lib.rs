#![doc = include_str!("../README.md")]

pub mod abi;
mod adapter;
mod config;
mod context;
mod engine;
pub mod entities;
mod error;
mod example;
mod export;
mod layers;
pub mod note;
mod objective;
mod params;
pub mod random;
mod record;
pub mod reference;
mod segments;
pub mod session;
mod text;

pub use adapter::{Adapter, Backbone};
pub use config::{Config, Entry};
pub use context::{Context, Tensor};
pub use engine::{Activation, Engine, NO_PARTNER};
pub use error::{Error, ErrorKind, Result};
pub use example::{Batch, BatchExample, Encoded, EncodedData, Example, Place};
pub use export::{instantiate, instantiate_objective};
pub use layers::{LayerNorm, Linear};
pub use objective::{Loss, Metric, Objective};
pub use params::{Init, MAX_PARAMS, Param, ParamId, ParamSpec, Params, Role};
pub use record::Record;
pub use segments::Segments;
pub use text::{Special, Text};

/// What an adapter crate needs.
pub mod prelude {
    pub use crate::{
        Activation, Adapter, Backbone, Batch, Config, Context, Encoded, Error, Example, Init, LayerNorm, Linear, Loss,
        Metric, Objective, Param, Params, Record, Result, Special, Tensor, Text, export_adapter,
    };
}

#[doc(hidden)]
pub mod __private {
    pub use crate::export::{header, header_with_objective};
    pub use abi_stable::library::LibHeader;
}
