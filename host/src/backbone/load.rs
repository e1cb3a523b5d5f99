//! Weights into a network: streamed tensor by tensor, verified while they are read, never held twice.

use super::network::{Affine, Embeddings, Layer, Norm};
use super::{Roberta, RobertaConfig};
use crate::error::Error;
use crate::parameters::{self, Declared, ParametersError};
use crate::tensor::{HostEngine, Values};
use crate::weights;
use half::f16;
use kadapter_plugin_api::Role;
use kadapter_registry::project::FileRef;
use kadapter_registry::tensors::Dtype;
use std::collections::BTreeMap;

impl<E: HostEngine> Roberta<E> {
    /// Reads a weights file in the package's layout (names without `roberta.`) and checks it against the configuration.
    ///
    /// # Errors
    /// When the file is not the promised one, or a tensor is missing, extra, of another shape or not finite.
    pub fn load(engine: &E, config: RobertaConfig, file: &FileRef) -> Result<Self, Error> {
        let expected = weights::Expected { digest: file.digest, size: file.size };
        let mut reader = weights::Reader::open(&file.path, Some(expected))?;
        parameters::check("the backbone", reader.header().tensors(), &declared(&config), is_optional)?;
        let mut parts = Parts { engine, config: &config, ready: BTreeMap::new(), waiting: BTreeMap::new() };
        while let Some(tensor) = reader.next_tensor()? {
            parts.take(tensor)?;
        }
        reader.finish()?;
        let (embeddings, layers) = parts.assemble()?;
        Ok(Self { config, embeddings, layers })
    }
}

/// Every tensor that the network has.
fn declared(config: &RobertaConfig) -> Vec<Declared> {
    let (hidden, wide) = (config.hidden_size, config.feed_forward);
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize]| {
        let role = if shape.len() == 2 { Role::LinearWeight } else { Role::Vector };
        tensors.push(Declared { name, shape: shape.to_vec(), role });
    };
    add(WORDS.into(), &[config.vocabulary, hidden]);
    add(POSITIONS.into(), &[config.positions, hidden]);
    add(TOKEN_TYPES.into(), &[config.token_types, hidden]);
    add("embeddings.LayerNorm.weight".into(), &[hidden]);
    add("embeddings.LayerNorm.bias".into(), &[hidden]);
    for layer in 0..config.layers {
        let mut add = |name: &str, shape: &[usize]| {
            add(format!("encoder.layer.{layer}.{name}.weight"), shape);
            add(format!("encoder.layer.{layer}.{name}.bias"), &shape[..1]);
        };
        for name in QUERY_KEY_VALUE {
            add(name, &[hidden, hidden]);
        }
        add("attention.output.dense", &[hidden, hidden]);
        add("attention.output.LayerNorm", &[hidden]);
        add("intermediate.dense", &[wide, hidden]);
        add("output.dense", &[hidden, wide]);
        add("output.LayerNorm", &[hidden]);
    }
    tensors
}

pub(super) const WORDS: &str = "embeddings.word_embeddings.weight";
const POSITIONS: &str = "embeddings.position_embeddings.weight";
const TOKEN_TYPES: &str = "embeddings.token_type_embeddings.weight";
const QUERY_KEY_VALUE: [&str; 3] = ["attention.self.query", "attention.self.key", "attention.self.value"];

fn is_optional(name: &str) -> bool {
    name.starts_with("lm_head.")
}

/// Everything that a network holds on the device.
type Assembled<P> = (Embeddings<P>, Vec<Layer<P>>);

struct Parts<'a, E: HostEngine> {
    engine: &'a E,
    config: &'a RobertaConfig,
    ready: BTreeMap<String, E::Param>,
    /// Values that are combined with others before they go to the device.
    waiting: BTreeMap<String, Vec<f32>>,
}

