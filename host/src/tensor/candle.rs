//! The op table over candle: every device that is not our own CPU path (CUDA, Metal), for inference, in f32, bf16 or f16.
//!
//! Candle's own CPU device works as well; that is how this engine is tested on a machine without a GPU. Fused ops without a
//! gradient are used on purpose: for training, `derivatives` has the way back of each op, and candle's own is never asked.
//!
//! What keeps launches few: ragged attention is one padded product per bucket of similar segments (`plan`), what a batch's
//! boundaries need on the device is uploaded once per batch and not once per layer (`recent`), and columns are views until an op
//! needs them densely (see [`CandleTensor`]).

mod attention;
mod derivatives;
mod losses;
mod norm;
mod plan;
mod recent;
mod segments;
#[cfg(test)]
pub(crate) mod tests;

use super::{HostEngine, Values};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, D, DType, Device, DeviceLocation, Storage, Tensor};
use kadapter_plugin_api::{Activation, Engine, Error, NO_PARTNER, Result, Role, Segments};
use plan::{AttentionPlan, AttentionReturn, MeanPlan, PartnerPlan, PartnerReturn};
use recent::Recent;
use std::fmt;
use std::sync::Arc;

/// A matrix `[rows, columns]` on a candle device: some columns of a dense tensor. Cloning shares it.
#[derive(Clone, Debug)]
pub struct CandleTensor {
    /// Dense, row-major, two dimensions.
    base: Tensor,
    start: usize,
    columns: usize,
}

impl CandleTensor {
    /// The columns as a dense tensor: no work when they are all of the base, one copy otherwise.
    fn dense(&self) -> candle_core::Result<Tensor> {
        if self.columns == self.base.dim(D::Minus1)? {
            Ok(self.base.clone())
        } else {
            self.base.narrow(1, self.start, self.columns)?.contiguous()
        }
    }

    fn rows(&self) -> usize {
        self.base.dims().first().copied().unwrap_or(0)
    }
}

/// A parameter on a candle device. Linear weights stay `[outputs, inputs]`: cuBLAS and Metal read the transposed operand of a
/// product in place, and that is the layout they are fastest on.
#[derive(Debug)]
pub struct CandleParam(Tensor);

/// Computes with candle on one device in one precision.
///
/// Sums are accumulated in f32 in every precision: softmax and the losses convert, layer norms and products accumulate so inside
/// their kernels. In f32 nothing is reduced to TF32.
pub struct CandleEngine {
    device: Device,
    dtype: DType,
    attention: Recent<(Segments, usize), AttentionPlan>,
    partners: Recent<Segments, PartnerPlan>,
    means: Recent<Segments, MeanPlan>,
    attention_returns: Recent<(Segments, usize), AttentionReturn>,
    partner_returns: Recent<Segments, PartnerReturn>,
}

impl fmt::Debug for CandleEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CandleEngine").field("device", &self.name()).field("dtype", &self.dtype).finish()
    }
}

impl CandleEngine {
    /// An engine on this device that stores tensors and parameters as `dtype`: `F32`, `BF16` or `F16`.
    ///
    /// # Errors
    /// When `dtype` is another one.
    pub fn new(device: Device, dtype: DType) -> Result<Self> {
        match dtype {
            DType::F32 | DType::BF16 | DType::F16 => Ok(Self {
                device,
                dtype,
                attention: Recent::default(),
                partners: Recent::default(),
                means: Recent::default(),
                attention_returns: Recent::default(),
                partner_returns: Recent::default(),
            }),
            _ => Err(Error::device(format!(
                "`{}` was asked for as the precision, expected `f32`, `bf16` or `f16`",
                dtype.as_str()
            ))),
        }
    }

