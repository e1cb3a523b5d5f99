//! Fusion: how the backbone's features and those of a stack come together (spec section 4), for any number of adapters.
//!
//! Written once over [`Engine`]: the pipeline runs it, training records it.

use super::network::{Affine, Parameter, affine, drop_out, take};
use kadapter_plugin_api::{Activation, Engine, Init, Result, Role};
use kadapter_registry::package;

/// Added to the variance of what the gated fusion normalises; that of RoBERTa.
pub(crate) const EPSILON: f32 = 1e-5;

/// A fusion on a device. With `x` the last hidden state, `h_t` the hidden states at the variant's taps and `a_i` the adapters'
/// features, all `[rows, hidden]`, and `N` layer normalisation with a gain and a bias of its own wherever it stands:
///
/// ```text
/// concat, no adapter      x
/// concat, one adapter     per_0([x; a_0])
/// concat, several         out([per_0([x; a_0]); per_1([x; a_1]); …])
/// add                     x + a_0 + a_1 + …
/// gated                   N(x) + Σ_t N(h_t) + Σ_i gate_i ⊙ per_i(N(a_i))
/// blocks                  [S(x); S(h_t); …; S(a_i); …]                  S(u) = scale ⊙ u + shift, a pair of its own for each block
/// side by side            [x; h_t; …; a_0; a_1; …]                      (features without a head)
/// ```
///
/// CosmosQA's official code puts another layer before `per_i`: `a_i` becomes `extra_i([x; a_i])`, and in `add` it adds `x` once more
/// per adapter (spec section 7, quirk 13).
///
/// **Gated** starts as what the backbone knows by itself and lets each adapter in as far as that helps. The sum over hidden states is
/// ELMo's mix of layers (Peters et al. 2018, equation 1) with a weight per column, the gains of the norms, which start at one over
/// the number of states. The gates start at zero, so that an adapter is silent until its features are found useful (ReZero,
/// Bachlechner et al. 2021; LayerScale, Touvron et al. 2021). Norms make features of any scale alike: an adapter's are several
/// times as large as the backbone's. Per adapter it has `hidden² + 4 · hidden` parameters, against `2 · hidden²` and more in
/// `concat`.
///
/// **Blocks** leaves all learning to the head, which reads every column of every source: with a head of one layer that is a linear
/// model over all that is known of a token, the strongest and steadiest where there is little data. Its scales and shifts are not
/// trained: they even the columns out over the training data, and a factor in an adapter's scales says how far it is let in, since
/// weight decay costs a column the more the smaller it is. Nothing bends, so it folds into the head.
#[derive(Debug)]
pub(crate) enum Fusion<P> {
    /// See [`Fusion`].
    Concat { per_adapter: Vec<PerAdapter<P>>, out: Option<Affine<P>> },
    /// See [`Fusion`].
    Add { repeat_backbone: bool },
    /// See [`Fusion`].
    Gated { last: Affine<P>, taps: Vec<Affine<P>>, per_adapter: Vec<Gated<P>> },
    /// See [`Fusion`].
    Blocks { last: Affine<P>, taps: Vec<Affine<P>>, per_adapter: Vec<Affine<P>> },
    /// See [`Fusion`].
    SideBySide,
}

/// An adapter's layers under `concat`.
#[derive(Debug)]
pub(crate) struct PerAdapter<P> {
    extra: Option<Affine<P>>,
    dense: Affine<P>,
}

/// An adapter's layers under `gated`.
#[derive(Debug)]
pub(crate) struct Gated<P> {
    /// Gain and bias of its norm.
    norm: Affine<P>,
    dense: Affine<P>,
    gate: P,
}

/// What a fusion is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FusionShape<'a> {
    pub(crate) kind: package::Fusion,
    pub(crate) hidden: usize,
    /// The stack in the names that the weights use.
    pub(crate) names: &'a [String],
    /// Hidden states that are read beside the last.
    pub(crate) taps: &'a [usize],
    /// Whether the official CosmosQA layers are there, or in `add` its repeated backbone.
    pub(crate) extra: bool,
}

