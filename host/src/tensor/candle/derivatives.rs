//! The backward half of the op table, composed of candle's ops: everything stays on the device. Candle's own gradients are not used.

mod activation;
mod attention;
mod losses;
mod optimizer;
mod rows;

use super::plan::{AttentionReturn, PartnerReturn};
use super::{CandleEngine, CandleParam, CandleTensor};
use crate::tensor::cpu::write_mask;
use crate::tensor::derivatives::{
    AdamWUpdate, AttendBackward, BceSide, Derivatives, LinearBackward, LinearGradients, NormGradients, NormWants,
    Normalised,
};
use crate::tensor::tape::MaskSpec;
use attention::Attended;
use candle_core::{D, DType, Tensor};
use kadapter_plugin_api::{Activation, Engine, Error, Result, Segments};
use std::sync::Arc;

/// A dropout mask on a candle device: hashed on the host, one byte per element, and uploaded. Candle has no integer mixing, and the
/// same bits everywhere are worth the bytes.
#[derive(Clone, Debug)]
pub struct CandleMask {
    kept: Tensor,
    scale: f64,
}

impl CandleMask {
    fn new(
        engine: &CandleEngine,
        spec: &MaskSpec,
        kept: Vec<u8>,
        shape: impl Into<candle_core::Shape>,
    ) -> candle_core::Result<Self> {
        Ok(Self { kept: Tensor::from_vec(kept, shape, &engine.device)?, scale: f64::from(spec.scale()) })
    }

    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        (x * self.kept.to_dtype(x.dtype())?)?.affine(self.scale, 0.0)
    }
}

impl CandleEngine {
    fn attention_return(&self, segments: &Segments, heads: usize) -> candle_core::Result<Arc<AttentionReturn>> {
        self.attention_returns.get(
            |(known, known_heads)| *known_heads == heads && known == segments,
            || AttentionReturn::new(segments, heads, &self.device).map(|plan| ((segments.clone(), heads), plan)),
        )
    }

    fn partner_return(&self, segments: &Segments) -> candle_core::Result<Arc<PartnerReturn>> {
        self.partner_returns.get(
            |known| known == segments,
            || PartnerReturn::new(segments, &self.device).map(|plan| (segments.clone(), plan)),
        )
    }

    /// A dense tensor as it leaves an op.
    fn wrap(base: Tensor) -> candle_core::Result<CandleTensor> {
        Ok(CandleTensor { start: 0, columns: base.dim(1)?, base })
    }

    /// Runs an op with several results, and says which one failed, and where.
    fn several<T>(&self, name: &str, compute: impl FnOnce() -> candle_core::Result<T>) -> Result<T> {
        compute().map_err(self.failed(name))
    }
}

impl Derivatives for CandleEngine {
    type Mask = CandleMask;
    type Attended = Attended;

    fn check_training(&self) -> Result<()> {
        if self.dtype == DType::F32 {
            Ok(())
        } else {
            Err(Error::device(format!("Could not train in `{}`, expected `f32`", self.dtype.as_str())))
        }
    }

    fn weight(&self, value: &CandleTensor) -> Result<CandleParam> {
        self.several("weight", || value.dense().map(CandleParam))
    }

    fn weight_transposed(&self, value: &CandleTensor) -> Result<CandleParam> {
        // `linear` transposes it back: nothing is copied.
        self.several("weight_transposed", || value.dense()?.t().map(CandleParam))
    }

    fn vector(&self, value: &CandleTensor) -> Result<CandleParam> {
        self.several("vector", || value.dense()?.flatten_all().map(CandleParam))
    }

    fn mask(&self, spec: &MaskSpec, rows: usize, columns: usize) -> Result<CandleMask> {
        let mut kept = vec![0; rows * columns];
        if columns > 0 {
            kept.chunks_exact_mut(columns).enumerate().for_each(|(row, kept)| write_mask(spec, row, 0, kept));
        }
        self.several("mask", || CandleMask::new(self, spec, kept, (rows, columns)))
    }

    fn masked(&self, x: &CandleTensor, mask: &CandleMask) -> Result<CandleTensor> {
        self.op("masked", || mask.apply(&x.dense()?))
    }

