//! The parameters of one network while it is trained.

use crate::parameters::Declared;
use crate::tensor::derivatives::Derivatives;
use kadapter_plugin_api::session::Parameters;
use kadapter_plugin_api::{Error, ParamSpec, Result, random};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The trainable parameters of one network on a device: an adapter's as its plugin declared them, or a head's.
///
/// The values are f32, row-major on the device. A weight is packed for products when it is first used after an update, once for the
/// forward and once for the backward pass.
pub struct Trainable<E: Derivatives> {
    set: Arc<Set>,
    params: Vec<TrainParam<E>>,
}

/// What a set of parameters is, apart from its values.
#[derive(Debug)]
pub(super) struct Set {
    /// In the order in which sets were made in this process.
    pub(super) id: u64,
    pub(super) declared: Vec<Declared>,
}

/// One trainable parameter. Cloning shares it.
pub struct TrainParam<E: Derivatives>(Arc<Slot<E>>);

struct Slot<E: Derivatives> {
    set: Arc<Set>,
    index: usize,
    frozen: AtomicBool,
    state: Mutex<State<E>>,
}

struct State<E: Derivatives> {
    /// `[rows, columns]`, a vector `[1, length]`.
    value: E::Tensor,
    /// As products and norms read it, made when asked for.
    forward: Option<Arc<E::Param>>,
    /// As the backward pass of a linear layer reads it, made when asked for.
    transposed: Option<Arc<E::Param>>,
}

static SETS: AtomicU64 = AtomicU64::new(0);

impl<E: Derivatives> Trainable<E> {
    /// Parameters with these values, row-major.
    ///
    /// # Errors
    /// When a shape has neither one nor two dimensions, values do not fit their shape, or the device cannot train.
    pub fn new(engine: &E, parameters: impl IntoIterator<Item = (Declared, Vec<f32>)>) -> Result<Self> {
        engine.check_training()?;
        let (declared, values): (Vec<Declared>, Vec<Vec<f32>>) = parameters.into_iter().unzip();
        let set = Arc::new(Set { id: SETS.fetch_add(1, Ordering::Relaxed), declared });
        let params = values
            .into_iter()
            .enumerate()
            .map(|(index, values)| {
                let state =
                    State { value: upload(engine, &set.declared[index], values)?, forward: None, transposed: None };
                Ok(TrainParam(Arc::new(Slot {
                    set: Arc::clone(&set),
                    index,
                    frozen: AtomicBool::new(false),
                    state: Mutex::new(state),
                })))
            })
            .collect::<Result<_>>()?;
        Ok(Self { set, params })
    }