/// What a fusion reads, each `[rows, hidden]`.
#[derive(Debug)]
pub(crate) struct FusionInputs<'a, T> {
    /// The last hidden state.
    pub(crate) last: &'a T,
    /// The hidden states at the fusion's taps, in its order.
    pub(crate) taps: &'a [T],
    /// The adapters' features, in the stack's order.
    pub(crate) features: &'a [T],
}

impl<T> Clone for FusionInputs<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for FusionInputs<'_, T> {}

impl FusionShape<'_> {
    /// Whether no norm and no activation stands in it.
    pub(super) fn is_affine(&self) -> bool {
        match self.kind {
            package::Fusion::Concat | package::Fusion::Add | package::Fusion::Blocks => true,
            package::Fusion::Gated => false,
        }
    }

    /// Columns of a fused row.
    pub(crate) fn width(&self) -> usize {
        match self.kind {
            package::Fusion::Concat | package::Fusion::Add | package::Fusion::Gated => self.hidden,
            package::Fusion::Blocks => (1 + self.taps.len() + self.names.len()) * self.hidden,
        }
    }

    /// Whether its parameters are set before training and stay.
    pub(crate) fn is_fixed(&self) -> bool {
        self.kind == package::Fusion::Blocks
    }

    /// The tensors of the fusion, in the order that [`Fusion::build`] takes them.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        match self.kind {
            package::Fusion::Add => {}
            package::Fusion::Concat => {
                for name in self.names {
                    if self.extra {
                        Parameter::linear(
                            &mut parameters,
                            &format!("fusion.{name}.extra"),
                            self.hidden,
                            2 * self.hidden,
                        );
                    }
                    Parameter::linear(&mut parameters, &format!("fusion.{name}"), self.hidden, 2 * self.hidden);
                }
                if self.names.len() > 1 {
                    Parameter::linear(&mut parameters, "fusion.out", self.hidden, self.names.len() * self.hidden);
                }
            }
            package::Fusion::Gated => {
                #[expect(clippy::cast_precision_loss, reason = "a backbone has few layers")]
                let share = 1.0 / (1 + self.taps.len()) as f32;
                Parameter::norm(&mut parameters, "fusion.states.last.LayerNorm", self.hidden, share);
                for tap in self.taps {
                    Parameter::norm(&mut parameters, &format!("fusion.states.{tap}.LayerNorm"), self.hidden, share);
                }
                for name in self.names {
                    Parameter::norm(&mut parameters, &format!("fusion.{name}.LayerNorm"), self.hidden, 1.0);
                    Parameter::linear(&mut parameters, &format!("fusion.{name}"), self.hidden, self.hidden);
                    let gate = format!("fusion.{name}.gate");
                    parameters.push(Parameter::new(gate, vec![self.hidden], Role::Vector, Init::Constant(0.0)));
                }
            }
            package::Fusion::Blocks => {
                let taps = self.taps.iter().map(|tap| format!("fusion.states.{tap}"));
                let names = self.names.iter().map(|name| format!("fusion.{name}"));
                for name in std::iter::once("fusion.states.last".to_owned()).chain(taps).chain(names) {
                    Parameter::norm(&mut parameters, &name, self.hidden, 1.0);
                }
            }
        }
        parameters
    }
}

