//! Which files of a model an import reads, so that nothing else need be fetched.

/// Files that an import reads where they are there.
const ALWAYS: [&str; 3] = ["config.json", "tokenizer_config.json", "special_tokens_map.json"];
/// The weights, best first. The lists of parts are only named when a model is refused for them.
const WEIGHTS: [&[&str]; 4] = [
    &["model.safetensors"],
    &["pytorch_model.bin"],
    &["model.safetensors.index.json"],
    &["pytorch_model.bin.index.json"],
];
/// The tokenizer, best first.
const TOKENIZER: [&[&str]; 3] = [&["tokenizer.json"], &["vocab.json", "merges.txt"], &["vocab.txt"]];

/// Names the files that [`import`](super::import) reads of a model that has those for which `has` says so.
///
/// ```
/// # use kadapter_host::import::backbone::needed;
/// let there = ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "vocab.json", "merges.txt"];
/// let needed = needed(|name| there.contains(&name));
/// assert_eq!(needed, ["config.json", "model.safetensors", "vocab.json", "merges.txt"]);
/// ```
pub fn needed(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let best = |choices: &[&'static [&'static str]]| {
        choices.iter().find(|names| names.iter().all(|name| has(name))).copied().unwrap_or_default()
    };
    let always = ALWAYS.into_iter().filter(|name| has(name));
    always.chain(best(&WEIGHTS).iter().copied()).chain(best(&TOKENIZER).iter().copied()).collect()
}
