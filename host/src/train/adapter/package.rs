//! The finished adapter as a package directory, ready to publish, with its card.

use super::job::Job;
use crate::error::Error;
use crate::stage::Stage;
use crate::tensor::derivatives::Derivatives;
use crate::train::checkpoint::NetworkState;
use crate::train::error::TrainError;
use crate::train::recipe::StoredType;
use crate::weights::{self, Reader};
use kadapter_registry::package::{Adapter, BackboneNeed, CARD_FILE, Content, PluginNeed};
use kadapter_registry::tensors::Dtype;
use kadapter_registry::{Digest, Package, PackageId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the package's weights.
const WEIGHTS: &str = "weights.safetensors";

/// What was written.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The package directory.
    pub directory: PathBuf,
    /// The digest of its weights.
    pub weights: Digest,
    /// Values in them.
    pub values: usize,
}

/// The backbone that the adapter was trained beside.
#[derive(Clone, Debug)]
pub struct TrainedBeside {
    /// Its package.
    pub id: PackageId,
    /// The digest of its weights.
    pub weights: Digest,
}

/// Writes the package of a finished job to `out`; `card` makes its text from the weights' digest.
///
/// # Errors
/// When `out` is there already or cannot be written; nothing is left then.
pub fn write<E: Derivatives>(
    engine: &E,
    job: &Job<E>,
    backbone: &TrainedBeside,
    out: &Path,
    card: impl FnOnce(&Packed) -> String,
) -> Result<Packed, Error> {
    let recipe = &job.prepared.recipe;
    let stage = Stage::new(out)?;
    let tensors = job.finished(engine)?;
    let borrowed: Vec<_> =
        tensors.iter().map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.as_slice())).collect();
    let dtype = match recipe.adapter.dtype {
        StoredType::F32 => Dtype::F32,
        StoredType::F16 => Dtype::F16,
    };
    let (digest, _) = weights::write_f32(&stage.path().join(WEIGHTS), dtype, &borrowed, &BTreeMap::new())?;
    let major = job.prepared.architecture.plugin_id.version.as_semver().major;
    let package = Package {
        name: recipe.adapter.name.clone(),
        version: recipe.adapter.version.clone(),
        license: recipe.adapter.license.clone(),
        description: recipe
            .adapter
            .description
            .clone()
            .unwrap_or_else(|| format!("An adapter of plugin `{}`, trained with kadapter", recipe.adapter.plugin)),
        attribution: recipe.adapter.attribution.clone(),
        content: Content::Adapter(Adapter {
            weights: WEIGHTS.parse()?,
            taps: recipe.adapter.taps.clone(),
            plugin: PluginNeed {
                package: recipe.adapter.plugin.clone(),
                version: format!("^{major}").parse().unwrap_or(semver::VersionReq::STAR),
            },
            backbone: BackboneNeed { package: backbone.id.name.clone(), weights: backbone.weights },
            config: recipe.adapter.config.clone(),
        }),
    };
    package.write(stage.path())?;
    let mut packed = Packed {
        directory: out.to_owned(),
        weights: digest,
        values: tensors.iter().map(|(.., values)| values.len()).sum(),
    };
    stage.write(CARD_FILE, card(&packed).as_bytes())?;
    packed.directory = stage.finish()?;
    Ok(packed)
}

/// The values of an adapter package directory, in the order of a network's parameters.
///
/// # Errors
/// When it is not a package of an adapter with these parameters.
pub fn weights_of(directory: &Path, network: &NetworkState) -> Result<Vec<Vec<f32>>, Error> {
    let foreign = |found| foreign(directory, found);
    let mut reader = Reader::open(&weights_file(directory)?, None)?;
    let mut tensors = BTreeMap::new();
    while let Some(tensor) = reader.next_tensor()? {
        tensors.insert(tensor.info().name.clone(), tensor.read_f32()?);
    }
    reader.finish()?;
    let mut values = Vec::with_capacity(network.declared.len());
    for (name, shape) in &network.declared {
        match tensors.remove(name) {
            Some(found) if found.len() == shape.iter().product::<usize>() => values.push(found),
            Some(found) => return Err(foreign(format!("`{name}` with {} values", found.len())).into()),
            None => return Err(foreign(format!("no tensor `{name}`")).into()),
        }
    }
    Ok(values)
}

/// The digest of the weights of an adapter's package.
///
/// # Errors
/// When it is not such a package, or cannot be read.
pub fn digest_of_weights(directory: &Path) -> Result<Digest, Error> {
    let path = weights_file(directory)?;
    let io = |source| TrainError::Io { action: "read", path: path.clone(), source };
    let file = std::fs::File::open(&path).map_err(io)?;
    Ok(Digest::of_reader(file).map_err(io)?.0)
}

fn weights_file(directory: &Path) -> Result<PathBuf, Error> {
    match Package::read(directory)?.content {
        Content::Adapter(adapter) => Ok(directory.join(adapter.weights.to_string())),
        _ => Err(foreign(directory, "a package of another kind".into()).into()),
    }
}

fn foreign(directory: &Path, found: String) -> TrainError {
    let expected = "an adapter with the recipe's parameters".into();
    TrainError::ForeignCheckpoint { path: directory.to_owned(), what: "content", found, expected }
}