impl<P> Fusion<P> {
    /// Puts the parameters, in the order of [`FusionShape::parameters`], in their places; `None` when there are too few.
    pub(super) fn build(shape: &FusionShape<'_>, params: &mut impl Iterator<Item = P>) -> Option<Self> {
        Some(match shape.kind {
            package::Fusion::Add => Self::Add { repeat_backbone: shape.extra },
            package::Fusion::Concat => {
                let mut per_adapter = Vec::with_capacity(shape.names.len());
                for _ in shape.names {
                    let extra = if shape.extra { Some(take(params)?) } else { None };
                    per_adapter.push(PerAdapter { extra, dense: take(params)? });
                }
                let out = if shape.names.len() > 1 { Some(take(params)?) } else { None };
                Self::Concat { per_adapter, out }
            }
            package::Fusion::Gated => {
                let last = take(params)?;
                let taps = shape.taps.iter().map(|_| take(params)).collect::<Option<_>>()?;
                let mut gated = || Some(Gated { norm: take(params)?, dense: take(params)?, gate: params.next()? });
                let per_adapter = shape.names.iter().map(|_| gated()).collect::<Option<_>>()?;
                Self::Gated { last, taps, per_adapter }
            }
            package::Fusion::Blocks => {
                let last = take(params)?;
                let taps = shape.taps.iter().map(|_| take(params)).collect::<Option<_>>()?;
                let per_adapter = shape.names.iter().map(|_| take(params)).collect::<Option<_>>()?;
                Self::Blocks { last, taps, per_adapter }
            }
        })
    }

    /// Fuses rows. What goes into layers of its own is dropped out with this probability in training.
    pub(super) fn forward<E: Engine<Param = P>>(
        &self,
        engine: &E,
        inputs: FusionInputs<'_, E::Tensor>,
        dropout: f32,
    ) -> Result<E::Tensor> {
        let FusionInputs { last: x, taps, features } = inputs;
        match self {
            Self::Add { repeat_backbone } => features.iter().try_fold(x.clone(), |sum, features| {
                let sum = if *repeat_backbone { engine.add(&sum, x)? } else { sum };
                engine.add(&sum, features)
            }),
            Self::SideBySide => engine.concat(&std::iter::once(x).chain(taps).chain(features).collect::<Vec<_>>()),
            Self::Blocks { last, taps: of_taps, per_adapter } => {
                let layers = std::iter::once(last).chain(of_taps).chain(per_adapter);
                let sources = std::iter::once(x).chain(taps).chain(features);
                let blocks = layers.zip(sources).map(|(layer, source)| {
                    let scaled = engine.mul(source, &engine.parameter(&layer.weight)?)?;
                    drop_out(engine, engine.add(&scaled, &engine.parameter(&layer.bias)?)?, dropout)
                });
                let blocks = blocks.collect::<Result<Vec<_>>>()?;
                engine.concat(&blocks.iter().collect::<Vec<_>>())
            }
            Self::Concat { per_adapter, out } => {
                let mut parts = Vec::with_capacity(features.len());
                for (layers, features) in per_adapter.iter().zip(features) {
                    let mut pair = engine.concat(&[x, features])?;
                    if let Some(extra) = &layers.extra {
                        pair = engine.concat(&[x, &affine(engine, &pair, extra, Activation::Identity)?])?;
                    }
                    let pair = drop_out(engine, pair, dropout)?;
                    parts.push(affine(engine, &pair, &layers.dense, Activation::Identity)?);
                }
                match (out, parts.as_slice()) {
                    (Some(out), parts) => {
                        affine(engine, &engine.concat(&parts.iter().collect::<Vec<_>>())?, out, Activation::Identity)
                    }
                    (None, [only]) => Ok(only.clone()),
                    (None, _) => Ok(x.clone()),
                }
            }
            Self::Gated { last, taps: norms, per_adapter } => {
                let mut sum = normalise(engine, x, last)?;
                for (norm, state) in norms.iter().zip(taps) {
                    sum = engine.add(&sum, &normalise(engine, state, norm)?)?;
                }
                for (layers, features) in per_adapter.iter().zip(features) {
                    let normal = drop_out(engine, normalise(engine, features, &layers.norm)?, dropout)?;
                    let own = affine(engine, &normal, &layers.dense, Activation::Identity)?;
                    sum = engine.add(&sum, &engine.mul(&own, &engine.parameter(&layers.gate)?)?)?;
                }
                Ok(sum)
            }
        }
    }
}

fn normalise<E: Engine>(engine: &E, x: &E::Tensor, norm: &Affine<E::Param>) -> Result<E::Tensor> {
    engine.layer_norm(x, &norm.weight, &norm.bias, EPSILON)
}