    /// Candle's own CPU device in single precision: for tests and comparisons, where no other device is.
    ///
    /// # Errors
    /// None at present.
    pub fn on_cpu() -> Result<Self> {
        Self::new(Device::Cpu, DType::F32)
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision of tensors and parameters.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device as a person writes it: `cuda:0`, `metal:0` or `cpu`.
    pub fn name(&self) -> String {
        match self.device.location() {
            DeviceLocation::Cpu => "cpu".into(),
            DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        }
    }

    /// The weight `[rows = outputs, columns = inputs]` of a linear layer, row-major.
    ///
    /// # Errors
    /// When the values do not fill the shape or the device has no memory left.
    pub fn linear_param(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<CandleParam> {
        self.matrix_param(rows, columns, values)
    }

    /// A vector: bias, gain or gate.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn vector_param(&self, values: Vec<f32>) -> Result<CandleParam> {
        self.upload(Role::Vector, &[values.len()], Values::F32(values))
    }

    /// A matrix `[rows, columns]` for any use, row-major; tables that rows are looked up in are kept the same way.
    ///
    /// # Errors
    /// When the values do not fill the shape or the device has no memory left.
    pub fn matrix_param(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<CandleParam> {
        self.upload(Role::General, &[rows, columns], Values::F32(values))
    }

    /// Runs an op and says which one failed, and where.
    fn op(&self, name: &str, compute: impl FnOnce() -> candle_core::Result<Tensor>) -> Result<CandleTensor> {
        compute().and_then(|base| Ok(CandleTensor { start: 0, columns: base.dim(1)?, base })).map_err(self.failed(name))
    }

    fn failed(&self, name: &str) -> impl FnOnce(candle_core::Error) -> Error {
        let place = self.name();
        move |error| Error::device(format!("`{name}` failed on `{place}`: {}", sentence(&error)))
    }

    fn attention_plan(&self, segments: &Segments, heads: usize) -> candle_core::Result<Arc<AttentionPlan>> {
        self.attention.get(
            |(known, known_heads)| *known_heads == heads && known == segments,
            || AttentionPlan::new(segments, heads, &self.device).map(|plan| ((segments.clone(), heads), plan)),
        )
    }

    fn mean_plan(&self, segments: &Segments) -> candle_core::Result<Arc<MeanPlan>> {
        self.means.get(
            |known| known == segments,
            || MeanPlan::new(segments, &self.device).map(|plan| (segments.clone(), plan)),
        )
    }

    fn partner_plan(&self, segments: &Segments) -> candle_core::Result<Arc<PartnerPlan>> {
        self.partners.get(
            |known| known == segments,
            || PartnerPlan::new(segments, &self.device).map(|plan| (segments.clone(), plan)),
        )
    }

    /// [`NO_PARTNER`], or the lowest number where this precision cannot hold it: still finite.
    fn no_partner(&self) -> f32 {
        if self.dtype == DType::F16 { half::f16::MIN.to_f32() } else { NO_PARTNER }
    }
}

/// Candle's text on one line, without the backtrace that it carries when `RUST_BACKTRACE` is set.
pub(super) fn sentence(error: &candle_core::Error) -> String {
    use candle_core::Error;
    match error {
        Error::WithBacktrace { inner, .. } => sentence(inner),
        Error::Context { inner, context } => format!("{context}: {}", sentence(inner)),
        other => {
            other.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
        }
    }
}

/// The numbers of a dense vector in f32. What comes from a device is taken as it came: `to_vec1` would copy it once more.
fn values(vector: &Tensor) -> candle_core::Result<Vec<f32>> {
    let fetched = match &*vector.storage_and_layout().0 {
        Storage::Cpu(_) => None,
        Storage::Cuda(storage) => Some(storage.to_cpu_storage()?),
        Storage::Metal(storage) => Some(storage.to_cpu_storage()?),
    };
    match (fetched, vector.layout().contiguous_offsets()) {
        (Some(CpuStorage::F32(values)), Some((0, end))) if end == values.len() => Ok(values),
        _ => vector.to_vec1(),
    }
}

fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::GeluErf => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
    }
}

