//! What is trained: the fusion's kind, whose features go in, and the head.

use super::batch::Batch;
use super::{Error, Feature};
use crate::parameters::Declared;
use crate::pipeline::Plan;
use crate::pipeline::fusion::{FusionInputs, FusionShape};
use crate::pipeline::network::{Dropouts, Network, NetworkShape, Parameter};
use crate::task::{HeadShape, Kind};
use kadapter_plugin_api::{Engine, Init, Result, Role};
use kadapter_registry::Alias;
use kadapter_registry::package::Fusion;
use serde::Deserialize;

/// `less_taps` of a recipe: which adapters of a stack the head learns from less the sum of their taps ([`Member::Learned`]).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected `true`, `false`, or a list of names of the stack")]
pub enum LessTaps {
    /// All of them, or none.
    All(bool),
    /// These; the others carry no taps to their output (`residual = false`).
    Of(Vec<Alias>),
}

/// A member of a stack, in the order of fusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// The adapter of this name.
    Adapter(String),
    /// What the adapter of this name adds to the sum of its taps, `a - Σ_t h_t`: the paper's network carries the taps through to its
    /// output, where they outweigh what it learned. Only under `blocks`, of which the head undoes it when it is packaged
    /// ([`TrainedHead::packaged`](super::TrainedHead::packaged)).
    Learned {
        /// The adapter.
        name: String,
        /// The adapter's taps, all of them among the fusion's.
        taps: Vec<usize>,
    },
    /// No adapter: a learned mix `Σ_t w_t · h_t` of hidden states stands in its place, the weights starting at 1. Since an untrained
    /// adapter of the paper's network is nearly the sum of its taps, this is the control that says what an adapter adds.
    TapMix {
        /// What the fusion's weights call it.
        name: String,
        /// The hidden states.
        taps: Vec<usize>,
    },
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSpec {
    /// How the features come together.
    pub fusion: Fusion,
    /// Hidden states that the fusion reads beside the last.
    pub taps: Vec<usize>,
    /// The stack.
    pub stack: Vec<Member>,
    /// The head, as the task's kind and options make it.
    pub head: HeadShape,
    /// The kind of task, which decides the loss.
    pub kind: Kind,
    /// Whether CosmosQA's extra layers are part of the fusion.
    pub extra: bool,
    /// The backbone's hidden size.
    pub hidden: usize,
}

impl Default for LessTaps {
    fn default() -> Self {
        Self::All(false)
    }
}

impl LessTaps {
    /// The member that stands for the adapter `of` of a plan, under the name of its features.
    #[must_use]
    pub fn member(&self, name: String, of: &str, plan: &Plan) -> Member {
        if self.is_of(of) { Member::Learned { name, taps: plan.taps_of(of) } } else { Member::Adapter(name) }
    }

    /// Whether it is of the adapter that a manifest calls by this name.
    pub(super) fn is_of(&self, name: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::Of(names) => names.iter().any(|alias| alias.as_str() == name),
        }
    }

    /// A name that is not in the stack.
    #[must_use]
    pub fn stranger(&self, stack: &[Alias]) -> Option<&Alias> {
        match self {
            Self::All(_) => None,
            Self::Of(names) => names.iter().find(|name| !stack.contains(name)),
        }
    }
}

impl Member {
    /// What the fusion's weights call it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Adapter(name) | Self::Learned { name, .. } | Self::TapMix { name, .. } => name,
        }
    }
}

impl HeadSpec {
    /// Refuses taps that the fusion would not read, and members less taps that it does not read.
    ///
    /// # Errors
    /// [`Error::UnreadTaps`], [`Error::Setting`].
    pub fn check(&self) -> std::result::Result<(), Error> {
        for member in &self.stack {
            let Member::Learned { name, taps } = member else { continue };
            if self.fusion != Fusion::Blocks || taps.iter().any(|tap| !self.taps.contains(tap)) {
                let own = (self.fusion, &self.taps);
                return Err(Error::Setting {
                    name: "less_taps",
                    found: format!(
                        "of `{name}`, whose taps are {taps:?}, with fusion `{}` and taps {:?}",
                        own.0, own.1
                    ),
                    expected: "fusion `blocks` with the adapter's taps among its own",
                });
            }
        }
        if self.fusion.mixes_taps() || self.taps.is_empty() {
            return Ok(());
        }
        Err(Error::UnreadTaps { fusion: self.fusion, taps: self.taps.clone() })
    }

    /// Whose features are read.
    #[must_use]
    pub fn features(&self) -> Vec<Feature> {
        let mut features = vec![Feature::Last];
        features.extend(self.taps.iter().map(|&tap| Feature::Tap(tap)));
        for member in &self.stack {
            match member {
                Member::Adapter(name) => features.push(Feature::Adapter(name.clone())),
                Member::Learned { name, taps } => {
                    features.push(Feature::Adapter(name.clone()));
                    features.extend(taps.iter().map(|&tap| Feature::Tap(tap)));
                }
                Member::TapMix { taps, .. } => features.extend(taps.iter().map(|&tap| Feature::Tap(tap))),
            }
        }
        features.sort();
        features.dedup();
        features
    }

