//! Every op as a function of parameters, generic over the engine, so that the tape, the reference and the inference engines compute
//! the same thing.

use super::*;
use kadapter_plugin_api::{Activation, Result};

/// Rows of [`segments`].
pub(super) const ROWS: usize = 62;

/// An op with the shapes of its parameters.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) shapes: Vec<Vec<usize>>,
    /// Whether a slope may jump within a small step.
    pub(super) kinked: bool,
    of: Op,
}

enum Op {
    Parameter,
    Linear { activation: Activation, bias: bool },
    Matmul { transposed: bool },
    Add,
    Mul,
    Scale,
    Activation(Activation),
    Log,
    LayerNorm,
    AddLayerNorm,
    Attention { hidden: bool, even: bool },
    Concat,
    Narrow,
    Gather,
    SegmentMean,
    SegmentMatmul { even: bool },
    Softmax,
    LogSoftmax,
    Embedding,
    CrossEntropy,
    BinaryCrossEntropy,
    SquaredError,
    Several,
}

/// All ops.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, shapes: &[&[usize]], of: Op| {
        cases.push(Case {
            name: name.into(),
            shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
            kinked: name.contains("Relu"),
            of,
        });
    };
    case("parameter", &[&[3, 5]], Op::Parameter);
    for code in 0..=6 {
        let activation = Activation::from_code(code).unwrap();
        case(&format!("linear {activation:?}"), &[&[29, 37], &[70, 37], &[70]], Op::Linear { activation, bias: true });
        case(&format!("activation {activation:?}"), &[&[5, 33]], Op::Activation(activation));
    }
    let plain = Op::Linear { activation: Activation::Identity, bias: false };
    case("linear without bias", &[&[300, 3], &[5, 3]], plain);
    case("matmul", &[&[7, 18], &[18, 35]], Op::Matmul { transposed: false });
    case("matmul transposed", &[&[7, 18], &[35, 18]], Op::Matmul { transposed: true });
    case("add", &[&[4, 33], &[4, 33]], Op::Add);
    case("add a row", &[&[4, 33], &[1, 33]], Op::Add);
    case("mul", &[&[4, 33], &[4, 33]], Op::Mul);
    case("mul a row", &[&[4, 33], &[1, 33]], Op::Mul);
    case("scale", &[&[4, 33]], Op::Scale);
    case("log", &[&[4, 33]], Op::Log);
    case("layer_norm", &[&[70, 33], &[33], &[33]], Op::LayerNorm);
    case("add_layer_norm", &[&[7, 64], &[7, 64], &[64], &[64]], Op::AddLayerNorm);
    let rows: &[usize] = &[ROWS, 24];
    case("attention", &[rows, rows, rows], Op::Attention { hidden: false, even: false });
    case("attention with hidden rows", &[rows, rows, rows], Op::Attention { hidden: true, even: false });
    case("attention of equal segments", &[rows, rows, rows], Op::Attention { hidden: false, even: true });
    case("concat", &[&[6, 3], &[6, 17], &[6, 1]], Op::Concat);
    case("narrow", &[&[6, 40]], Op::Narrow);
    case("gather", &[&[6, 300]], Op::Gather);
    case("segment_mean", &[rows], Op::SegmentMean);
    case("segment_matmul", &[rows, rows], Op::SegmentMatmul { even: false });
    case("segment_matmul of equal segments", &[rows, rows], Op::SegmentMatmul { even: true });
    case("softmax", &[&[5, 41]], Op::Softmax);
    case("log_softmax", &[&[5, 41]], Op::LogSoftmax);
    case("embedding", &[&[9, 20]], Op::Embedding);
    case("cross_entropy", &[&[5, 40]], Op::CrossEntropy);
    case("bce_with_logits", &[&[5, 20], &[5, 20]], Op::BinaryCrossEntropy);
    case("mse", &[&[5, 20], &[5, 20]], Op::SquaredError);
    case("one thing used several times", &[&[6, 12], &[12, 12]], Op::Several);
    cases
}

impl Case {
    /// The op of the parameters.
    pub(super) fn compute<G: Engine>(&self, g: &G, p: &[G::Param]) -> Result<G::Tensor> {
        let x = |place: usize| g.parameter(&p[place]);
        let even = || Segments::new([31, 31]);
        match self.of {
            Op::Parameter => x(0),
            Op::Linear { activation, bias } => g.linear(&x(0)?, &p[1], bias.then(|| &p[2]), activation),
            Op::Matmul { transposed } => g.matmul(&x(0)?, &x(1)?, transposed),
            Op::Add => g.add(&x(0)?, &x(1)?),
            Op::Mul => g.mul(&x(0)?, &x(1)?),
            Op::Scale => g.scale(&x(0)?, -2.5),
            Op::Activation(activation) => g.activation(&g.scale(&x(0)?, 3.0)?, activation),
            Op::Log => {
                let x = x(0)?;
                let half = g.from_f32(1, 33, vec![0.5; 33])?;
                g.log(&g.add(&g.mul(&x, &x)?, &half)?)
            }
            Op::LayerNorm => g.layer_norm(&x(0)?, &p[1], &p[2], 1e-5),
            Op::AddLayerNorm => g.add_layer_norm(&x(0)?, &x(1)?, &p[2], &p[3], 1e-5),
            Op::Attention { hidden, even: same } => {
                let segments = if same { even()? } else { segments(hidden) };
                g.attention(&g.scale(&x(0)?, 2.0)?, &x(1)?, &x(2)?, 3, &segments)
            }
            Op::Concat => g.concat(&[&x(0)?, &x(1)?, &x(2)?, &x(0)?]),
            Op::Narrow => {
                let x = x(0)?;
                g.add(&g.narrow(&x, 3, 20)?, &g.narrow(&x, 20, 20)?)
            }
            Op::Gather => g.gather(&x(0)?, &[5, 0, 0, 2, 5, 5, 0, 0, 0, 0, 0, 0, 0]),
            Op::SegmentMean => g.segment_mean(&x(0)?, &segments(false)),
            Op::SegmentMatmul { even: same } => {
                let segments = if same { even()? } else { segments(false) };
                g.softmax(&g.segment_matmul(&x(0)?, &x(1)?, &segments)?)
            }
            Op::Softmax => g.softmax(&x(0)?),
            Op::LogSoftmax => g.log_softmax(&x(0)?),
            Op::Embedding => g.embedding(&p[0], &[8, 0, 8, 3]),
            Op::CrossEntropy => g.cross_entropy(&x(0)?, &[39, -100, 0, 7, -1]),
            Op::BinaryCrossEntropy => g.bce_with_logits(&x(0)?, &x(1)?),
            Op::SquaredError => g.mse(&x(0)?, &x(1)?),
            Op::Several => {
                let (x, weight) = (x(0)?, x(1)?);
                let once = g.linear(&x, &p[1], None, Activation::Tanh)?;
                let twice = g.linear(&once, &p[1], None, Activation::GeluErf)?;
                g.add(&g.add(&g.matmul(&twice, &weight, false)?, &x)?, &once)
            }
        }
    }

    /// Values for the parameters.
    pub(super) fn values(&self) -> Vec<Vec<f32>> {
        let mut values = Values(self.name.len() as u64);
        self.shapes.iter().map(|shape| values.take(shape.iter().product())).collect()
    }
}