/// Applies `same` to equal shapes and `row` where `b` is one row for each of `a`'s.
fn pair(
    a: &CandleTensor,
    b: &CandleTensor,
    same: impl FnOnce(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    row: impl FnOnce(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Tensor> {
    let (left, right) = (a.dense()?, b.dense()?);
    if left.dims() == right.dims() { same(&left, &right) } else { row(&left, &right) }
}

impl HostEngine for CandleEngine {
    fn upload(&self, _role: Role, shape: &[usize], values: Values) -> Result<CandleParam> {
        let tensor = match values {
            Values::F32(values) => Tensor::from_vec(values, shape, &self.device),
            Values::F16(values) => Tensor::from_vec(values, shape, &self.device),
        };
        tensor.and_then(|tensor| tensor.to_dtype(self.dtype)).map(CandleParam).map_err(self.failed("upload"))
    }
}

impl Engine for CandleEngine {
    type Tensor = CandleTensor;
    type Param = CandleParam;

    fn shape(&self, tensor: &CandleTensor) -> [usize; 2] {
        [tensor.rows(), tensor.columns]
    }

    fn from_f32(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<CandleTensor> {
        self.op("from_f32", || Tensor::from_vec(values, (rows, columns), &self.device)?.to_dtype(self.dtype))
    }

    fn read_f32(&self, tensor: &CandleTensor) -> Result<Vec<f32>> {
        let read = || values(&tensor.dense()?.to_dtype(DType::F32)?.flatten_all()?);
        read().map_err(self.failed("read_f32"))
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<CandleTensor> {
        self.op("zeros", || Tensor::zeros((rows, columns), self.dtype, &self.device))
    }

    fn parameter(&self, param: &CandleParam) -> Result<CandleTensor> {
        self.op("parameter", || match *param.0.dims() {
            [length] => param.0.reshape((1, length)),
            _ => Ok(param.0.clone()),
        })
    }

    fn linear(
        &self,
        x: &CandleTensor,
        weight: &CandleParam,
        bias: Option<&CandleParam>,
        activation: Activation,
    ) -> Result<CandleTensor> {
        self.op("linear", || {
            let product = x.dense()?.matmul(&weight.0.t()?)?;
            let sum = match bias {
                Some(bias) => product.broadcast_add(&bias.0)?,
                None => product,
            };
            activate(&sum, activation)
        })
    }

    fn matmul(&self, a: &CandleTensor, b: &CandleTensor, transposed: bool) -> Result<CandleTensor> {
        self.op("matmul", || {
            let (a, b) = (a.dense()?, b.dense()?);
            if transposed { a.matmul(&b.t()?) } else { a.matmul(&b) }
        })
    }

    fn add(&self, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        self.op("add", || pair(a, b, Tensor::add, Tensor::broadcast_add))
    }

    fn mul(&self, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        self.op("mul", || pair(a, b, Tensor::mul, Tensor::broadcast_mul))
    }

    fn scale(&self, x: &CandleTensor, factor: f32) -> Result<CandleTensor> {
        self.op("scale", || x.dense()?.affine(f64::from(factor), 0.0))
    }

    fn activation(&self, x: &CandleTensor, activation: Activation) -> Result<CandleTensor> {
        self.op("activation", || activate(&x.dense()?, activation))
    }

    fn log(&self, x: &CandleTensor) -> Result<CandleTensor> {
        self.op("log", || x.dense()?.log())
    }

    fn layer_norm(
        &self,
        x: &CandleTensor,
        weight: &CandleParam,
        bias: &CandleParam,
        epsilon: f32,
    ) -> Result<CandleTensor> {
        self.op("layer_norm", || norm::layer_norm(&x.dense()?, &weight.0, &bias.0, epsilon))
    }

    fn add_layer_norm(
        &self,
        x: &CandleTensor,
        residual: &CandleTensor,
        weight: &CandleParam,
        bias: &CandleParam,
        epsilon: f32,
    ) -> Result<CandleTensor> {
        self.op("add_layer_norm", || {
            let sum = (x.dense()? + residual.dense()?)?;
            norm::layer_norm(&sum, &weight.0, &bias.0, epsilon)
        })
    }

    fn attention(
        &self,
        q: &CandleTensor,
        k: &CandleTensor,
        v: &CandleTensor,
        heads: usize,
        segments: &Segments,
    ) -> Result<CandleTensor> {
        self.op("attention", || attention::attention(q, k, v, heads, &*self.attention_plan(segments, heads)?))
    }

    fn concat(&self, tensors: &[&CandleTensor]) -> Result<CandleTensor> {
        self.op("concat", || {
            let dense = tensors.iter().map(|tensor| tensor.dense()).collect::<candle_core::Result<Vec<_>>>()?;
            Tensor::cat(&dense, 1)?.contiguous()
        })
    }

    fn narrow(&self, x: &CandleTensor, start: usize, length: usize) -> Result<CandleTensor> {
        Ok(CandleTensor { base: x.base.clone(), start: x.start + start, columns: length })
    }

    fn gather(&self, x: &CandleTensor, rows: &[u32]) -> Result<CandleTensor> {
        self.op("gather", || x.dense()?.index_select(&Tensor::new(rows, &self.device)?, 0))
    }

    fn segment_mean(&self, x: &CandleTensor, segments: &Segments) -> Result<CandleTensor> {
        self.op("segment_mean", || segments::mean(&x.dense()?, &*self.mean_plan(segments)?))
    }

    fn segment_matmul(&self, a: &CandleTensor, b: &CandleTensor, segments: &Segments) -> Result<CandleTensor> {
        self.op("segment_matmul", || {
            segments::matmul(&a.dense()?, &b.dense()?, self.no_partner(), &*self.partner_plan(segments)?)
        })
    }

    fn softmax(&self, x: &CandleTensor) -> Result<CandleTensor> {
        self.op("softmax", || norm::softmax(&x.dense()?)?.to_dtype(self.dtype))
    }

    fn log_softmax(&self, x: &CandleTensor) -> Result<CandleTensor> {
        self.op("log_softmax", || norm::log_softmax(&x.dense()?)?.to_dtype(self.dtype))
    }

    fn dropout(&self, x: &CandleTensor, _probability: f32) -> Result<CandleTensor> {
        Ok(x.clone())
    }

    fn embedding(&self, table: &CandleParam, rows: &[u32]) -> Result<CandleTensor> {
        self.op("embedding", || table.0.index_select(&Tensor::new(rows, &self.device)?, 0))
    }

    fn cross_entropy(&self, logits: &CandleTensor, targets: &[i64]) -> Result<CandleTensor> {
        self.op("cross_entropy", || losses::cross_entropy(&logits.dense()?, targets)?.to_dtype(self.dtype))
    }

    fn bce_with_logits(&self, logits: &CandleTensor, targets: &CandleTensor) -> Result<CandleTensor> {
        self.op("bce_with_logits", || {
            losses::bce_with_logits(&logits.dense()?, &targets.dense()?)?.to_dtype(self.dtype)
        })
    }

    fn mse(&self, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        self.op("mse", || losses::mse(&a.dense()?, &b.dense()?)?.to_dtype(self.dtype))
    }
}