    fn activation_sloped(&self, x: &CandleTensor, activation: Activation) -> Result<(CandleTensor, CandleTensor)> {
        let slope = self.op("activation_sloped", || activation::slope(&x.dense()?, activation))?;
        Ok((self.activation(x, activation)?, slope))
    }

    fn linear_sloped(
        &self,
        x: &CandleTensor,
        weight: &CandleParam,
        bias: Option<&CandleParam>,
        activation: Activation,
    ) -> Result<(CandleTensor, CandleTensor)> {
        self.activation_sloped(&self.linear(x, weight, bias, Activation::Identity)?, activation)
    }

    fn linear_backward(&self, task: LinearBackward<'_, Self>) -> Result<LinearGradients<CandleTensor>> {
        let gradient = match task.slope {
            Some(slope) => self.mul(&task.gradient, slope)?,
            None => task.gradient,
        };
        Ok(LinearGradients {
            x: task.weight.map(|weight| self.linear(&gradient, weight, None, Activation::Identity)).transpose()?,
            weight: task.x.map(|x| self.product_transposed(&gradient, x)).transpose()?,
            bias: task.bias.then(|| self.column_sums(&gradient)).transpose()?,
        })
    }

    fn product_transposed(&self, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        self.op("product_transposed", || a.dense()?.t()?.matmul(&b.dense()?))
    }

    fn column_sums(&self, x: &CandleTensor) -> Result<CandleTensor> {
        self.op("column_sums", || x.dense()?.sum_keepdim(0))
    }

    fn accumulate(&self, sum: &mut CandleTensor, x: &CandleTensor) -> Result<()> {
        *sum = self.add(sum, x)?;
        Ok(())
    }

    fn quotient(&self, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        self.op("quotient", || a.dense()? / b.dense()?)
    }

    fn normalise(
        &self,
        x: &CandleTensor,
        residual: Option<&CandleTensor>,
        weight: &CandleParam,
        bias: &CandleParam,
        epsilon: f32,
    ) -> Result<Normalised<CandleTensor>> {
        self.several("normalise", || {
            let x = match residual {
                Some(residual) => (x.dense()? + residual.dense()?)?,
                None => x.dense()?,
            };
            let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
            let scale = variance.affine(1.0, f64::from(epsilon))?.sqrt()?.recip()?;
            let normal = centred.broadcast_mul(&scale)?;
            let out = normal.broadcast_mul(&weight.0)?.broadcast_add(&bias.0)?;
            Ok(Normalised { out: Self::wrap(out)?, normal: Self::wrap(normal)?, scale: Self::wrap(scale)? })
        })
    }

    fn normalise_backward(
        &self,
        gradient: &CandleTensor,
        normal: &CandleTensor,
        scale: &CandleTensor,
        weight: &CandleParam,
        wants: NormWants,
    ) -> Result<NormGradients<CandleTensor>> {
        self.several("normalise_backward", || {
            let (gradient, normal, scale) = (gradient.dense()?, normal.dense()?, scale.dense()?);
            let x = || {
                let steep = gradient.broadcast_mul(&weight.0)?;
                let mean = steep.mean_keepdim(D::Minus1)?;
                let tilt = (&steep * &normal)?.mean_keepdim(D::Minus1)?;
                let flat = (steep.broadcast_sub(&mean)? - normal.broadcast_mul(&tilt)?)?;
                Self::wrap(flat.broadcast_mul(&scale)?)
            };
            let parameters = || {
                let of_weight = (&gradient * &normal)?.sum_keepdim(0)?;
                Ok::<_, candle_core::Error>([Self::wrap(of_weight)?, Self::wrap(gradient.sum_keepdim(0)?)?])
            };
            Ok(NormGradients {
                x: wants.x.then(x).transpose()?,
                parameters: wants.parameters.then(parameters).transpose()?,
            })
        })
    }

    fn attend(
        &self,
        q: &CandleTensor,
        k: &CandleTensor,
        v: &CandleTensor,
        heads: usize,
        segments: &Segments,
        mask: Option<&MaskSpec>,
    ) -> Result<(CandleTensor, Attended)> {
        self.several("attend", || {
            let (out, attended) = attention::forward(self, [q, k, v], heads, segments, mask)?;
            Ok((Self::wrap(out)?, attended))
        })
    }

