//! An adapter on the reference engine.

use super::{Matrix, Reference, as_matrix};
use crate::abi::InstanceBox;
use crate::session::{self, Parameters};
use crate::{Adapter, Backbone, Entry, Error, ParamSpec, Result, Segments, random};

/// An adapter on the reference engine, built and run through the same boundary as in a real host.
///
/// ```
/// # use kadapter_plugin_api::{prelude::*, reference::Harness, Entry};
/// # struct Echo;
/// # impl Adapter for Echo {
/// #     fn build(_: &Config, _: &Backbone, _: &mut Params) -> Result<Self> { Ok(Self) }
/// #     fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> { cx.scale(&taps[0], 2.0) }
/// # }
/// let harness = Harness::new::<Echo>([], &Backbone::new(2, 4, &[0]))?;
/// let features = harness.forward(&[1, 2], &[vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])?;
/// assert_eq!(features, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
/// # Ok::<(), Error>(())
/// ```
pub struct Harness {
    instance: InstanceBox,
    values: Values,
    hidden_size: usize,
    taps: usize,
}

/// Declared parameters with values.
pub(super) struct Values {
    pub(super) specs: Vec<ParamSpec>,
    matrices: Vec<Matrix>,
}

impl Values {
    /// Initial values, seed 0.
    pub(super) fn initial(specs: Vec<ParamSpec>) -> Self {
        let matrices = specs.iter().map(|spec| as_matrix(spec, random::initial_values(spec, 0))).collect();
        Self { specs, matrices }
    }

    pub(super) fn get(&self, index: usize) -> &[f32] {
        &self.matrices[index].values
    }

    pub(super) fn replace(&mut self, index: usize, values: &[f32]) -> Result<()> {
        let (name, expected) = (self.specs[index].name(), self.matrices[index].values.len());
        if values.len() != expected {
            return Err(Error::shape(format!("`{name}` got {} values, expected {expected}", values.len())));
        }
        self.matrices[index] = as_matrix(&self.specs[index], values.to_vec());
        Ok(())
    }

    pub(super) fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let index = self.specs.iter().position(|spec| spec.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.specs.iter().map(ParamSpec::name).collect();
            Error::new(format!("no parameter is named `{name}`, expected one of {names:?}"))
        })?;
        self.replace(index, values)
    }

    pub(super) fn parameters(&self) -> Parameters<Matrix> {
        let mut parameters = Parameters::default();
        for (spec, value) in self.specs.iter().zip(&self.matrices) {
            parameters.push(spec.shape(), value.clone());
        }
        parameters
    }
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Harness").field("params", &self.values.specs).finish_non_exhaustive()
    }
}

impl Harness {
    /// Builds an adapter with its initial values (seed 0).
    ///
    /// # Errors
    /// What `build` says, its panic, or a configuration key that it does not know.
    pub fn new<A: Adapter>(config: impl IntoIterator<Item = Entry>, backbone: &Backbone) -> Result<Self> {
        let (instance, specs) = crate::export::instantiate::<A>(config, backbone)?;
        let (hidden_size, taps) = (backbone.hidden_size(), backbone.taps().len());
        Ok(Self { instance, values: Values::initial(specs), hidden_size, taps })
    }

    /// What the adapter declared.
    pub fn params(&self) -> &[ParamSpec] {
        &self.values.specs
    }

    /// Sets a parameter's values, row-major.
    ///
    /// # Errors
    /// When no parameter has this name or it has another number of values.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.values.set(name, values)
    }

    pub(super) fn values(&mut self) -> &mut Values {
        &mut self.values
    }

    /// Runs the adapter: `lengths` are the segments' rows, each tap holds `[rows, hidden size]` row-major; gives the feature rows.
    ///
    /// # Errors
    /// What the adapter says, its panic, or taps of another size.
    pub fn forward(&self, lengths: &[usize], taps: &[Vec<f32>]) -> Result<Vec<f32>> {
        let segments = Segments::new(lengths.iter().copied())?;
        let expected = segments.rows() * self.hidden_size;
        if taps.len() != self.taps || taps.iter().any(|tap| tap.len() != expected) {
            let found: Vec<_> = taps.iter().map(Vec::len).collect();
            return Err(Error::shape(format!(
                "the taps have {found:?} values, expected {} taps of {expected}",
                self.taps
            )));
        }
        let taps: Vec<_> = taps.iter().map(|tap| Matrix::new(segments.rows(), self.hidden_size, tap.clone())).collect();
        Ok(self.features(&segments, &taps)?.values.to_vec())
    }

    pub(super) fn features(&self, segments: &Segments, taps: &[Matrix]) -> Result<Matrix> {
        session::run(&self.instance, &Reference, &self.values.parameters(), segments, taps)
    }
}
