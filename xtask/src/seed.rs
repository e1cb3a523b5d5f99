//! Makes `registry/seed`, the registry that a fresh clone starts with, from a folder of models.
//!
//! ```text
//! MODELS/minilm-roberta/                       a Hugging Face folder
//! MODELS/{fac,lin}-adapter/pytorch_model.bin   official K-Adapter names
//! MODELS/heads/{semeval,fewrel}/               model.safetensors, labels.json
//! ```
//! The seed is committed; this is how it came about and how to make it anew.

use crate::shell::{self, Outcome, kadapter, remove, root, target};
use std::path::Path;

const SEED: &str = "registry/seed";

const MINILM: &str = "all-MiniLM-L6-v2 by the sentence-transformers authors (Apache-2.0), a distilled BERT tuned for sentence similarity; its \
                      weights are laid out as a RoBERTa, with the same hidden states";
const TREX: &str = "T-REx (CC BY-SA 4.0) as distributed with LAMA (CC BY-NC 4.0)";
const EWT: &str = "Universal Dependencies English EWT (CC BY-SA 4.0)";
const SEMEVAL: &str = "SemEval-2010 Task 8 (CC BY 3.0)";
const FEWREL: &str = "FewRel (MIT)";

/// Imports and publishes everything.
pub(crate) fn run(models: &Path) -> Outcome {
    let kadapter = kadapter()?;
    let packages = target().join("seed-packages");
    remove(&packages)?;
    remove(&root().join(SEED))?;
    let publish = |name: &str, mut words: Vec<String>| -> Outcome {
        let directory = packages.join(name).display().to_string();
        words.splice(0..0, ["import".to_owned()]);
        words.extend(["--name".into(), format!("kadapter/{name}"), "--out".into(), directory.clone()]);
        std::fs::create_dir_all(&packages).map_err(|error| error.to_string())?;
        shell::run(&kadapter, words)?;
        if name == "minilm-roberta" {
            // Apache-2.0 travels with the weights.
            let to = Path::new(&directory).join("LICENSE");
            std::fs::copy(root().join("LICENSE-APACHE"), to).map_err(|error| error.to_string())?;
        }
        shell::run(&kadapter, ["publish", &directory, "--registry", SEED])
    };
    let path = |name: &str| models.join(name).display().to_string();
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();

    let description =
        "A small real backbone to start with: all-MiniLM-L6-v2 (6 layers, 384 columns) laid out as a RoBERTa";
    publish(
        "minilm-roberta",
        words(&[
            "backbone",
            &path("minilm-roberta"),
            "--license",
            "Apache-2.0",
            "--description",
            description,
            "--attribution",
            MINILM,
        ]),
    )?;
    let adapters = [
        (
            "factual",
            "fac-adapter",
            "CC-BY-NC-4.0",
            TREX,
            "Factual knowledge: 31 Wikidata relations from T-REx, a reference run of 0.7 epochs",
        ),
        (
            "linguistic",
            "lin-adapter",
            "CC-BY-SA-4.0",
            EWT,
            "Linguistic knowledge: dependency heads from UD English EWT, a reference run",
        ),
    ];
    for (name, folder, license, source, description) in adapters {
        let file = path(&format!("{folder}/pytorch_model.bin"));
        let plugin = format!("kadapter-plugins/{name}");
        let mut arguments = words(&[
            "adapter",
            &file,
            "--plugin",
            &plugin,
            "--backbone",
            "kadapter/minilm-roberta",
            "--registry",
            SEED,
        ]);
        arguments.extend(words(&["--taps", "0,3,5", "--heads", "6", "--dtype", "f16", "--license", license]));
        arguments.extend(words(&["--description", description, "--attribution", source]));
        publish(name, arguments)?;
    }
    // Adapters as f16 move the golden logits by 9.8e-4; heads as f16 too would move them by 1.4e-3, so heads stay f32.
    let heads = [
        (
            "semeval-relation",
            "semeval",
            "CC-BY-3.0",
            SEMEVAL,
            "Relation between two nominals: the 19 labels of SemEval-2010 Task 8",
        ),
        ("fewrel-relation", "fewrel", "MIT", FEWREL, "Wikidata relation between two entities: 16 relations of FewRel"),
    ];
    for (name, folder, license, source, description) in heads {
        let (file, labels) =
            (path(&format!("heads/{folder}/model.safetensors")), path(&format!("heads/{folder}/labels.json")));
        let mut arguments =
            words(&["task", &file, "--kind", "relation-classification", "--labels", &labels, "--max-length", "128"]);
        arguments.extend(words(&["--backbone", "kadapter/minilm-roberta", "--registry", SEED, "--license", license]));
        arguments.extend(words(&[
            "--adapter",
            "fac:factual=kadapter/factual",
            "--adapter",
            "lin:linguistic=kadapter/linguistic",
        ]));
        arguments.extend(words(&["--description", description, "--attribution", source]));
        publish(name, arguments)?;
    }
    Ok(())
}
