//! Makes `registry/seed`, the registry that a fresh clone starts with: a backbone that is imported from a Hugging Face folder, and
//! adapters and tasks that the recipes of `recipes/` train on it.
//!
//! The seed is committed; this is how it came about and how to make it anew. What lies trained in `runs/` is not trained again.

use crate::shell::{self, Outcome, kadapter, remove, root, target};
use std::path::Path;

const SEED: &str = "registry/seed";
/// Where recipes of adapters leave what they trained.
const RUNS: &str = "runs";

const MINILM: &str = "all-MiniLM-L6-v2 by the sentence-transformers authors (Apache-2.0), a distilled BERT tuned for sentence similarity; its \
                      weights are laid out as a RoBERTa, with the same hidden states";

/// Makes everything; the seed that was there is put back where that fails. `backbone` is the folder of the model.
pub(crate) fn run(backbone: &Path) -> Outcome {
    let (seed, before) = (root().join(SEED), target().join("seed-before"));
    let moved = |from: &Path, to: &Path| std::fs::rename(from, to).map_err(|error| error.to_string());
    remove(&before)?;
    if seed.exists() {
        moved(&seed, &before)?;
    }
    make(backbone).or_else(|error| {
        if before.exists() {
            remove(&seed)?;
            moved(&before, &seed)?;
        }
        Err(error)
    })
}

/// Imports or trains, and publishes.
fn make(backbone: &Path) -> Outcome {
    let kadapter = kadapter()?;
    let packages = target().join("seed-packages");
    remove(&packages)?;
    std::fs::create_dir_all(&packages).map_err(|error| error.to_string())?;
    let package = |name: &str| packages.join(name).display().to_string();
    let publish = |package: &str| shell::run(&kadapter, ["publish", package, "--registry", SEED]);

    let minilm = package("minilm-roberta");
    let description =
        "A small real backbone to start with: all-MiniLM-L6-v2 (6 layers, 384 columns) laid out as a RoBERTa";
    let from = backbone.display().to_string();
    let described = ["--license", "Apache-2.0", "--description", description, "--attribution", MINILM];
    let words = ["import", "backbone", &from, "--name", "kadapter/minilm-roberta", "--out", &minilm];
    shell::run(&kadapter, words.into_iter().chain(described))?;
    // Apache-2.0 travels with the weights.
    let to = Path::new(&minilm).join("LICENSE");
    std::fs::copy(root().join("LICENSE-APACHE"), to).map_err(|error| error.to_string())?;
    publish(&minilm)?;

    for name in ["factual", "linguistic", "supersense"] {
        shell::run(&kadapter, ["train", "adapter", &format!("recipes/{name}.toml"), "--run", RUNS])?;
        publish(&format!("{RUNS}/{name}/package"))?;
    }
    for name in ["semeval-relation", "fewrel-relation", "gum-entities"] {
        shell::run(&kadapter, ["train", "task", &format!("recipes/{name}.toml"), "--out", &package(name)])?;
        publish(&package(name))?;
    }
    Ok(())
}
