//! Layer normalisation with what its backward pass needs, and that pass.

use super::sums::CHUNK;
use crate::tensor::cpu::{
    CpuEngine, CpuParam, CpuTensor,
    kernel::{Rows, TileMut, Tiles, Vectorised},
    math,
};
use crate::tensor::derivatives::{NormGradients, NormWants, Normalised};
use kadapter_plugin_api::Result;

impl CpuEngine {
    pub(super) fn normalised_with_rest(
        &self,
        x: &CpuTensor,
        residual: Option<&CpuTensor>,
        weight: &CpuParam,
        bias: &CpuParam,
        epsilon: f32,
    ) -> Result<Normalised<CpuTensor>> {
        let [rows, columns] = x.shape();
        let (weight, bias) = (weight.vector_values(columns)?, bias.vector_values(columns)?);
        let (x, residual) = (x.view(), residual.map(CpuTensor::view));
        let (mut out, mut normal, mut scale) =
            (self.fresh(rows, columns)?, self.fresh(rows, columns)?, self.fresh(rows, 1)?);
        let bounds = self.even_blocks(rows, columns);
        let (data, stride) = out.parts();
        let outs = Tiles::new(data, stride, columns, &bounds, columns.max(1));
        let (data, stride) = normal.parts();
        let normals = Tiles::new(data, stride, columns, &bounds, columns.max(1));
        let (data, stride) = scale.parts();
        let scales = Tiles::new(data, stride, 1, &bounds, 1);
        self.run(outs.row_blocks() * outs.column_blocks(), rows * columns * 4, |_, block| {
            self.isa().vectorise(Forward {
                first: outs.rows(block).start,
                x,
                residual,
                weight: &weight,
                bias: &bias,
                epsilon,
                out: outs.take(block, 0),
                normal: normals.take(block, 0),
                scale: scales.take(block, 0),
            });
        });
        Ok(Normalised { out: out.done(), normal: normal.done(), scale: scale.done() })
    }

    pub(super) fn norm_gradients(
        &self,
        gradient: &CpuTensor,
        normal: &CpuTensor,
        scale: &CpuTensor,
        weight: &CpuParam,
        wants: NormWants,
    ) -> Result<NormGradients<CpuTensor>> {
        let [rows, columns] = gradient.shape();
        let weight = weight.vector_values(columns)?;
        let (gradient, normal, scale) = (gradient.view(), normal.view(), scale.view());
        let chunks = rows.div_ceil(CHUNK);
        let mut of_x = self.fresh(if wants.x { rows } else { 0 }, columns)?;
        // Row 2c is chunk c's share of the weight's gradient, row 2c + 1 of the bias's.
        let mut shares = self.fresh(if wants.parameters { 2 * chunks } else { 0 }, columns)?;
        let bounds: Vec<usize> = (0..chunks).map(|chunk| chunk * CHUNK).chain([rows]).collect();
        let share_bounds: Vec<usize> = (0..=chunks).map(|chunk| 2 * chunk).collect();
        {
            let (data, stride) = of_x.parts();
            let x_tiles = wants.x.then(|| Tiles::new(data, stride, columns, &bounds, columns.max(1)));
            let (data, stride) = shares.parts();
            let share_tiles =
                wants.parameters.then(|| Tiles::new(data, stride, columns, &share_bounds, columns.max(1)));
            let units = if columns == 0 { 0 } else { chunks };
            self.run(units, rows * columns * 4, |_, chunk| {
                self.isa().vectorise(Backward {
                    first: bounds[chunk],
                    rows: bounds[chunk + 1] - bounds[chunk],
                    gradient,
                    normal,
                    scale,
                    weight: &weight,
                    of_x: x_tiles.as_ref().map(|tiles| tiles.take(chunk, 0)),
                    shares: share_tiles.as_ref().map(|tiles| tiles.take(chunk, 0)),
                });
            });
        }
        let parameters = if wants.parameters {
            let shares = shares.done();
            let shares = shares.view();
            Some([self.sum_of_shares(shares, 0, 2)?, self.sum_of_shares(shares, 1, 2)?])
        } else {
            None
        };
        Ok(NormGradients { x: wants.x.then(|| of_x.done()), parameters })
    }
}

struct Forward<'a> {
    first: usize,
    x: Rows<'a>,
    residual: Option<Rows<'a>>,
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    out: TileMut<'a>,
    normal: TileMut<'a>,
    scale: TileMut<'a>,
}

impl Vectorised for Forward<'_> {
    type Output = ();

    /// The same arithmetic as in inference, so that both give the same bits.
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let share = 1.0 / self.weight.len() as f32;
        for row in 0..self.out.rows() {
            let (out, normal) = (self.out.row(row), self.normal.row(row));
            match self.residual {
                None => normal.copy_from_slice(self.x.row(self.first + row)),
                Some(residual) => {
                    let pairs = self.x.row(self.first + row).iter().zip(residual.row(self.first + row));
                    for (normal, (&x, &residual)) in normal.iter_mut().zip(pairs) {
                        *normal = x + residual;
                    }
                }
            }
            let mean = math::sum(normal, |sum, x| sum + x) * share;
            let variance = math::sum(normal, |sum, x| math::fma::<FMA>(x - mean, x - mean, sum)) * share;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            self.scale.row(row)[0] = scale;
            for (((out, normal), &weight), &bias) in out.iter_mut().zip(normal).zip(self.weight).zip(self.bias) {
                *normal = (*normal - mean) * scale;
                *out = math::fma::<FMA>(*normal, weight, bias);
            }
        }
    }
}

struct Backward<'a> {
    first: usize,
    rows: usize,
    gradient: Rows<'a>,
    normal: Rows<'a>,
    scale: Rows<'a>,
    weight: &'a [f32],
    of_x: Option<TileMut<'a>>,
    shares: Option<TileMut<'a>>,
}

impl Vectorised for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let share = 1.0 / self.weight.len() as f32;
        if let Some(shares) = &mut self.shares {
            for side in 0..2 {
                shares.row(side).fill(0.0);
            }
        }
        for row in 0..self.rows {
            let (gradient, normal) = (self.gradient.row(self.first + row), self.normal.row(self.first + row));
            if let Some(shares) = &mut self.shares {
                for ((sum, &gradient), &normal) in shares.row(0).iter_mut().zip(gradient).zip(normal) {
                    *sum = math::fma::<FMA>(gradient, normal, *sum);
                }
                for (sum, &gradient) in shares.row(1).iter_mut().zip(gradient) {
                    *sum += gradient;
                }
            }
            if let Some(of_x) = &mut self.of_x {
                let out = of_x.row(row);
                // With g = gradient · weight: scale · (g - mean(g) - normal · mean(g · normal)).
                for ((out, &gradient), &weight) in out.iter_mut().zip(gradient).zip(self.weight) {
                    *out = gradient * weight;
                }
                let mean = math::sum(out, |sum, x| sum + x) * share;
                let tilt = math::dot::<FMA>(out, normal) * share;
                let scale = self.scale.row(self.first + row)[0];
                for (out, &normal) in out.iter_mut().zip(normal) {
                    *out = scale * math::fma::<FMA>(-tilt, normal, *out - mean);
                }
            }
        }
    }
}