    /// Parameters as a plugin declared them, with their initial values under this seed.
    ///
    /// # Errors
    /// As [`Trainable::new`].
    pub fn initial(engine: &E, specs: &[ParamSpec], seed: u64) -> Result<Self> {
        let declared =
            |spec: &ParamSpec| Declared { name: spec.name().to_owned(), shape: spec.shape(), role: spec.role() };
        Self::new(engine, specs.iter().map(|spec| (declared(spec), random::initial_values(spec, seed))))
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// How many values all parameters have together.
    pub fn values_len(&self) -> usize {
        self.set.declared.iter().map(|declared| declared.shape.iter().product::<usize>()).sum()
    }

    /// Names, shapes and roles, in order.
    pub fn declared(&self) -> &[Declared] {
        &self.set.declared
    }

    /// One parameter, in the order of the declarations.
    pub fn param(&self, index: usize) -> Option<&TrainParam<E>> {
        self.params.get(index)
    }

    /// The parameter with this name.
    pub fn named(&self, name: &str) -> Option<&TrainParam<E>> {
        self.params.get(self.set.declared.iter().position(|declared| declared.name == name)?)
    }

    /// The parameters as [`kadapter_plugin_api::session::run`] takes them.
    pub fn parameters(&self) -> Parameters<TrainParam<E>> {
        let mut parameters = Parameters::default();
        for (declared, param) in self.set.declared.iter().zip(&self.params) {
            parameters.push(declared.shape.clone(), param.clone());
        }
        parameters
    }

    /// Freezes all parameters (they get no gradient from now on), or lets them train again.
    pub fn set_frozen(&self, frozen: bool) {
        self.params.iter().for_each(|param| param.set_frozen(frozen));
    }

    /// The values of one parameter, row-major.
    ///
    /// # Errors
    /// When there is no such parameter, or the device fails.
    pub fn read(&self, engine: &E, index: usize) -> Result<Vec<f32>> {
        engine.read_f32(&self.at(index)?.value())
    }

    /// Replaces the values of one parameter, row-major: a checkpoint is loaded.
    ///
    /// # Errors
    /// When there is no such parameter, the values do not fit its shape, or the device fails.
    pub fn replace(&self, engine: &E, index: usize, values: Vec<f32>) -> Result<()> {
        let param = self.at(index)?;
        let value = upload(engine, &self.set.declared[index], values)?;
        param.update(|old| {
            *old = value;
            Ok(())
        })
    }

    fn at(&self, index: usize) -> Result<&TrainParam<E>> {
        self.params.get(index).ok_or_else(|| {
            Error::new(format!("parameter {index} was asked for, expected one of {}", self.params.len()))
        })
    }

    pub(super) fn set(&self) -> &Arc<Set> {
        &self.set
    }
}

/// `[rows, columns]` of a declared parameter as a tensor.
pub(super) fn matrix_shape(declared: &Declared) -> Result<[usize; 2]> {
    match *declared.shape {
        [length] => Ok([1, length]),
        [rows, columns] => Ok([rows, columns]),
        ref shape => Err(Error::shape(format!(
            "parameter `{}` has shape {shape:?}, expected one or two dimensions",
            declared.name
        ))),
    }
}

fn upload<E: Derivatives>(engine: &E, declared: &Declared, values: Vec<f32>) -> Result<E::Tensor> {
    let [rows, columns] = matrix_shape(declared)?;
    if rows.checked_mul(columns) != Some(values.len()) {
        return Err(Error::shape(format!(
            "parameter `{}` got {} values, expected {rows} x {columns}",
            declared.name,
            values.len()
        )));
    }
    engine.from_f32(rows, columns, values)
}

impl<E: Derivatives> TrainParam<E> {
    /// Its full name.
    pub fn name(&self) -> &str {
        &self.0.set.declared[self.0.index].name
    }

    /// Its place in the order of the declarations.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Whether it gets no gradient.
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// Freezes it, or lets it train again.
    pub fn set_frozen(&self, frozen: bool) {
        self.0.frozen.store(frozen, Ordering::Relaxed);
    }

    /// The value on the device, `[rows, columns]`; a vector is `[1, length]`.
    pub fn value(&self) -> E::Tensor {
        self.lock().value.clone()
    }

    /// Changes the value; what was packed of it is dropped.
    ///
    /// # Errors
    /// What `change` says.
    pub fn update(&self, change: impl FnOnce(&mut E::Tensor) -> Result<()>) -> Result<()> {
        let mut state = self.lock();
        state.forward = None;
        state.transposed = None;
        change(&mut state.value)
    }

    pub(super) fn set(&self) -> &Arc<Set> {
        &self.0.set
    }

    /// As [`kadapter_plugin_api::Engine::linear`] reads a weight.
    pub(super) fn weight(&self, engine: &E) -> Result<Arc<E::Param>> {
        let State { value, forward, .. } = &mut *self.lock();
        made(forward, || engine.weight(value))
    }

    /// As the backward pass of a linear layer reads a weight.
    pub(super) fn transposed(&self, engine: &E) -> Result<Arc<E::Param>> {
        let State { value, transposed, .. } = &mut *self.lock();
        made(transposed, || engine.weight_transposed(value))
    }

    /// As a bias, or the weight of a norm.
    pub(super) fn vector(&self, engine: &E) -> Result<Arc<E::Param>> {
        let State { value, forward, .. } = &mut *self.lock();
        made(forward, || engine.vector(value))
    }

    /// A thread that panicked while it held the lock left a whole value behind, or its caller's error did.
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn made<P>(kept: &mut Option<Arc<P>>, make: impl FnOnce() -> Result<P>) -> Result<Arc<P>> {
    match kept {
        Some(kept) => Ok(Arc::clone(kept)),
        None => Ok(Arc::clone(kept.insert(Arc::new(make()?)))),
    }
}

impl<E: Derivatives> Clone for TrainParam<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Derivatives> fmt::Debug for TrainParam<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TrainParam").field("name", &self.name()).field("frozen", &self.is_frozen()).finish()
    }
}

impl<E: Derivatives> fmt::Debug for Trainable<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Trainable")
            .field("parameters", &self.len())
            .field("values", &self.values_len())
            .finish_non_exhaustive()
    }
}
