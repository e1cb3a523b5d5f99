//! The types that cross the boundary. Hosts and the export macro use them; authors of plugins do not.
//!
//! ```text
//! plugin file ── KADAPTER_PLUGIN: LibHeader ── Plugin { new_adapter }                       (constructed in the plugin)
//!      new_adapter(config, backbone) ──────── Built { instance: Instance, params }          (owned by the host, code in the plugin)
//!      instance.forward(ops, taps) ────────── ops: OpTable, implemented by the host         (called by the plugin)
//!      new_objective(config, backbone) ────── BuiltObjective { objective: Trainer, params } (since 1.1, where the plugin has one)
//! ```
//!
//! Rules of a major version: fields and methods are only ever added, behind the last one, methods with a default body; nothing that
//! crosses by value changes its layout; the prefix marks never move.

#![expect(
    non_local_definitions,
    reason = "abi_stable 0.11.3's `sabi_trait` expands to impls inside a const, harmless here"
)]
#![expect(clippy::wrong_self_convention, reason = "`from_f32` is named for what it takes; the receiver is the host")]
#![expect(missing_docs, reason = "`sabi_trait` and the prefix derive generate undocumented twins of documented items")]

use crate::{Backbone, Batch, EncodedData, Error, Metric, ParamId, ParamSpec, config::Entry};
use abi_stable::{
    StableAbi,
    library::RootModule,
    package_version_strings, sabi_trait,
    sabi_types::{RRef, VersionStrings},
    std_types::{ROption, RResult, RSlice, RStr, RVec},
};

/// The name of the one symbol that a plugin exports.
pub const ENTRY_SYMBOL: &str = "KADAPTER_PLUGIN";

/// The version of the ABI this crate speaks: `major.minor.patch`.
pub const ABI_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A tensor's id, given out by the host and valid in one forward.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, StableAbi)]
pub struct TensorId(pub u64);

/// A tensor that the host made: its id and shape.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, StableAbi)]
pub struct TensorRef {
    pub id: TensorId,
    pub rows: u64,
    pub columns: u64,
}

/// What an op gives.
pub type OpResult = RResult<TensorRef, Error>;

