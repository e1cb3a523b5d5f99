//! The card of a trained task: what it answers, what it was trained on, how good it is, and how to make it again.

use super::job::{TaskEvent, TaskJob};
use super::package::{TrainedVariant, summary};
use super::statistics::{deviation, mean};
use super::{PreparedTask, Stop};
use kadapter_registry::Digest;
use kadapter_registry::project::Resolved;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A seed, and its score on dev and on test data.
type SeedScores = (u64, Option<f64>, Option<f64>);

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// What it was for: `train`, `dev` or `test`.
    pub split: &'static str,
    /// Its path as the recipe has it.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The files of a recipe, with their digests.
///
/// # Errors
/// When one cannot be read.
pub fn data_files(job: &TaskJob, folder: &Path) -> Result<Vec<DataFile>, crate::Error> {
    let mut files = Vec::new();
    for (split, paths) in job.task.files() {
        for path in paths {
            let at = folder.join(&path);
            let io = |source| crate::Error::Io { action: "read", path: at.clone(), source };
            let (digest, size) = Digest::of_reader(std::fs::File::open(&at).map_err(io)?).map_err(io)?;
            files.push(DataFile { split, path, digest, size });
        }
    }
    Ok(files)
}

/// Renders it as Markdown.
#[must_use]
pub fn render(
    job: &TaskJob,
    prepared: &PreparedTask,
    resolved: &Resolved,
    variants: &[TrainedVariant],
    files: &[DataFile],
    data: &[TaskEvent],
    recipe: &str,
) -> String {
    let about = &job.package;
    let mut card = format!("# {}\n\n{}.\n\n", about.name, summary(about, &job.task, resolved).trim_end_matches('.'));
    let _ = writeln!(
        card,
        "Fusion and head, trained by `kadapter train task` on `{}` (weights `{}`) and on exactly the adapters named in the \
         package file. Backbone and adapters were frozen.\n\n| | |\n| --- | --- |",
        resolved.backbone.id, resolved.backbone.weights.digest
    );
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(card, "| {} | {} |", cell(name), cell(&value));
    };
    fact("Version", about.version.to_string());
    fact("Licence", about.license.to_string());
    fact("Kind", job.task.kind.to_string());
    fact("Tokens at most", prepared.task.max_length().to_string());
    if !prepared.labels.names().is_empty() {
        fact("Labels", prepared.labels.names().len().to_string());
    }
    let stacked: std::collections::BTreeSet<_> = variants.iter().flat_map(|variant| &variant.part.stack).collect();
    for alias in stacked {
        if let Some(adapter) = resolved.adapters.get(alias.as_str()) {
            fact(&format!("Adapter {alias}"), format!("{} {}", adapter.id, adapter.release));
        }
    }
    if let Some(attribution) = &about.attribution {
        let _ = writeln!(card, "\n## Attribution\n\n{}", attribution.trim());
    }

    let _ = writeln!(
        card,
        "\n## Scores\n\n{}, in percent: of the head that is kept, and mean ± standard deviation over {} seeds.\n\n\
         | Stack | Fusion | Parameters | Dev | Test | Dev, all seeds | Test, all seeds |\n| --- | --- | --- | --- | --- | --- | --- |",
        prepared.metric,
        variants.iter().map(|variant| variant.scores.len()).max().unwrap_or(0)
    );
    for variant in variants {
        let kept = variant.scores.iter().find(|(seed, ..)| *seed == variant.seed);
        let all = |take: fn(&SeedScores) -> Option<f64>| {
            let scores: Vec<f64> = variant.scores.iter().filter_map(take).collect();
            if scores.is_empty() {
                return "–".to_owned();
            }
            format!("{:.2} ± {:.2}", mean(&scores) * 100.0, deviation(&scores) * 100.0)
        };
        let one = |score: Option<f64>| score.map_or_else(|| "–".to_owned(), |score| format!("{:.2}", score * 100.0));
        let _ = writeln!(
            card,
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell(&variant.part.name()),
            variant.part.fusion,
            variant.head.spec.size(),
            one(kept.and_then(|scores| scores.1)),
            one(kept.and_then(|scores| scores.2)),
            all(|scores| scores.1),
            all(|scores| scores.2)
        );
        if variant.head.stop == Stop::Diverged {
            let _ = writeln!(card, "\nThe loss of {} was not a number in a later epoch.", variant.part.name());
        }
    }

    let _ = writeln!(card, "\n## Data\n\n| Split | File | Bytes | SHA-256 |\n| --- | --- | --- | --- |");
    for file in files {
        let name = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy().into_owned();
        let _ = writeln!(card, "| {} | {} | {} | `{}` |", file.split, cell(&name), file.size, file.digest.hex());
    }
    card.push('\n');
    for event in data {
        if let TaskEvent::Data { split, report } = event {
            let _ = writeln!(card, "- {split}: {} records", report.taken);
            report.losses().for_each(|loss| _ = writeln!(card, "  - {loss}"));
        }
    }

    let _ = writeln!(card, "\n## Made with\n\n```toml\n{}\n```", recipe.trim_end().replace("```", "` ` `"));
    for variant in variants {
        let settings = toml::to_string(&variant.settings).unwrap_or_default();
        let _ = writeln!(
            card,
            "\n{}, seed {}, epoch {}:\n\n```toml\n{}\n```",
            variant.part.name(),
            variant.seed,
            variant.head.best,
            settings.trim_end()
        );
    }
    card
}

/// Text that stays in its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
