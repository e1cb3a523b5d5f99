//! Tensors of a weights file against what a network declares, and their way to the device.

use crate::error::{Error, list};
use crate::tensor::{HostEngine, Values};
use crate::weights;
use kadapter_plugin_api::Role;
use kadapter_registry::project::FileRef;
use kadapter_registry::tensors::TensorInfo;
use std::collections::HashMap;

/// A tensor that a network declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// How it is used.
    pub role: Role,
}

/// Weights that are not the network's.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum ParametersError {
    #[error("the weights of {what} lack {} of {declared} tensors: {}", names.len(), list(names))]
    Missing { what: String, declared: usize, names: Vec<String> },
    #[error("the weights of {what} have {} tensors that its network does not declare: {}", names.len(), list(names))]
    Extra { what: String, names: Vec<String> },
    #[error("tensor `{name}` of {what} has shape {found:?}, expected {expected:?}")]
    Shape { what: String, name: String, expected: Vec<usize>, found: Vec<usize> },
}

impl ParametersError {
    /// What to type next.
    pub fn hint(&self) -> String {
        "weights and network do not belong together; see what the package holds with `kadapter info NS/NAME`, or import the checkpoint \
         anew with `kadapter import`"
            .into()
    }
}

/// Compares a file's tensors with the declared ones, by name and shape. Names that `ignored` accepts may be there or not.
///
/// # Errors
/// When one is missing, extra or of another shape.
pub fn check(
    what: &str,
    tensors: &[TensorInfo],
    declared: &[Declared],
    ignored: impl Fn(&str) -> bool,
) -> Result<(), ParametersError> {
    let mut open: HashMap<&str, &Declared> =
        declared.iter().map(|declared| (declared.name.as_str(), declared)).collect();
    let mut extra = Vec::new();
    for info in tensors.iter().filter(|info| !ignored(&info.name)) {
        match open.remove(info.name.as_str()) {
            None => extra.push(info.name.clone()),
            Some(declared) if declared.shape != info.shape => {
                return Err(ParametersError::Shape {
                    what: what.to_owned(),
                    name: info.name.clone(),
                    expected: declared.shape.clone(),
                    found: info.shape.clone(),
                });
            }
            Some(_) => {}
        }
    }
    if !open.is_empty() {
        let mut names: Vec<_> = open.into_keys().map(str::to_owned).collect();
        names.sort();
        return Err(ParametersError::Missing { what: what.to_owned(), declared: declared.len(), names });
    }
    if extra.is_empty() { Ok(()) } else { Err(ParametersError::Extra { what: what.to_owned(), names: extra }) }
}

/// Reads a weights file; the values come back in the order of `declared`.
///
/// # Errors
/// When the file is not the promised one, or a tensor is missing, extra, of another shape or not finite.
pub fn read(what: &str, file: &FileRef, declared: &[Declared]) -> Result<Vec<Vec<f32>>, Error> {
    stream(what, file, declared, |_, values| Ok(values))
}

/// Streams a weights file to the device; the parameters come back in the order of `declared`.
///
/// # Errors
/// When the file is not the promised one, or a tensor is missing, extra, of another shape or not finite.
pub fn load<E: HostEngine>(
    engine: &E,
    what: &str,
    file: &FileRef,
    declared: &[Declared],
) -> Result<Vec<E::Param>, Error> {
    stream(what, file, declared, |declared, values| {
        engine.upload(declared.role, &declared.shape, Values::F32(values)).map_err(Error::compute)
    })
}

/// Hands each tensor's values to `take` as it is read, and gives what that made of them in the order of `declared`.
fn stream<T>(
    what: &str,
    file: &FileRef,
    declared: &[Declared],
    mut take: impl FnMut(&Declared, Vec<f32>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let expected = weights::Expected { digest: file.digest, size: file.size };
    let mut reader = weights::Reader::open(&file.path, Some(expected))?;
    check(what, reader.header().tensors(), declared, |_| false)?;
    let places: HashMap<&str, usize> =
        declared.iter().enumerate().map(|(index, declared)| (declared.name.as_str(), index)).collect();
    let mut taken: Vec<Option<T>> = declared.iter().map(|_| None).collect();
    while let Some(tensor) = reader.next_tensor()? {
        let Some(&index) = places.get(tensor.info().name.as_str()) else { continue };
        taken[index] = Some(take(&declared[index], tensor.read_f32()?)?);
    }
    reader.finish()?;
    let complete: Option<Vec<_>> = taken.into_iter().collect();
    complete.ok_or_else(|| {
        ParametersError::Missing { what: what.to_owned(), declared: declared.len(), names: Vec::new() }.into()
    })
}
