//! Checkpoints: everything that decides how a run goes on, in one file that appears whole or not at all.
//!
//! ```text
//! checkpoint.safetensors   adapter.NAME, objective.NAME        values of the parameters
//!                          first.…, second.…                   AdamW's moments of those that were updated
//!                          __metadata__.progress               JSON: see [`Progress`]
//! ```

use super::error::TrainError;
use super::optimizer::ParameterState;
use crate::error::Error;
use crate::weights::{self, Reader};
use kadapter_registry::tensors::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The key of the metadata.
const PROGRESS: &str = "progress";

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the run is made of: a digest of recipe, data, plugin and backbone.
    pub identity: String,
    /// Updates that were made.
    pub step: u64,
    /// The epoch that the next update belongs to.
    pub epoch: usize,
    /// Its number in that epoch.
    pub batch: usize,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since then.
    pub without_better: u64,
    /// Every evaluation.
    pub evaluations: Vec<Evaluation>,
    /// Updates made by each parameter's optimiser state, where it has one.
    pub updates: BTreeMap<String, u64>,
    /// Tokens that went through the adapter in training.
    pub tokens: u64,
    /// Seconds that training took, evaluations included.
    pub seconds: f64,
    /// The mean loss since the last evaluation, as a sum and a weight.
    pub loss_sum: f64,
    /// The weight of `loss_sum`.
    pub loss_weight: f64,
    /// Whether the run is over.
    pub done: bool,
}

/// The best evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After this update.
    pub step: u64,
    /// The value of the metric that chooses.
    pub value: f64,
}

/// What the dev data said after an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// After this update.
    pub step: u64,
    /// In this epoch, from 1.
    pub epoch: usize,
    /// The mean training loss since the evaluation before.
    pub loss: f64,
    /// The metrics, by name, in the objective's order.
    pub metrics: Vec<(String, f64)>,
}

/// One network's parameters and their optimiser states, in the order of their declaration.
#[derive(Clone, Debug, Default)]
pub struct NetworkState {
    /// Names and shapes.
    pub declared: Vec<(String, Vec<usize>)>,
    /// Row-major values.
    pub values: Vec<Vec<f32>>,
    /// AdamW's state; none before a parameter's first update.
    pub optimizer: Vec<Option<ParameterState>>,
}

/// A parameter: its name, its shape, its row-major values.
pub type NamedValues = (String, Vec<usize>, Vec<f32>);

/// The networks of a run by the prefix of their tensors.
pub type Networks = BTreeMap<&'static str, NetworkState>;

/// Writes a checkpoint; the one before is there until it is replaced.
///
/// # Errors
/// When it cannot be written; the one before is whole then.
pub fn write(path: &Path, progress: &Progress, networks: &Networks) -> Result<(), Error> {
    let mut progress = progress.clone();
    let mut tensors: Vec<(String, &[usize], &[f32])> = Vec::new();
    progress.updates.clear();
    for (prefix, network) in networks {
        for (index, (name, shape)) in network.declared.iter().enumerate() {
            let full = format!("{prefix}.{name}");
            let values = network.values.get(index).map_or(&[][..], Vec::as_slice);
            if let Some(Some(state)) = network.optimizer.get(index) {
                tensors.push((format!("first.{full}"), shape, &state.first));
                tensors.push((format!("second.{full}"), shape, &state.second));
                progress.updates.insert(full.clone(), state.updates);
            }
            tensors.push((full, shape, values));
        }
    }
    let borrowed: Vec<_> = tensors.iter().map(|(name, shape, values)| (name.as_str(), *shape, *values)).collect();
    let json = serde_json::to_string(&progress).map_err(|source| TrainError::Io {
        action: "write",
        path: path.to_owned(),
        source: source.into(),
    })?;
    let metadata = BTreeMap::from([(PROGRESS.to_owned(), json)]);
    weights::write_f32(path, Dtype::F32, &borrowed, &metadata)?;
    Ok(())
}

/// Reads a checkpoint into networks of these declarations; `None` where there is none.
///
/// # Errors
/// When it is damaged or of other networks.
pub fn read(path: &Path, networks: &mut Networks) -> Result<Option<Progress>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let damaged = |reason: String| TrainError::DamagedCheckpoint { path: path.to_owned(), reason };
    let mut reader = Reader::open(path, None)?;
    let json = reader.header().metadata().get(PROGRESS).cloned();
    let json = json.ok_or_else(|| damaged("it has no `progress`".into()))?;
    let progress: Progress = serde_json::from_str(&json).map_err(|error| damaged(error.to_string()))?;
    let mut tensors: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    while let Some(tensor) = reader.next_tensor()? {
        let name = tensor.info().name.clone();
        tensors.insert(name, tensor.read_f32()?);
    }
    reader.finish()?;
    let mut take = |name: String, shape: &[usize]| -> Result<Vec<f32>, TrainError> {
        let values = tensors.remove(&name).ok_or_else(|| damaged(format!("it has no tensor `{name}`")))?;
        let expected: usize = shape.iter().product();
        if values.len() == expected {
            Ok(values)
        } else {
            Err(damaged(format!("`{name}` has {} values, expected {expected}", values.len())))
        }
    };
    for (prefix, network) in networks {
        network.values.clear();
        network.optimizer.clear();
        for (name, shape) in &network.declared {
            let full = format!("{prefix}.{name}");
            network.optimizer.push(match progress.updates.get(&full) {
                None => None,
                Some(&updates) => Some(ParameterState {
                    updates,
                    first: take(format!("first.{full}"), shape)?,
                    second: take(format!("second.{full}"), shape)?,
                }),
            });
            network.values.push(take(full, shape)?);
        }
    }
    match tensors.keys().next() {
        Some(name) => Err(damaged(format!("it has a tensor `{name}` that the recipe's networks lack")).into()),
        None => Ok(Some(progress)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Networks {
        let state = |offset: f32| ParameterState { updates: 3, first: vec![offset; 2], second: vec![offset + 1.0; 2] };
        let network = |offset: f32| NetworkState {
            declared: vec![("a.weight".into(), vec![1, 2]), ("b".into(), vec![2])],
            values: vec![vec![offset, f32::MIN_POSITIVE], vec![-offset, 0.1]],
            optimizer: vec![Some(state(offset)), None],
        };
        BTreeMap::from([("adapter", network(0.3)), ("objective", network(7.0))])
    }

    #[test]
    fn a_checkpoint_gives_back_every_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint.safetensors");
        assert!(read(&path, &mut networks()).unwrap().is_none());
        let best = Some(Best { step: 3, value: 0.1 + 0.2 });
        let progress = Progress { identity: "x".into(), step: 9, seconds: 0.1, best, ..Progress::default() };
        write(&path, &progress, &networks()).unwrap();
        let mut found = networks();
        found.values_mut().for_each(|network| network.values.clear());
        let read_back = read(&path, &mut found).unwrap().unwrap();
        assert_eq!((read_back.step, &read_back.best), (9, &progress.best));
        for (prefix, network) in networks() {
            assert_eq!(found[prefix].values, network.values);
            assert_eq!(found[prefix].optimizer, network.optimizer);
        }
    }

    #[test]
    fn another_network_or_a_torn_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint.safetensors");
        write(&path, &Progress::default(), &networks()).unwrap();
        let mut other = networks();
        other.get_mut("adapter").unwrap().declared[0].0 = "c".into();
        assert!(read(&path, &mut other).unwrap_err().to_string().contains("damaged"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(read(&path, &mut networks()).is_err());
    }
}
