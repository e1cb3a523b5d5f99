#![doc = include_str!("../README.md")]

pub mod abi;
mod adapter;
mod config;
mod context;
mod engine;
mod error;
mod export;
mod layers;
pub mod note;
mod params;
pub mod random;
pub mod reference;
mod segments;
pub mod session;

pub use adapter::{Adapter, Backbone};
pub use config::{Config, Entry};
pub use context::{Context, Tensor};
pub use engine::{Activation, Engine, NO_PARTNER};
pub use error::{Error, ErrorKind, Result};
pub use export::instantiate;
pub use layers::{LayerNorm, Linear};
pub use params::{Init, MAX_PARAMS, Param, ParamId, ParamSpec, Params, Role};
pub use segments::Segments;

/// What an adapter crate needs.
pub mod prelude {
    pub use crate::{
        Activation, Adapter, Backbone, Config, Context, Error, Init, LayerNorm, Linear, Param, Params, Result, Tensor,
        export_adapter,
    };
}

#[doc(hidden)]
pub mod __private {
    pub use crate::export::header;
    pub use abi_stable::library::LibHeader;
}