    /// The tensors of fusion and head as a package holds them, then those of mixes that stand for adapters.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.with_shape(|shape| shape.parameters());
        for member in &self.stack {
            if let Member::TapMix { name, taps } = member {
                let name = format!("mix.{name}");
                parameters.push(Parameter::new(name, vec![taps.len()], Role::Vector, Init::Constant(1.0)));
            }
        }
        parameters
    }

    /// Names and shapes of the tensors, in the order of training.
    #[must_use]
    pub fn declared(&self) -> Vec<Declared> {
        self.parameters().into_iter().map(|parameter| parameter.declared).collect()
    }

    /// How many numbers are trained.
    #[must_use]
    pub fn size(&self) -> usize {
        let trained = self.declared().into_iter().filter(|declared| !self.is_fixed(&declared.name));
        trained.map(|declared| declared.shape.iter().product::<usize>()).sum()
    }

    /// Columns of a fused row.
    pub(super) fn width(&self) -> usize {
        self.with_shape(|shape| shape.fusion.width())
    }

    /// Whether a parameter is set before training and stays.
    pub(super) fn is_fixed(&self, name: &str) -> bool {
        self.with_shape(|shape| shape.fusion.is_fixed()) && name.starts_with("fusion.")
    }

    /// The network over parameters in the order of [`HeadSpec::parameters`]; `None` when there are too few.
    pub(super) fn network<P>(&self, mut params: impl Iterator<Item = P>) -> Option<HeadNetwork<P>> {
        let network = self.with_shape(|shape| Network::build(&shape, &mut params))?;
        let is_mix = |member: &&Member| matches!(member, Member::TapMix { .. });
        let mixes = self.stack.iter().filter(is_mix).map(|_| params.next()).collect::<Option<_>>()?;
        Some(HeadNetwork { network, mixes })
    }

    fn with_shape<T>(&self, work: impl FnOnce(NetworkShape<'_>) -> T) -> T {
        let names: Vec<String> = self.stack.iter().map(|member| member.name().to_owned()).collect();
        let fusion =
            FusionShape { kind: self.fusion, hidden: self.hidden, names: &names, taps: &self.taps, extra: self.extra };
        work(NetworkShape { fusion, head: self.head })
    }
}

/// The network of a task, and the mixes that stand for adapters in it.
#[derive(Debug)]
pub(super) struct HeadNetwork<P> {
    network: Network<P>,
    mixes: Vec<P>,
}

impl<P> HeadNetwork<P> {
    /// What the head's first layer reads of a batch, `[units, reads · width]`.
    pub(super) fn head_input<E: Engine<Param = P>>(
        &self,
        engine: &E,
        spec: &HeadSpec,
        batch: &Batch<E::Tensor>,
    ) -> Result<E::Tensor> {
        let (last, taps, features) = self.sources(engine, spec, batch)?;
        let inputs = FusionInputs { last: &last, taps: &taps, features: &features };
        self.network.head_input(engine, inputs, batch.units)
    }

    /// Logits `[units, outputs]` of a batch.
    pub(super) fn forward<E: Engine<Param = P>>(
        &self,
        engine: &E,
        spec: &HeadSpec,
        batch: &Batch<E::Tensor>,
        dropouts: Dropouts,
    ) -> Result<E::Tensor> {
        let (last, taps, features) = self.sources(engine, spec, batch)?;
        let inputs = FusionInputs { last: &last, taps: &taps, features: &features };
        self.network.forward(engine, inputs, batch.units, dropouts)
    }

    /// The last hidden state, those at the fusion's taps, and the members' features.
    #[expect(clippy::type_complexity, reason = "three lists of one type")]
    fn sources<E: Engine<Param = P>>(
        &self,
        engine: &E,
        spec: &HeadSpec,
        batch: &Batch<E::Tensor>,
    ) -> Result<(E::Tensor, Vec<E::Tensor>, Vec<E::Tensor>)> {
        let rows = |feature: &Feature| batch.rows(feature);
        let last = rows(&Feature::Last)?;
        let taps = spec.taps.iter().map(|&tap| rows(&Feature::Tap(tap))).collect::<Result<Vec<_>>>()?;
        let mut mixes = self.mixes.iter();
        let mut features = Vec::with_capacity(spec.stack.len());
        for member in &spec.stack {
            features.push(match member {
                Member::Adapter(name) => rows(&Feature::Adapter(name.clone()))?,
                Member::Learned { name, taps } => {
                    let own = rows(&Feature::Adapter(name.clone()))?;
                    taps.iter().try_fold(own, |rest, &tap| {
                        engine.add(&rest, &engine.scale(&rows(&Feature::Tap(tap))?, -1.0)?)
                    })?
                }
                Member::TapMix { taps, .. } => {
                    let missing = || kadapter_plugin_api::Error::new("a mix of hidden states has no weights");
                    mix(engine, mixes.next().ok_or_else(missing)?, spec.hidden, taps, rows)?
                }
            });
        }
        Ok((last, taps, features))
    }
}

/// `Σ_t weights[t] · h_t`.
fn mix<E: Engine>(
    engine: &E,
    weights: &E::Param,
    hidden: usize,
    taps: &[usize],
    rows: impl Fn(&Feature) -> Result<E::Tensor>,
) -> Result<E::Tensor> {
    let weights = engine.parameter(weights)?;
    let ones = engine.from_f32(1, hidden, vec![1.0; hidden])?;
    let mut sum: Option<E::Tensor> = None;
    for (place, &tap) in taps.iter().enumerate() {
        let weight = engine.matmul(&engine.narrow(&weights, place, 1)?, &ones, false)?;
        let part = engine.mul(&rows(&Feature::Tap(tap))?, &weight)?;
        sum = Some(match sum {
            Some(sum) => engine.add(&sum, &part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| kadapter_plugin_api::Error::new("a mix of hidden states has none, expected at least one tap"))
}
