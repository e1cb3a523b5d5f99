//! The main job on real input: sentences through the frozen backbone, two knowledge adapters and every example's tasks.

use crate::shell::{self, Outcome, kadapter};
use std::path::Path;

/// One example and a sentence for it.
const EXAMPLES: [(&str, &[&str]); 5] = [
    ("relation", &["run", "relation", "The <e1>handle</e1> of the old <e2>kettle</e2> broke off this morning ."]),
    (
        "several",
        &["run", "--all", "--stats", "<e1>Ada Lovelace</e1> was the daughter of the poet <e2>Lord Byron</e2> ."],
    ),
    ("typing", &["run", "entities", "They repaired <e>the old mill</e> by the river ."]),
    ("third-party", &["run", "--all", "--stats", "Marie Curie discovered <e1>polonium</e1> in <e2>Paris</e2> ."]),
    ("official", &["run", "relation", "She poured the <e1>lemonade</e1> into a tall green <e2>bottle</e2> ."]),
];

/// Builds, publishes, resolves, answers.
pub(crate) fn run() -> Outcome {
    crate::plugins::publish()?;
    let kadapter = kadapter()?;
    for (name, words) in EXAMPLES {
        let manifest = Path::new("examples").join(name).join("kadapter.toml");
        let manifest = manifest.display().to_string();
        println!("\n── examples/{name} ──");
        shell::run(&kadapter, ["tree", "--manifest", &manifest])?;
        if let Some(text) = words.last() {
            println!("\n{text}");
        }
        shell::run(&kadapter, words.iter().copied().chain(["--manifest", &manifest]))?;
    }
    println!("\n── sentences from a file ──");
    shell::run(
        &kadapter,
        ["run", "--all", "--input", "examples/sentences.jsonl", "--manifest", "examples/several/kadapter.toml"],
    )?;
    shell::print_home();
    Ok(())
}
