//! The op table on real devices: our own engine on the CPU, candle's on everything else.
//!
//! Both implement [`kadapter_plugin_api::Engine`], so the backbone, the plugins and the heads are written once. Which one runs is
//! chosen at start by [`device`]. For training, [`tape`] is the same op table over either, with [`derivatives`] for the way back.

pub mod candle;
pub mod cpu;
pub mod derivatives;
pub mod device;
pub mod tape;

use half::f16;
use kadapter_plugin_api::{Engine, Result, Role};

/// The values of a parameter as they come from a weights file.
#[derive(Debug)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Half precision, kept as it is where rows are only looked up.
    F16(Vec<f16>),
}

/// An engine that a host can load a model into.
pub trait HostEngine: Engine<Tensor: Send + Sync, Param: Send + Sync> + Send + Sync + 'static {
    /// Brings a parameter to the device, laid out for its role; `shape` has one dimension for vectors and two for the rest, and
    /// fits the values. Takes the values, so that weights are never held twice.
    ///
    /// # Errors
    /// When the device has no memory left.
    fn upload(&self, role: Role, shape: &[usize], values: Values) -> Result<Self::Param>;

    /// `Engine::from_f32` from memory that the caller goes on to use; `values.len() == rows · columns`.
    ///
    /// # Errors
    /// When the device has no memory left.
    fn upload_rows(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Self::Tensor> {
        self.from_f32(rows, columns, values.to_vec())
    }

    /// Brings a linear weight `[outputs, inputs]` to the device; shorthand for [`HostEngine::upload`].
    ///
    /// # Errors
    /// When the device has no memory left.
    fn upload_linear(&self, outputs: usize, inputs: usize, values: Vec<f32>) -> Result<Self::Param> {
        self.upload(Role::LinearWeight, &[outputs, inputs], Values::F32(values))
    }

    /// Brings a vector to the device; shorthand for [`HostEngine::upload`].
    ///
    /// # Errors
    /// When the device has no memory left.
    fn upload_vector(&self, values: Vec<f32>) -> Result<Self::Param> {
        self.upload(Role::Vector, &[values.len()], Values::F32(values))
    }
}

impl HostEngine for cpu::CpuEngine {
    fn upload(&self, role: Role, shape: &[usize], values: Values) -> Result<cpu::CpuParam> {
        let (rows, columns) = match *shape {
            [rows, columns] => (rows, columns),
            _ => (1, shape.iter().product()),
        };
        match (role, values) {
            (Role::LinearWeight, values) => cpu::CpuParam::linear_for(self.isa(), rows, columns, values.into_f32()),
            (Role::Vector, values) => Ok(cpu::CpuParam::vector(values.into_f32())),
            (Role::Table, Values::F16(values)) => cpu::CpuParam::table_f16(rows, columns, values),
            (Role::Table | Role::General, values) => cpu::CpuParam::matrix(rows, columns, values.into_f32()),
        }
    }

    fn upload_rows(&self, rows: usize, columns: usize, values: &[f32]) -> Result<cpu::CpuTensor> {
        self.copied(rows, columns, values)
    }
}

impl Values {
    /// The values in single precision.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::F16(values) => values.into_iter().map(f16::to_f32).collect(),
        }
    }
}
