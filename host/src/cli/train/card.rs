//! The card of a trained adapter: from a finished job to what [`TrainedCard`] says.

use kadapter_host::tensor::derivatives::Derivatives;
use kadapter_host::train::adapter::job::Job;
use kadapter_host::train::adapter::package::{Packed, TrainedBeside};
use kadapter_host::train::adapter::prepare::PerFile;
use kadapter_host::train::card::{Data, Epoch, Ingredient, Machine, Parameters, TrainedCard};
use std::time::Duration;

/// Renders the card of a finished job.
pub(super) fn render<E: Derivatives>(
    job: &Job<E>,
    beside: &TrainedBeside,
    packed: &Packed,
    device: &str,
    ranks: usize,
) -> String {
    let prepared = &job.prepared;
    let (recipe, training) = (&prepared.recipe, &prepared.recipe.training);
    let license = recipe.adapter.license.to_string();
    let attribution = recipe.adapter.attribution.clone().unwrap_or_else(|| "none asked for".into());
    let of = |role: &str, counted: &PerFile, file: &(std::path::PathBuf, kadapter_registry::Digest)| {
        let counted = counted.of(&file.0);
        Data {
            role: role.into(),
            file: file.0.file_name().unwrap_or(file.0.as_os_str()).to_string_lossy().into_owned(),
            digest: file.1,
            license: license.clone(),
            attribution: attribution.clone(),
            used: counted.examples,
            left_out: counted
                .left_out
                .iter()
                .map(|(reason, count)| (reason.clone(), *count))
                .chain((counted.bad > 0).then(|| ("they could not be read".to_owned(), counted.bad)))
                .collect(),
            cut: counted.cut.into_iter().collect(),
        }
    };
    let (train, dev) = prepared.files.split_at(recipe.data.train.len().min(prepared.files.len()));
    let mut data: Vec<Data> = train.iter().map(|file| of("train", &prepared.train_counted, file)).collect();
    data.extend(dev.iter().map(|file| of("dev", &prepared.dev_counted, file)));
    if dev.is_empty() {
        data.extend(train.iter().map(|file| of("dev, held out", &prepared.dev_counted, file)));
    }
    let number = |name: &str, value: &dyn std::fmt::Display| (name.to_owned(), value.to_string());
    let mut limits = vec![
        "It is of use beside this very backbone only: its weights mean nothing beside another".to_owned(),
        "Numbers are of one run with one seed".to_owned(),
    ];
    if recipe.data.permute_targets.is_some() {
        limits.insert(0, "It is a control: its targets were permuted, it has learned nothing that is true".into());
    }
    TrainedCard {
        name: recipe.adapter.name.to_string(),
        version: recipe.adapter.version.to_string(),
        license,
        summary: recipe
            .adapter
            .description
            .clone()
            .unwrap_or_else(|| format!("An adapter of plugin `{}`, trained with kadapter", recipe.adapter.plugin)),
        objective: format!(
            "Trained with the objective of plugin `{}`: `{}`",
            prepared.architecture.plugin_id,
            prepared.recipe.objective.to_string().trim().replace('\n', ", ")
        ),
        backbone: Ingredient {
            name: beside.id.name.to_string(),
            version: Some(beside.id.version.to_string()),
            digest: beside.weights,
        },
        plugin: Ingredient {
            name: prepared.architecture.plugin_id.name.to_string(),
            version: Some(prepared.architecture.plugin_id.version.to_string()),
            digest: prepared.architecture.library,
        },
        parameters: Parameters { kept: packed.values as u64, dropped: job.network.parameters().1 as u64 },
        data,
        hyper_parameters: vec![
            number("updates", &job.progress.step),
            number("batch", &training.batch),
            number("parts of a batch", &training.accumulate),
            number("learning rate", &training.learning_rate),
            number("warm-up updates", &job.warmup()),
            number("weight decay", &training.weight_decay),
            number("betas", &format!("{}, {}", training.beta1, training.beta2)),
            number("epsilon", &training.epsilon),
            number("longest gradient", &training.clip),
            number("tokens", &job.progress.tokens),
        ],
        seeds: vec![("initial values, order, dropout".into(), training.seed)],
        epochs: job
            .progress
            .evaluations
            .iter()
            .map(|evaluation| Epoch {
                #[expect(clippy::cast_precision_loss, reason = "numbers of epochs are small")]
                epoch: evaluation.epoch as f64,
                step: evaluation.step,
                loss: evaluation.loss,
                metrics: evaluation.metrics.clone(),
            })
            .collect(),
        chosen_step: match (&job.progress.best, training.keep_last) {
            (Some(best), false) => best.step,
            _ => job.progress.step,
        },
        time: Duration::from_secs_f64(job.progress.seconds.max(0.0)),
        machine: Machine::here((device != "cpu").then(|| device.to_owned()), ranks),
        recipe: recipe.text.clone(),
        limits,
    }
    .render()
}
