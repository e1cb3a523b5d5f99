//! What an adapter declares: its parameters by name, shape, role and initialiser. The host owns the values.

use crate::{Error, Result};
use abi_stable::{
    StableAbi,
    std_types::{RString, RVec},
};
use std::cell::RefCell;
use std::rc::Rc;

/// The most parameters one adapter may declare; the same bound as for the tensors of a weights file.
pub const MAX_PARAMS: usize = 4096;

/// How a parameter is used, so that the host can lay it out before the first forward.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Used in any way.
    General = 0,
    /// The weight `[outputs, inputs]` of linear layers: the host packs it for matrix products.
    LinearWeight = 1,
    /// A vector: bias, gain or gate.
    Vector = 2,
    /// A table `[rows, columns]` that rows are looked up in.
    Table = 3,
}

/// How a parameter starts when no weights are given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element this value.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform between minus and plus this bound.
    Uniform(f32),
}

impl Init {
    /// PyTorch's default for `nn.Linear`: uniform within `1/√fan_in`, for weight and bias alike.
    pub fn torch_linear(inputs: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "layer widths are far below 2^24")]
        Self::Uniform(1.0 / (inputs.max(1) as f32).sqrt())
    }
}

/// A declared parameter.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, StableAbi)]
pub struct ParamSpec {
    name: RString,
    shape: RVec<u64>,
    role: u32,
    init: u32,
    init_value: f32,
}

impl ParamSpec {
    /// The full name, scopes joined with dots: the tensor's name in the weights file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One dimension (a vector) or two (`[rows, columns]`); dimensions that this machine cannot address read as 0.
    pub fn shape(&self) -> Vec<usize> {
        self.shape.iter().map(|&dimension| usize::try_from(dimension).unwrap_or(0)).collect()
    }

    /// How it is used; roles from a newer ABI read as [`Role::General`].
    pub fn role(&self) -> Role {
        match self.role {
            1 => Role::LinearWeight,
            2 => Role::Vector,
            3 => Role::Table,
            _ => Role::General,
        }
    }

    /// How it starts; initialisers from a newer ABI read as zeros.
    pub fn init(&self) -> Init {
        match self.init {
            1 => Init::Normal(self.init_value),
            2 => Init::Uniform(self.init_value),
            0 => Init::Constant(self.init_value),
            _ => Init::Constant(0.0),
        }
    }
}

/// A parameter's id: its place in the adapter's list.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, StableAbi)]
pub struct ParamId(pub u32);

/// A declared parameter in an author's hands: its id and shape.
#[derive(Clone, Debug)]
pub struct Param {
    pub(crate) id: ParamId,
    shape: Vec<usize>,
}

impl Param {
    /// The declared shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// Where an adapter declares its parameters while it is built.
///
/// Scopes nest like paths: `params.scope("encoder").scope("0").linear_weight("query.weight", …)` declares
/// `encoder.0.query.weight`.
#[derive(Clone, Debug, Default)]
pub struct Params {
    prefix: String,
    declared: Rc<RefCell<Vec<ParamSpec>>>,
}

impl Params {
    /// A view that puts `name` and a dot before every name declared through it.
    #[must_use]
    pub fn scope(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), declared: Rc::clone(&self.declared) }
    }

    /// Declares the weight `[outputs, inputs]` of a linear layer.
    ///
    /// # Errors
    /// When a dimension is zero or the name was declared before.
    pub fn linear_weight(&self, name: &str, outputs: usize, inputs: usize, init: Init) -> Result<Param> {
        self.declare(name, &[outputs, inputs], Role::LinearWeight, init)
    }

    /// Declares a vector `[length]`.
    ///
    /// # Errors
    /// As [`Params::linear_weight`].
    pub fn vector(&self, name: &str, length: usize, init: Init) -> Result<Param> {
        self.declare(name, &[length], Role::Vector, init)
    }

    /// Declares a lookup table `[rows, columns]`.
    ///
    /// # Errors
    /// As [`Params::linear_weight`].
    pub fn table(&self, name: &str, rows: usize, columns: usize, init: Init) -> Result<Param> {
        self.declare(name, &[rows, columns], Role::Table, init)
    }

    /// Declares a matrix `[rows, columns]` used in any way.
    ///
    /// # Errors
    /// As [`Params::linear_weight`].
    pub fn matrix(&self, name: &str, rows: usize, columns: usize, init: Init) -> Result<Param> {
        self.declare(name, &[rows, columns], Role::General, init)
    }

    fn declare(&self, name: &str, shape: &[usize], role: Role, init: Init) -> Result<Param> {
        let name = format!("{}{name}", self.prefix);
        if shape.contains(&0) {
            return Err(Error::shape(format!("parameter `{name}` has shape {shape:?}, expected no zero")));
        }
        let mut declared = self.declared.borrow_mut();
        if declared.iter().any(|spec| spec.name() == name) {
            return Err(Error::new(format!("parameter `{name}` is declared twice")));
        }
        if declared.len() >= MAX_PARAMS {
            return Err(Error::new(format!("parameter `{name}` is one too many, expected at most {MAX_PARAMS}")));
        }
        let id = ParamId(u32::try_from(declared.len()).unwrap_or(u32::MAX));
        let (code, value) = match init {
            Init::Constant(value) => (0, value),
            Init::Normal(value) => (1, value),
            Init::Uniform(value) => (2, value),
        };
        declared.push(ParamSpec {
            name: name.into(),
            shape: shape.iter().map(|&dimension| dimension as u64).collect(),
            role: role as u32,
            init: code,
            init_value: value,
        });
        Ok(Param { id, shape: shape.to_vec() })
    }

    pub(crate) fn into_specs(self) -> Vec<ParamSpec> {
        self.declared.take()
    }
}
