//! RoBERTa-large and two K-Adapters under the lines of `peers/protocol.py`.

use crate::Outcome;
use crate::engine::Measured;
use kadapter_host::backbone::{Roberta, RobertaConfig};
use kadapter_host::parameters::{self, Declared};
use kadapter_host::plugin::{Plugin, Promise, inspect};
use kadapter_host::tensor::HostEngine;
use kadapter_k_adapter::KAdapter;
use kadapter_plugin_api::abi::InstanceBox;
use kadapter_plugin_api::session::{self, Parameters};
use kadapter_plugin_api::{
    Adapter, Backbone, Config, Context, Entry, ParamSpec, Params, Segments, Tensor, instantiate,
};
use kadapter_registry::Digest;
use kadapter_registry::project::FileRef;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

const HIDDEN: usize = 1024;
const TAPS: [usize; 3] = [0, 11, 22];
const CONFIG: &str = r#"{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "vocab_size": 8, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}"#;

/// The network of the plugins, compiled in.
struct Builtin(KAdapter);

impl Adapter for Builtin {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> kadapter_plugin_api::Result<Self> {
        KAdapter::build(config, backbone, params).map(Self)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> kadapter_plugin_api::Result<Tensor> {
        self.0.forward(cx, taps)
    }
}

struct Model<'a, E: HostEngine> {
    engine: &'a E,
    backbone: Roberta<E>,
    adapters: Vec<(InstanceBox, Parameters<E::Param>)>,
}

impl<'a, E: HostEngine> Model<'a, E> {
    fn load(engine: &'a E, folder: &Path, library: Option<&Path>) -> Outcome<Self> {
        let config = RobertaConfig::from_json(CONFIG.as_bytes())?;
        let backbone = Roberta::load(engine, config, &file(&folder.join("backbone.safetensors"))?)?;
        let mut adapters = Vec::new();
        for name in ["factual", "linguistic"] {
            let (instance, specs) = build(library)?;
            let declared: Vec<_> = specs
                .iter()
                .map(|spec| Declared { name: spec.name().to_owned(), shape: spec.shape(), role: spec.role() })
                .collect();
            let weights = file(&folder.join(format!("{name}.safetensors")))?;
            let mut parameters = Parameters::default();
            for (declared, param) in declared.iter().zip(parameters::load(engine, name, &weights, &declared)?) {
                parameters.push(declared.shape.clone(), param);
            }
            adapters.push((instance, parameters));
        }
        Ok(Self { engine, backbone, adapters })
    }

    fn run(&self, input: &[f32], batch: usize, tokens: usize) -> Outcome<Vec<Vec<f32>>> {
        let segments = Segments::new(vec![tokens; batch])?;
        let embedded = self.engine.from_f32(batch * tokens, HIDDEN, input.to_vec())?;
        let states = self.backbone.forward_from(self.engine, embedded, &segments, &BTreeSet::from(TAPS))?;
        let taps: Vec<E::Tensor> = TAPS.iter().filter_map(|&tap| states.tap(tap).cloned()).collect();
        let mut outputs = vec![self.engine.read_f32(states.last())?];
        for (instance, parameters) in &self.adapters {
            let features = session::run(instance, self.engine, parameters, &segments, &taps)?;
            outputs.push(self.engine.read_f32(&features)?);
        }
        Ok(outputs)
    }
}

fn build(library: Option<&Path>) -> Outcome<(InstanceBox, Vec<ParamSpec>)> {
    let backbone = Backbone::new(HIDDEN, 24, &TAPS);
    let Some(library) = library else {
        let entries = [Entry::integer("size", 768), Entry::integer("heads", 12), Entry::integer("ffn", 3072)];
        return Ok(instantiate::<Builtin>(entries, &backbone)?);
    };
    let bytes = fs::read(library)?;
    let found = inspect(library, &bytes)?;
    let (digest, size, abi) = (Digest::of(&bytes), bytes.len() as u64, found.abi());
    let promise = Promise { digest, size, version: found.note.version, abi };
    let config = "size = 768\nheads = 12\nffn = 3072".parse()?;
    Ok(Plugin::from_bytes(library, &bytes, &promise)?.build(&config, backbone)?)
}

fn file(path: &Path) -> Outcome<FileRef> {
    let (digest, size) = Digest::of_reader(File::open(path)?)?;
    Ok(FileRef { path: path.to_owned(), digest, size })
}

/// Answers lines until stdin ends.
pub(crate) fn run(folder: &Path, engine: &Measured, library: Option<&Path>) -> Outcome {
    match engine {
        Measured::Cpu(engine) => serve(engine, folder, library),
        Measured::Candle(engine) => serve(engine, folder, library),
    }
}

fn serve<E: HostEngine>(engine: &E, folder: &Path, library: Option<&Path>) -> Outcome {
    let model = Model::load(engine, folder, library)?;
    let bytes = fs::read(folder.join("input.f32"))?;
    let input: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "ready")?;
    stdout.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(batch), Some(tokens)) = (words.next(), words.next()) else {
            return Err(format!("found `{line}`, expected `BATCH TOKENS [PATH]`").into());
        };
        let (batch, tokens): (usize, usize) = (batch.parse()?, tokens.parse()?);
        let values = input.get(..batch * tokens * HIDDEN).ok_or("the shape is larger than the input file")?;
        let start = Instant::now();
        let outputs = model.run(values, batch, tokens)?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        if let Some(path) = words.next() {
            let bytes: Vec<u8> = outputs.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
            fs::write(path, bytes)?;
        }
        writeln!(stdout, "{milliseconds}")?;
        stdout.flush()?;
    }
    Ok(())
}
