//! Models on the Hugging Face Hub as folders: what an import reads is fetched into the cache, once per commit.

use crate::cli::report::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use kadapter_host::import::{Identity, backbone};
use kadapter_registry::hub::{Hub, HubFile, Model, ModelAddress, Step};
use kadapter_registry::{Cache, PackagePath};
use std::path::PathBuf;

/// Fetches a model and names its source in the identity of what is made of it. Tells the folder.
pub(super) fn fetch(address: &str, identity: &mut Identity) -> Result<PathBuf, Failure> {
    let address: ModelAddress = address.parse()?;
    let hub = Hub::from_environment()?;
    let bars = Bars::default();
    let model = hub.model(&address, &Cache::of_user()?.models(), &choose, &mut |step| bars.show(step))?;
    bars.finish();
    let at = format!("{}/{}/tree/{}", hub.settings().endpoint(), model.repo, model.commit);
    expect_model(&model, &at)?;
    if model.fetched > 0 {
        eprintln!("fetched {} bytes of {} at commit {}", model.fetched, model.repo, model.commit);
    }
    let source = format!("Made from `{}` of the Hugging Face Hub at commit `{}`: {at}", model.repo, model.commit);
    identity.attribution = Some(match identity.attribution.take() {
        Some(given) => format!("{}\n\n{source}", given.trim_end()),
        None => source,
    });
    Ok(model.directory)
}

/// The files that an import reads.
fn choose(files: &[HubFile]) -> Vec<HubFile> {
    let find = |name: &str| files.iter().find(|file| file.path.as_str() == name);
    backbone::needed(|name| find(name).is_some()).into_iter().filter_map(|name| find(name).cloned()).collect()
}

/// Refuses what has no network that could be imported.
fn expect_model(model: &Model, at: &str) -> Result<(), Failure> {
    let Model { repo, commit, files, .. } = model;
    let has = |name: &str| files.iter().any(|file| file.path.as_str() == name);
    let missing = if !has("config.json") {
        "`config.json`"
    } else if has("model.safetensors") || has("pytorch_model.bin") {
        return Ok(());
    } else if has("model.safetensors.index.json") || has("pytorch_model.bin.index.json") {
        return Err(Failure::new(
            format!("`{repo}` spreads the weights over several files at commit `{commit}`"),
            format!(
                "save it in one file first, in Python: `AutoModel.from_pretrained(\"{repo}\", revision=\"{commit}\")\
                 .save_pretrained(\"one-file\", max_shard_size=\"100GB\")`"
            ),
        ));
    } else {
        "`model.safetensors` or `pytorch_model.bin`"
    };
    Err(Failure::new(
        format!("`{repo}` has no {missing} at commit `{commit}`, so there is nothing to import"),
        format!("see what it has at {at}, or name another model: `kadapter import backbone hf:OWNER/NAME`"),
    ))
}

/// A bar for the file that is fetched, on a terminal.
#[derive(Default)]
struct Bars {
    current: std::cell::RefCell<Option<(PackagePath, ProgressBar)>>,
}

impl Bars {
    fn show(&self, step: Step<'_>) {
        let mut current = self.current.borrow_mut();
        match &*current {
            Some((path, bar)) if *path == step.file.path => bar.set_position(step.done),
            _ => {
                if let Some((_, bar)) = current.take() {
                    bar.finish_and_clear();
                }
                let bar = ProgressBar::new(step.file.size).with_message(step.file.path.to_string());
                let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                *current = Some((step.file.path.clone(), bar));
            }
        }
    }

    fn finish(&self) {
        if let Some((_, bar)) = self.current.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