    fn attend_backward(&self, task: AttendBackward<'_, Self>) -> Result<[CandleTensor; 3]> {
        self.several("attend_backward", || {
            let [q, k, v] = attention::backward(self, &task)?;
            Ok([Self::wrap(q)?, Self::wrap(k)?, Self::wrap(v)?])
        })
    }

    fn softmax_backward(&self, y: &CandleTensor, gradient: &CandleTensor) -> Result<CandleTensor> {
        self.op("softmax_backward", || activation::softmax_backward(&y.dense()?, &gradient.dense()?))
    }

    fn log_softmax_backward(&self, y: &CandleTensor, gradient: &CandleTensor) -> Result<CandleTensor> {
        self.op("log_softmax_backward", || {
            let (y, gradient) = (y.dense()?, gradient.dense()?);
            let total = gradient.sum_keepdim(D::Minus1)?;
            &gradient - y.exp()?.broadcast_mul(&total)?
        })
    }

    fn scatter_rows(&self, x: &CandleTensor, rows: &[u32], count: usize) -> Result<CandleTensor> {
        self.op("scatter_rows", || rows::scatter(&x.dense()?, rows, count))
    }

    fn spread_columns(&self, x: &CandleTensor, start: usize, columns: usize) -> Result<CandleTensor> {
        self.op("spread_columns", || x.dense()?.pad_with_zeros(1, start, columns - start - x.columns))
    }

    fn segment_mean_backward(&self, gradient: &CandleTensor, segments: &Segments) -> Result<CandleTensor> {
        self.op("segment_mean_backward", || {
            let plan = self.mean_plan(segments)?;
            gradient.dense()?.broadcast_mul(&plan.shares)?.index_select(&plan.owners, 0)
        })
    }

    fn segment_matmul_backward(
        &self,
        gradient: &CandleTensor,
        a: &CandleTensor,
        b: &CandleTensor,
        segments: &Segments,
    ) -> Result<[CandleTensor; 2]> {
        self.several("segment_matmul_backward", || {
            let (plan, back) = (self.partner_plan(segments)?, self.partner_return(segments)?);
            let [a, b] = rows::partners(&gradient.dense()?, &a.dense()?, &b.dense()?, &plan, &back)?;
            Ok([Self::wrap(a)?, Self::wrap(b)?])
        })
    }

    fn cross_entropy_backward(
        &self,
        logits: &CandleTensor,
        targets: &[i64],
        gradient: &CandleTensor,
    ) -> Result<CandleTensor> {
        self.op("cross_entropy_backward", || losses::cross_entropy(&logits.dense()?, targets, &gradient.dense()?))
    }

    fn bce_with_logits_backward(
        &self,
        logits: &CandleTensor,
        targets: &CandleTensor,
        gradient: &CandleTensor,
        of: BceSide,
    ) -> Result<CandleTensor> {
        self.op("bce_with_logits_backward", || {
            losses::bce_with_logits(&logits.dense()?, &targets.dense()?, &gradient.dense()?, of)
        })
    }

    fn mse_backward(&self, a: &CandleTensor, b: &CandleTensor, gradient: &CandleTensor) -> Result<CandleTensor> {
        self.op("mse_backward", || losses::mse(&a.dense()?, &b.dense()?, &gradient.dense()?))
    }

    fn sum_of_squares(&self, tensors: &[&CandleTensor]) -> Result<f64> {
        self.several("sum_of_squares", || optimizer::sum_of_squares(tensors))
    }

    fn adamw(
        &self,
        value: &mut CandleTensor,
        first: &mut CandleTensor,
        second: &mut CandleTensor,
        gradient: &CandleTensor,
        update: &AdamWUpdate,
    ) -> Result<()> {
        let updated = self.several("adamw", || {
            let tensors = [&*value, &*first, &*second, gradient];
            let updated = optimizer::adamw(tensors.map(CandleTensor::dense), update)?;
            let [value, first, second] = updated.map(Self::wrap);
            Ok((value?, first?, second?))
        })?;
        (*value, *first, *second) = updated;
        Ok(())
    }
}
