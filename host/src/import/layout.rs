//! The tensors that a network has, compared with those that a file has: all differences at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::source::SourceTensor;
use super::{Error, ShapeDifference};

/// A tensor's name in a package and its shape in the source.
pub(super) type Expected = (String, Vec<usize>);

/// Source tensors by the name that they get in the package.
pub(super) type Found = BTreeMap<String, SourceTensor>;

/// Adds a tensor under its new name.
///
/// # Errors
///
/// [`Error::Twice`] when two old names mean the same.
pub(super) fn add(path: &Path, found: &mut Found, name: String, tensor: SourceTensor) -> Result<(), Error> {
    let second = tensor.name.clone();
    match found.insert(name, tensor) {
        None => Ok(()),
        Some(first) => Err(Error::Twice { path: path.to_owned(), first: first.name, second }),
    }
}

/// Adds `name.weight [outputs, inputs]` and `name.bias [outputs]`.
pub(super) fn linear(expected: &mut Vec<Expected>, name: &str, outputs: usize, inputs: usize) {
    expected.push((format!("{name}.weight"), vec![outputs, inputs]));
    expected.push((format!("{name}.bias"), vec![outputs]));
}

/// Adds `name.weight` and `name.bias`, both `[size]`.
pub(super) fn norm(expected: &mut Vec<Expected>, name: &str, size: usize) {
    expected.push((format!("{name}.weight"), vec![size]));
    expected.push((format!("{name}.bias"), vec![size]));
}

/// One BERT layer of `hidden` columns and `wide` ones inside, as all of these networks name its parts.
pub(super) fn transformer(expected: &mut Vec<Expected>, name: &str, hidden: usize, wide: usize) {
    for part in ["query", "key", "value"] {
        linear(expected, &format!("{name}.attention.self.{part}"), hidden, hidden);
    }
    linear(expected, &format!("{name}.attention.output.dense"), hidden, hidden);
    norm(expected, &format!("{name}.attention.output.LayerNorm"), hidden);
    linear(expected, &format!("{name}.intermediate.dense"), wide, hidden);
    linear(expected, &format!("{name}.output.dense"), hidden, wide);
    norm(expected, &format!("{name}.output.LayerNorm"), hidden);
}

/// Checks that exactly the expected tensors were found.
///
/// # Errors
///
/// [`Error::Tensors`] with everything that is missing, unexpected (under its name in the file) or of another shape.
pub(super) fn compare(path: &Path, what: &str, expected: &[Expected], found: &Found) -> Result<(), Error> {
    let mut missing = Vec::new();
    let mut shapes = Vec::new();
    for (name, shape) in expected {
        match found.get(name) {
            None => missing.push(name.clone()),
            Some(tensor) if tensor.shape != *shape => shapes.push(ShapeDifference {
                name: tensor.name.clone(),
                expected: shape.clone(),
                found: tensor.shape.clone(),
            }),
            Some(_) => {}
        }
    }
    let known: std::collections::BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let unexpected: Vec<String> = found
        .iter()
        .filter(|(name, _)| !known.contains(name.as_str()))
        .map(|(_, tensor)| tensor.name.clone())
        .collect();
    if missing.is_empty() && unexpected.is_empty() && shapes.is_empty() {
        Ok(())
    } else {
        Err(Error::Tensors { path: path.to_owned(), what: what.to_owned(), missing, unexpected, shapes })
    }
}
