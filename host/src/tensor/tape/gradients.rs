//! What a backward pass gives.

use super::trainable::{Set, matrix_shape};
use super::{TrainParam, Trainable};
use crate::tensor::derivatives::Derivatives;
use kadapter_plugin_api::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// The gradients of the parameters of one or several [`Trainable`]s: of all that took part in a loss.
///
/// The order is fixed: sets in the order in which they were made, parameters in the order of their declarations. A parameter that
/// took no part, or is frozen, has none.
pub struct Gradients<E: Derivatives> {
    /// Sorted by the sets' ids.
    sets: Vec<SetGradients<E>>,
}

struct SetGradients<E: Derivatives> {
    set: Arc<Set>,
    /// One for each parameter of the set.
    tensors: Vec<Option<E::Tensor>>,
}

impl<E: Derivatives> Default for Gradients<E> {
    fn default() -> Self {
        Self { sets: Vec::new() }
    }
}

impl<E: Derivatives> Gradients<E> {
    /// No gradient of any parameter of these sets yet: what a process that has no example adds its neighbours' to.
    pub fn none<'a>(sets: impl IntoIterator<Item = &'a Trainable<E>>) -> Self {
        let mut gradients = Self::default();
        for trainable in sets {
            gradients.entry(trainable.set());
        }
        gradients
    }

    /// The gradient of one parameter of a set, with the parameter's shape (a vector is `[1, length]`).
    pub fn get(&self, trainable: &Trainable<E>, index: usize) -> Option<&E::Tensor> {
        self.sets.iter().find(|set| set.set.id == trainable.set().id)?.tensors.get(index)?.as_ref()
    }

    /// Takes the gradients of one set out, for example to clip them on their own.
    #[must_use]
    pub fn take(&mut self, trainable: &Trainable<E>) -> Self {
        let (taken, left) =
            std::mem::take(&mut self.sets).into_iter().partition(|set| set.set.id == trainable.set().id);
        self.sets = left;
        Self { sets: taken }
    }

    /// How many parameters have a gradient.
    pub fn count(&self) -> usize {
        self.tensors().count()
    }

    /// The global norm: the root of the sum of all squares, summed in f64 in the fixed order.
    ///
    /// # Errors
    /// When the device fails.
    pub fn norm(&self, engine: &E) -> Result<f64> {
        engine.sum_of_squares(&self.tensors().collect::<Vec<_>>()).map(f64::sqrt)
    }

    /// Multiplies every gradient.
    ///
    /// # Errors
    /// When the device fails.
    pub fn scale(&mut self, engine: &E, factor: f32) -> Result<()> {
        for tensor in self.sets.iter_mut().flat_map(|set| &mut set.tensors).flatten() {
            *tensor = engine.scale(tensor, factor)?;
        }
        Ok(())
    }

    /// Adds the gradients of another micro-batch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn add(&mut self, engine: &E, other: Self) -> Result<()> {
        for SetGradients { set, tensors } in other.sets {
            let at = self.entry(&set);
            for (index, tensor) in tensors.into_iter().enumerate() {
                if let Some(tensor) = tensor {
                    add(engine, &mut self.sets[at].tensors[index], tensor)?;
                }
            }
        }
        Ok(())
    }

    /// How many numbers [`Gradients::to_host`] gives.
    pub fn host_len(&self) -> usize {
        self.sets.iter().flat_map(|set| &set.set.declared).map(|d| d.shape.iter().product::<usize>() + 1).sum()
    }

    /// All gradients in one row of numbers, for a sum over processes: for each parameter its values (zeros where it has no gradient),
    /// then 1 if it has one, else 0. So after the sum a parameter has a gradient if it has one in any process.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_host(&self, engine: &E) -> Result<Vec<f32>> {
        let mut flat = Vec::with_capacity(self.host_len());
        for SetGradients { set, tensors } in &self.sets {
            for (declared, tensor) in set.declared.iter().zip(tensors) {
                match tensor {
                    Some(tensor) => flat.extend(engine.read_f32(tensor)?),
                    None => flat.resize(flat.len() + declared.shape.iter().product::<usize>(), 0.0),
                }
                flat.push(if tensor.is_some() { 1.0 } else { 0.0 });
            }
        }
        Ok(flat)
    }

    /// Replaces all gradients by what [`Gradients::to_host`] gave, summed or averaged over processes.
    ///
    /// # Errors
    /// When there are not as many numbers as [`Gradients::host_len`], or the device fails.
    pub fn from_host(&mut self, engine: &E, flat: &[f32]) -> Result<()> {
        let expected = self.host_len();
        if flat.len() != expected {
            return Err(Error::shape(format!("{} gradient values, expected {expected}", flat.len())));
        }
        let mut rest = flat;
        for SetGradients { set, tensors } in &mut self.sets {
            for (declared, tensor) in set.declared.iter().zip(tensors) {
                let [rows, columns] = matrix_shape(declared)?;
                let (values, after) = rest.split_at(rows * columns);
                let (present, after) = after.split_at(1);
                rest = after;
                *tensor =
                    if present == [0.0] { None } else { Some(engine.from_f32(rows, columns, values.to_vec())?) };
            }
        }
        Ok(())
    }

    pub(super) fn give(&mut self, engine: &E, param: &TrainParam<E>, gradient: E::Tensor) -> Result<()> {
        let at = self.entry(param.set());
        add(engine, &mut self.sets[at].tensors[param.index()], gradient)
    }

    /// Where a set stands; it is put in if it is not there.
    fn entry(&mut self, set: &Arc<Set>) -> usize {
        match self.sets.binary_search_by_key(&set.id, |known| known.set.id) {
            Ok(at) => at,
            Err(at) => {
                let tensors = std::iter::repeat_with(|| None).take(set.declared.len()).collect();
                self.sets.insert(at, SetGradients { set: Arc::clone(set), tensors });
                at
            }
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &E::Tensor> {
        self.sets.iter().flat_map(|set| &set.tensors).flatten()
    }
}

fn add<E: Derivatives>(engine: &E, sum: &mut Option<E::Tensor>, tensor: E::Tensor) -> Result<()> {
    match sum {
        Some(sum) => engine.accumulate(sum, &tensor),
        None => {
            *sum = Some(tensor);
            Ok(())
        }
    }
}

impl<E: Derivatives> fmt::Debug for Gradients<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gradients").field("sets", &self.sets.len()).field("count", &self.count()).finish()
    }
}