/// The host's ops as a plugin sees them; [`crate::Engine`] has each one's meaning, [`crate::Context`] the safe way to call it.
#[sabi_trait]
pub trait OpTable {
    fn zeros(&self, rows: u64, columns: u64) -> OpResult;
    fn from_f32(&self, rows: u64, columns: u64, values: RVec<f32>) -> OpResult;
    fn read_f32(&self, x: TensorId) -> RResult<RVec<f32>, Error>;
    fn parameter(&self, param: ParamId) -> OpResult;
    fn linear(&self, x: TensorId, weight: ParamId, bias: ROption<ParamId>, activation: u8) -> OpResult;
    fn matmul(&self, a: TensorId, b: TensorId, transposed: bool) -> OpResult;
    fn add(&self, a: TensorId, b: TensorId) -> OpResult;
    fn mul(&self, a: TensorId, b: TensorId) -> OpResult;
    fn scale(&self, x: TensorId, factor: f32) -> OpResult;
    fn activation(&self, x: TensorId, activation: u8) -> OpResult;
    fn log(&self, x: TensorId) -> OpResult;
    fn layer_norm(&self, x: TensorId, weight: ParamId, bias: ParamId, epsilon: f32) -> OpResult;
    fn add_layer_norm(&self, x: TensorId, residual: TensorId, weight: ParamId, bias: ParamId, epsilon: f32)
    -> OpResult;
    fn attention(&self, q: TensorId, k: TensorId, v: TensorId, heads: u64) -> OpResult;
    fn concat(&self, tensors: RSlice<'_, TensorId>) -> OpResult;
    fn narrow(&self, x: TensorId, start: u64, length: u64) -> OpResult;
    fn gather(&self, x: TensorId, rows: RSlice<'_, u32>) -> OpResult;
    fn segment_lengths(&self) -> RVec<u64>;
    fn segment_mean(&self, x: TensorId) -> OpResult;
    fn segment_matmul(&self, a: TensorId, b: TensorId) -> OpResult;
    fn softmax(&self, x: TensorId) -> OpResult;
    fn log_softmax(&self, x: TensorId) -> OpResult;
    fn dropout(&self, x: TensorId, probability: f32) -> OpResult;
    fn embedding(&self, table: ParamId, rows: RSlice<'_, u32>) -> OpResult;
    fn cross_entropy(&self, logits: TensorId, targets: RSlice<'_, i64>) -> OpResult;
    fn bce_with_logits(&self, logits: TensorId, targets: TensorId) -> OpResult;
    fn mse(&self, a: TensorId, b: TensorId) -> OpResult;
    /// Says that the plugin will not name these tensors again.
    #[sabi(last_prefix_field)]
    fn release(&self, tensors: RSlice<'_, TensorId>);
    /// Since 1.1. A host of 1.0 only infers, where dropout does nothing: it is asked for plain attention.
    fn attention_dropout(&self, q: TensorId, k: TensorId, v: TensorId, heads: u64, _probability: f32) -> OpResult {
        self.attention(q, k, v, heads)
    }
}

/// The op table as it is handed to `forward`: borrowed, and used by one thread.
pub type Ops<'a> = OpTable_TO<'a, RRef<'a, ()>>;

/// An adapter that was built, as a host sees it. Panics inside are caught and come back as errors, in `Drop` too.
#[sabi_trait]
pub trait Instance: Send + Sync {
    /// Runs the adapter on one batch; gives the id of the feature rows `[rows, hidden size]`.
    #[sabi(last_prefix_field)]
    fn forward<'a>(&self, ops: OpTable_TO<'a, RRef<'a, ()>>, taps: RSlice<'_, TensorRef>) -> RResult<TensorId, Error>;
}

/// An owned instance.
pub type InstanceBox = Instance_TO<'static, abi_stable::std_types::RBox<()>>;

/// What building an adapter gives: the instance and the parameters that it declared.
#[repr(C)]
#[derive(StableAbi)]
pub struct Built {
    pub instance: InstanceBox,
    pub params: RVec<ParamSpec>,
}

/// The backbone's tokenizer, implemented by the host; [`crate::Text`] is the safe way to call it.
#[sabi_trait]
pub trait TextTable {
    fn pieces(&self, text: RStr<'_>) -> RResult<RVec<u32>, Error>;
    fn id_of(&self, token: RStr<'_>) -> ROption<u32>;
    fn special(&self, special: u8) -> ROption<u32>;
    #[sabi(last_prefix_field)]
    fn max_tokens(&self) -> u64;
}

/// The tokenizer as it is handed to an objective.
pub type Texts<'a> = TextTable_TO<'a, RRef<'a, ()>>;

/// What an objective reads of a batch, both `[rows, hidden size]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, StableAbi)]
pub struct Inputs {
    /// The backbone's last hidden state.
    pub last: TensorRef,
    /// The adapter's feature rows.
    pub features: TensorRef,
}

/// The loss of a batch: a tensor `[1, 1]` and over how many it is the mean.
#[repr(C)]
#[derive(Clone, Copy, Debug, StableAbi)]
pub struct LossRef {
    pub value: TensorId,
    pub weight: f64,
}

/// An objective that was built, as a host sees it; [`crate::Objective`] has each method's meaning. Since 1.1.
#[sabi_trait]
pub trait Trainer: Send + Sync {
    fn encode<'a>(
        &self,
        record: RSlice<'_, Entry>,
        text: TextTable_TO<'a, RRef<'a, ()>>,
    ) -> RResult<EncodedData, Error>;
    fn loss<'a>(&self, ops: OpTable_TO<'a, RRef<'a, ()>>, batch: &Batch, inputs: Inputs) -> RResult<LossRef, Error>;
    fn tally<'a>(&self, ops: OpTable_TO<'a, RRef<'a, ()>>, batch: &Batch, inputs: Inputs) -> RResult<RVec<f64>, Error>;
    #[sabi(last_prefix_field)]
    fn metrics(&self, tally: RSlice<'_, f64>) -> RResult<RVec<Metric>, Error>;
    fn reads_last(&self) -> bool {
        true
    }
}

/// An owned objective.
pub type TrainerBox = Trainer_TO<'static, abi_stable::std_types::RBox<()>>;

/// What building an objective gives: it and the parameters that it declared.
#[repr(C)]
#[derive(StableAbi)]
pub struct BuiltObjective {
    pub objective: TrainerBox,
    pub params: RVec<ParamSpec>,
}

/// The root of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef)))]
#[sabi(missing_field(option))]
pub struct Plugin {
    /// Builds an adapter for a backbone.
    #[sabi(last_prefix_field)]
    pub new_adapter: extern "C" fn(RVec<Entry>, Backbone) -> RResult<Built, Error>,
    /// Builds the objective that trains such adapters; none where the plugin brings none. Since 1.1.
    pub new_objective: extern "C" fn(RVec<Entry>, Backbone) -> RResult<ROption<BuiltObjective>, Error>,
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "kadapter_plugin";
    const NAME: &'static str = "kadapter_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
