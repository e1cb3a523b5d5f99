//! Fusion: how the backbone's features and those of a stack come together (spec section 4), for any number of adapters.

use crate::parameters::Declared;
use crate::tensor::HostEngine;
use kadapter_plugin_api::{Activation, Result, Role};
use kadapter_registry::package;

/// A fusion on a device. With `x` the last hidden state and `a_i` the adapters' features, all `[rows, hidden]`:
///
/// ```text
/// concat, no adapter      x
/// concat, one adapter     per_0([x; a_0])
/// concat, several         out([per_0([x; a_0]); per_1([x; a_1]); …])
/// add                     x + a_0 + a_1 + …
/// side by side            [x; a_0; a_1; …]                              (features without a head)
/// ```
///
/// CosmosQA's official code puts another layer before `per_i`: `a_i` becomes `extra_i([x; a_i])`, and in `add` it adds `x` once more
/// per adapter (spec section 7, quirk 13).
#[derive(Debug)]
pub(super) enum Fusion<P> {
    Concat { per_adapter: Vec<PerAdapter<P>>, out: Option<Affine<P>> },
    Add { repeat_backbone: bool },
    SideBySide,
}

/// A linear layer of a fusion or head.
#[derive(Debug)]
pub(super) struct Affine<P> {
    pub(super) weight: P,
    pub(super) bias: P,
}

#[derive(Debug)]
pub(super) struct PerAdapter<P> {
    extra: Option<Affine<P>>,
    dense: Affine<P>,
}

/// What a fusion is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct FusionShape<'a> {
    pub(super) kind: package::Fusion,
    pub(super) hidden: usize,
    /// The stack in the names that the weights use.
    pub(super) names: &'a [String],
    /// Whether the official CosmosQA layers are there, or in `add` its repeated backbone.
    pub(super) extra: bool,
}

impl FusionShape<'_> {
    /// The tensors of the fusion, in the order that [`Fusion::build`] takes them.
    pub(super) fn declared(&self) -> Vec<Declared> {
        if self.kind == package::Fusion::Add {
            return Vec::new();
        }
        let mut declared = Vec::new();
        for name in self.names {
            if self.extra {
                declare(&mut declared, &format!("fusion.{name}.extra"), self.hidden, 2 * self.hidden);
            }
            declare(&mut declared, &format!("fusion.{name}"), self.hidden, 2 * self.hidden);
        }
        if self.names.len() > 1 {
            declare(&mut declared, "fusion.out", self.hidden, self.names.len() * self.hidden);
        }
        declared
    }
}

/// Declares `name.weight [outputs, inputs]` and `name.bias [outputs]`.
pub(super) fn declare(declared: &mut Vec<Declared>, name: &str, outputs: usize, inputs: usize) {
    declared.push(Declared { name: format!("{name}.weight"), shape: vec![outputs, inputs], role: Role::LinearWeight });
    declared.push(Declared { name: format!("{name}.bias"), shape: vec![outputs], role: Role::Vector });
}

/// Takes the next two parameters as a linear layer.
pub(super) fn take<P>(params: &mut impl Iterator<Item = P>) -> Option<Affine<P>> {
    Some(Affine { weight: params.next()?, bias: params.next()? })
}

/// `activation(x · weightᵀ + bias)`.
pub(super) fn affine<E: HostEngine>(
    engine: &E,
    x: &E::Tensor,
    layer: &Affine<E::Param>,
    activation: Activation,
) -> Result<E::Tensor> {
    engine.linear(x, &layer.weight, Some(&layer.bias), activation)
}

impl<P> Fusion<P> {
    /// Puts the parameters, in the order of [`FusionShape::declared`], in their places; `None` when there are too few.
    pub(super) fn build(shape: &FusionShape<'_>, params: &mut impl Iterator<Item = P>) -> Option<Self> {
        if shape.kind == package::Fusion::Add {
            return Some(Self::Add { repeat_backbone: shape.extra });
        }
        let mut per_adapter = Vec::with_capacity(shape.names.len());
        for _ in shape.names {
            let extra = if shape.extra { Some(take(params)?) } else { None };
            per_adapter.push(PerAdapter { extra, dense: take(params)? });
        }
        let out = if shape.names.len() > 1 { Some(take(params)?) } else { None };
        Some(Self::Concat { per_adapter, out })
    }

    /// Fuses rows: `x` and each of `features` are `[rows, hidden]`.
    pub(super) fn forward<E: HostEngine<Param = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        features: &[E::Tensor],
    ) -> Result<E::Tensor> {
        match self {
            Self::Add { repeat_backbone } => features.iter().try_fold(x.clone(), |sum, features| {
                let sum = if *repeat_backbone { engine.add(&sum, x)? } else { sum };
                engine.add(&sum, features)
            }),
            Self::SideBySide => engine.concat(&std::iter::once(x).chain(features).collect::<Vec<_>>()),
            Self::Concat { per_adapter, out } => {
                let mut parts = Vec::with_capacity(features.len());
                for (layers, features) in per_adapter.iter().zip(features) {
                    let mut pair = engine.concat(&[x, features])?;
                    if let Some(extra) = &layers.extra {
                        pair = engine.concat(&[x, &affine(engine, &pair, extra, Activation::Identity)?])?;
                    }
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
        }
    }
}
