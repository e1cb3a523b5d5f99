//! The official checkpoints under the workspace's plugins: an adapter, the objective that trains it, the values of both.

use crate::{World, paths};
use kadapter_host::import::torch::StateDict;
use kadapter_host::plugin::{self, Plugin, Promise, inspect, record};
use kadapter_host::tokenizer::{SpecialTokens, Tokenizer, TokenizerTable};
use kadapter_host::weights::decode_f32;
use kadapter_plugin_api::abi::{InstanceBox, TrainerBox};
use kadapter_plugin_api::{Backbone, Encoded, Error, ParamSpec, session};
use kadapter_registry::Digest;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The hidden states that the tiny adapters read.
pub const TAPS: [usize; 3] = [0, 2, 3];
/// The configuration of the tiny adapters.
pub const CONFIG: &str = "size = 24\nheads = 3\nffn = 40";
/// What the tiny model's batches are padded to.
pub const MAX_LENGTH: usize = 32;

/// What a release would say of a library.
pub fn promise(library: &Path) -> Promise {
    let bytes = plugin::read(library).expect("the library reads");
    let inspected = inspect(library, &bytes).expect("the library is a plugin");
    let (digest, size, abi) = (Digest::of(&bytes), bytes.len() as u64, inspected.abi());
    Promise { digest, size, version: inspected.note.version, abi }
}

/// Opens a plugin of the workspace.
pub fn open(name: &str) -> Plugin {
    let library = paths::plugin(name);
    Plugin::load(&library, &promise(&library)).expect("the plugin opens")
}

/// An adapter and its objective, with the values that the official code saved.
pub struct Official {
    /// The adapter.
    pub instance: InstanceBox,
    /// What it declares, each with its values.
    pub adapter: Vec<(ParamSpec, Vec<f32>)>,
    /// The objective.
    pub objective: TrainerBox,
    /// What it declares, each with its values.
    pub head: Vec<(ParamSpec, Vec<f32>)>,
}

impl std::fmt::Debug for Official {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Official").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Official {
    /// The plugin of this name with a checkpoint of `tests/data/official` and a configuration of its objective.
    pub fn new(plugin: &str, checkpoint: &str, objective: &toml::Table) -> Self {
        let (plugin, backbone) = (open(plugin), Backbone::new(32, 4, &TAPS));
        let config = CONFIG.parse().expect("TOML");
        let (instance, adapter) = plugin.build(&config, backbone.clone()).expect("the adapter is built");
        let built = plugin.objective(objective, backbone).expect("the objective is built");
        let (objective, head) = built.expect("the plugin brings an objective");
        let mut values = checkpoint_values(checkpoint);
        let mut take = |specs: Vec<ParamSpec>| -> Vec<(ParamSpec, Vec<f32>)> {
            let value = |spec: ParamSpec| {
                let (shape, values) =
                    values.remove(spec.name()).unwrap_or_else(|| panic!("{} is not in the checkpoint", spec.name()));
                assert_eq!(shape, spec.shape(), "{}", spec.name());
                (spec, values)
            };
            specs.into_iter().map(value).collect()
        };
        let (adapter, head) = (take(adapter), take(head));
        assert!(values.is_empty(), "nobody declares {:?}", values.keys());
        Self { instance, adapter, objective, head }
    }

    /// Turns a record as it stands in a file into an example.
    ///
    /// # Errors
    /// What the objective says.
    pub fn encode(&self, tokenizer: &Tokenizer, record: &Map<String, Value>) -> Result<Encoded, Error> {
        let table = TokenizerTable::new(tokenizer, 48);
        session::encode(&self.objective, &table, &record::flatten(record)?)
    }
}

/// Every tensor of a checkpoint.
fn checkpoint_values(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut file = StateDict::open(&paths::data("official").join(name)).expect("the checkpoint opens");
    let mut values = BTreeMap::new();
    for tensor in file.tensors().to_vec() {
        let (mut bytes, mut decoded) = (Vec::new(), Vec::new());
        file.read(&tensor.name, &mut bytes).expect("the tensor reads");
        decode_f32(&tensor.name, tensor.dtype, &bytes, &mut decoded).expect("the tensor is of floats");
        values.insert(tensor.name, (tensor.shape, decoded));
    }
    values
}

/// The tiny model's tokenizer, as its import writes it.
pub fn tokenizer(world: &World) -> Tokenizer {
    let json = fs::read(world.path("packages/backbone/tokenizer.json")).expect("the tokenizer reads");
    Tokenizer::from_bytes(&json, SpecialTokens::roberta()).expect("the tokenizer opens")
}
