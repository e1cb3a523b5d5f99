//! Features of encoded records: through the passes of `kadapter run`, once, and kept by the digests of all that they depend on.
//!
//! ```text
//! key of a column = SHA-256(version, backbone's files, source, settings, encodings)
//!     source      = last | tap and number | adapter's weights, configuration, taps and plugin
//! ```

use super::column::{ColumnWriter, SUFFIX, kept_bytes};
use super::shelf::make_room;
use super::{Column, Encoded, Error, Feature, FeatureSet};
use crate::pipeline::{Plan, RowSource, Runner, Settings};
use crate::task::Task;
use kadapter_registry::Digest;
use kadapter_registry::digest::Hasher;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records that go through the backbone between two writes.
const CHUNK: usize = 512;
/// The version of what is kept; another one is not read.
const VERSION: &str = "kadapter feature rows 1";

/// What features are extracted with.
#[derive(Clone, Copy)]
pub struct Extraction<'a> {
    /// The loaded model; its plan has the adapters, and the taps in [`Plan::more_taps`].
    pub runner: &'a dyn Runner,
    /// What the values depend on beside the files: device and precision, as [`Opened::device`](crate::pipeline::Opened) tells.
    pub device: &'a str,
    /// How the model runs.
    pub settings: Settings,
    /// Numbers in a row: the backbone's hidden size.
    pub hidden: usize,
    /// Where columns are kept; in memory only where there is no folder.
    pub folder: Option<&'a Path>,
    /// Columns up to this size are held in memory.
    pub memory_bytes: u64,
    /// The most bytes that are kept there. Features of one set that need more are not kept after it.
    pub kept_bytes: u64,
}

impl std::fmt::Debug for Extraction<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Extraction")
            .field("device", &self.device)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Computes the features of encoded records, or finds them where they were kept.
///
/// Columns that are missing are computed together: one pass of the backbone, one of each adapter. The values do not depend on which
/// columns that are.
///
/// # Errors
/// When a record is longer than the backbone takes, an adapter or the device fails, an adapter is not of the plan, or a file cannot be
/// written.
pub fn extract(
    with: Extraction<'_>,
    task: &dyn Task,
    encoded: Encoded,
    wanted: &[Feature],
    mut progress: impl FnMut(usize, usize),
) -> Result<FeatureSet, Error> {
    let head = task.head().ok_or(Error::NoHead { kind: task.kind() })?;
    let reads_of = |encoding: &crate::task::Encoding| encoding.reads.iter().map(Vec::len).sum::<usize>();
    let rows = encoded.encodings.iter().map(reads_of).sum::<usize>();
    let digest = encoded.digest();

    let mut columns = BTreeMap::new();
    let mut missing = Vec::new();
    for feature in wanted {
        let (source, identity) = source_of(with.runner.plan(), feature)?;
        let key = key(&with, task, &identity, &digest);
        let path = with.folder.map(|folder| path_of(folder, &key));
        let kept = path.as_deref().and_then(|path| Column::open(path, &key, with.hidden, with.memory_bytes));
        match kept.filter(|column| column.rows() == rows) {
            Some(column) => drop(columns.insert(feature.clone(), Arc::new(column))),
            None => missing.push((feature, source, key, path)),
        }
    }
    let needed = kept_bytes(with.hidden, rows).saturating_mul(missing.len() as u64);
    let fits = with.folder.is_none_or(|folder| make_room(folder, needed, with.kept_bytes));
    let writer = |(feature, source, key, path): (&Feature, _, _, Option<PathBuf>)| {
        let writer = ColumnWriter::new(path.as_deref(), &key, with.hidden, rows)?;
        Ok(Missing { feature: feature.clone(), source, writer, key })
    };
    let mut missing = missing.into_iter().map(writer).collect::<Result<Vec<_>, Error>>()?;
    if !missing.is_empty() {
        let sources: Vec<_> = missing.iter().map(|missing| missing.source).collect();
        let mut done = 0;
        for chunk in encoded.encodings.chunks(CHUNK) {
            let values = with.runner.rows(task, chunk, &sources)?;
            for (missing, values) in missing.iter_mut().zip(&values) {
                missing.writer.append(values)?;
            }
            done += chunk.len();
            progress(done, encoded.encodings.len());
        }
    }
    for Missing { feature, writer, key, .. } in missing {
        columns.insert(feature, Arc::new(writer.finish(&key, with.memory_bytes, fits)?));
    }
    let set = FeatureSet::without_columns(task.kind(), head.reads_per_unit, encoded);
    Ok(FeatureSet { hidden: with.hidden, columns, ..set })
}

/// A column to compute.
struct Missing {
    feature: Feature,
    source: RowSource,
    writer: ColumnWriter,
    key: Digest,
}

/// Where the model has a feature, and what its values depend on beside the backbone.
fn source_of(plan: &Plan, feature: &Feature) -> Result<(RowSource, String), Error> {
    Ok(match feature {
        Feature::Last => (RowSource::Last, "last".to_owned()),
        Feature::Tap(tap) => (RowSource::Tap(*tap), format!("tap {tap}")),
        Feature::Adapter(name) => {
            let place = plan.adapters.iter().position(|adapter| adapter.names.contains(name));
            let place = place.ok_or_else(|| Error::NoFeatures { feature: feature.to_string() })?;
            let adapter = &plan.adapters[place];
            let (release, library) = (&adapter.release, &adapter.plugin.library);
            let identity =
                format!("adapter {} {:?} {} {}", release.weights.digest, release.taps, release.config, library.digest);
            (RowSource::Adapter(place), identity)
        }
    })
}

fn key(with: &Extraction<'_>, task: &dyn Task, identity: &str, encodings: &Digest) -> Digest {
    let backbone = &with.runner.plan().backbone;
    let (weights, config) = (backbone.weights.digest, backbone.config.digest);
    let compat = format!("{:?} {} {}", with.settings.compat, task.max_length(), task.pad_id());
    let mut hasher = Hasher::new();
    let parts: [&dyn std::fmt::Display; 7] = [&VERSION, &weights, &config, &identity, &with.device, &compat, encodings];
    for part in parts {
        hasher.update(part.to_string().as_bytes());
        hasher.update(b"\n");
    }
    hasher.finish().0
}

fn path_of(folder: &Path, key: &Digest) -> PathBuf {
    folder.join(format!("{}.{SUFFIX}", key.hex()))
}