impl<E: HostEngine> Parts<'_, E> {
    fn take(&mut self, mut tensor: weights::Tensor<'_>) -> Result<(), Error> {
        let (name, dtype, shape) = (tensor.info().name.clone(), tensor.info().dtype, tensor.info().shape.clone());
        if is_optional(&name) {
            return Ok(());
        }
        if name == WORDS {
            let values = if dtype == Dtype::F16 {
                let mut bytes = Vec::new();
                tensor.read_bytes(&mut bytes)?;
                Values::F16(finite_halves(&name, &bytes)?)
            } else {
                Values::F32(tensor.read_f32()?)
            };
            let words = self.engine.upload(Role::Table, &shape, values).map_err(Error::compute)?;
            self.ready.insert(name, words);
            return Ok(());
        }
        let values = tensor.read_f32()?;
        let combined = name == POSITIONS || name == TOKEN_TYPES || name.contains(".attention.self.");
        if combined {
            self.waiting.insert(name, values);
            return self.combine();
        }
        let role = if shape.len() == 2 { Role::LinearWeight } else { Role::Vector };
        let param = self.engine.upload(role, &shape, Values::F32(values)).map_err(Error::compute)?;
        self.ready.insert(name, param);
        Ok(())
    }

    /// Sends on what has become complete, so that at most one layer's parts wait.
    fn combine(&mut self) -> Result<(), Error> {
        let hidden = self.config.hidden_size;
        for layer in 0..self.config.layers {
            for (part, columns) in [("weight", Some(hidden)), ("bias", None)] {
                let names = QUERY_KEY_VALUE.map(|name| format!("encoder.layer.{layer}.{name}.{part}"));
                if names.iter().all(|name| self.waiting.contains_key(name)) {
                    let mut values = Vec::with_capacity(3 * hidden * columns.unwrap_or(1));
                    for name in &names {
                        values.append(&mut self.waiting.remove(name).unwrap_or_default());
                    }
                    let param = match columns {
                        Some(columns) => self.engine.upload_linear(3 * hidden, columns, values),
                        None => self.engine.upload_vector(values),
                    };
                    let param = param.map_err(Error::compute)?;
                    self.ready.insert(format!("encoder.layer.{layer}.query_key_value.{part}"), param);
                }
            }
        }
        let tables = [POSITIONS, TOKEN_TYPES];
        if tables.iter().all(|&name| self.waiting.contains_key(name)) {
            let [mut positions, types] = tables.map(|name| self.waiting.remove(name).unwrap_or_default());
            for row in positions.chunks_exact_mut(hidden) {
                for (value, kind) in row.iter_mut().zip(&types) {
                    *value += kind;
                }
            }
            let shape = [self.config.positions, hidden];
            let table = self.engine.upload(Role::Table, &shape, Values::F32(positions)).map_err(Error::compute)?;
            self.ready.insert("positions".into(), table);
        }
        Ok(())
    }

    fn assemble(mut self) -> Result<Assembled<E::Param>, Error> {
        let embeddings = Embeddings {
            words: self.one(WORDS)?,
            positions: self.one("positions")?,
            norm: self.norm("embeddings.LayerNorm")?,
        };
        let mut layers = Vec::with_capacity(self.config.layers);
        for layer in 0..self.config.layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            layers.push(Layer {
                query_key_value: self.affine(&name("query_key_value"))?,
                attention_output: self.affine(&name("attention.output.dense"))?,
                attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
                intermediate: self.affine(&name("intermediate.dense"))?,
                output: self.affine(&name("output.dense"))?,
                output_norm: self.norm(&name("output.LayerNorm"))?,
            });
        }
        Ok((embeddings, layers))
    }

    fn one(&mut self, name: &str) -> Result<E::Param, Error> {
        let missing =
            || ParametersError::Missing { what: "the backbone".into(), declared: 1, names: vec![name.to_owned()] };
        Ok(self.ready.remove(name).ok_or_else(missing)?)
    }

    fn affine(&mut self, name: &str) -> Result<Affine<E::Param>, Error> {
        Ok(Affine { weight: self.one(&format!("{name}.weight"))?, bias: self.one(&format!("{name}.bias"))? })
    }

    fn norm(&mut self, name: &str) -> Result<Norm<E::Param>, Error> {
        Ok(Norm { weight: self.one(&format!("{name}.weight"))?, bias: self.one(&format!("{name}.bias"))? })
    }
}

fn finite_halves(name: &str, bytes: &[u8]) -> Result<Vec<f16>, weights::Error> {
    let values: Vec<_> = bytes.as_chunks().0.iter().map(|&value| f16::from_le_bytes(value)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(index) => weights::check_finite(name, index, &[values[index].to_f32()]).map(|()| values),
    }
}
