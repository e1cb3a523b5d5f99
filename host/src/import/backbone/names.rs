//! The names of a backbone's tensors: one spelling out of the several that libraries have used.

use super::super::Error;
use super::super::layout::{self, Expected, Found};
use super::super::source::Source;
use super::config::Config;

pub(super) const POSITIONS: &str = "embeddings.position_embeddings.weight";
pub(super) const TOKEN_TYPES: &str = "embeddings.token_type_embeddings.weight";

/// What stands before a backbone's own names: Hugging Face's two, and that of K-Adapter's downstream checkpoints.
const PREFIXES: [&str; 3] = ["roberta.", "bert.", "model."];

/// The tensors to keep, by their new names, and the names of what is dropped.
///
/// # Errors
///
/// [`Error::Tensors`] when the network's tensors are not all there in the right shape, [`Error::Twice`].
pub(super) fn sort(source: &Source, config: &Config, keep_lm_head: bool) -> Result<(Found, Vec<String>), Error> {
    let mut found = Found::new();
    let mut dropped = source.others().to_vec();
    for tensor in source.tensors() {
        match canonical(&tensor.name, keep_lm_head) {
            Some(name) => layout::add(source.path(), &mut found, name, tensor)?,
            None => dropped.push(tensor.name),
        }
    }
    let what =
        format!("a {} of {} layers and {} columns", config.family.name(), config.num_hidden_layers, config.hidden_size);
    layout::compare(source.path(), &what, &expected(config, keep_lm_head), &found)?;
    Ok((found, dropped))
}

/// The name in the package; `None` for what inference does not need: poolers, heads, buffers, other networks.
fn canonical(name: &str, keep_lm_head: bool) -> Option<String> {
    let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    if bare.starts_with("lm_head.") {
        // The decoder is the word table once more.
        return (keep_lm_head && !bare.starts_with("lm_head.decoder.")).then(|| bare.to_owned());
    }
    let is_buffer = bare.ends_with(".position_ids") || bare.ends_with(".token_type_ids");
    if is_buffer || !(bare.starts_with("embeddings.") || bare.starts_with("encoder.")) {
        return None;
    }
    // As the first BERTs, converted from TensorFlow, spell it.
    let bare = match bare.strip_suffix(".gamma") {
        Some(norm) => format!("{norm}.weight"),
        None => match bare.strip_suffix(".beta") {
            Some(norm) => format!("{norm}.bias"),
            None => bare.to_owned(),
        },
    };
    Some(bare)
}

/// Every tensor of the network, with its shape in the source.
fn expected(config: &Config, keep_lm_head: bool) -> Vec<Expected> {
    let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
    let mut expected = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![vocabulary, hidden]),
        (POSITIONS.to_owned(), vec![config.max_position_embeddings, hidden]),
        (TOKEN_TYPES.to_owned(), vec![config.type_vocab_size, hidden]),
    ];
    layout::norm(&mut expected, "embeddings.LayerNorm", hidden);
    for layer in 0..config.num_hidden_layers {
        layout::transformer(&mut expected, &format!("encoder.layer.{layer}"), hidden, config.intermediate_size);
    }
    if keep_lm_head {
        layout::linear(&mut expected, "lm_head.dense", hidden, hidden);
        layout::norm(&mut expected, "lm_head.layer_norm", hidden);
        expected.push(("lm_head.bias".to_owned(), vec![vocabulary]));
    }
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_prefixed_names_become_one() {
        for (name, expected) in [
            ("roberta.encoder.layer.0.output.dense.bias", Some("encoder.layer.0.output.dense.bias")),
            ("bert.embeddings.LayerNorm.gamma", Some("embeddings.LayerNorm.weight")),
            ("model.embeddings.LayerNorm.beta", Some("embeddings.LayerNorm.bias")),
            ("embeddings.word_embeddings.weight", Some("embeddings.word_embeddings.weight")),
            ("roberta.embeddings.position_ids", None),
            ("roberta.pooler.dense.weight", None),
            ("lm_head.dense.weight", None),
            ("cls.predictions.bias", None),
            ("fac_adapter.adapter.0.down_project.weight", None),
        ] {
            assert_eq!(canonical(name, false).as_deref(), expected, "{name}");
        }
        assert_eq!(canonical("lm_head.dense.weight", true).as_deref(), Some("lm_head.dense.weight"));
        assert_eq!(canonical("lm_head.decoder.weight", true), None);
    }
}
