//! An adapter and its objective on the reference engine, with gradients measured by finite differences.

use super::harness::{Harness, Values};
use super::toy::{ToyTokenizer, hidden_state};
use super::{Matrix, Reference};
use crate::abi::TrainerBox;
use crate::random::Random;
use crate::session::{self, Judged};
use crate::{Adapter, Backbone, Batch, Encoded, Entry, Error, Example, Metric, Objective, ParamSpec, Result, Segments};

/// The longest segment that the toy tokenizer allows.
const MAX_TOKENS: usize = 512;
/// By how much values are moved, up and down, to measure a slope.
const STEP: f32 = 0.01;
/// Deviation of what is added to initial values before parameters are looked at, so that those behind one that starts at zero matter.
const STIR: f32 = 0.1;
/// Deviation of what is added to a parameter to see whether the loss moves: a little, and then so much that it shows through rounding
/// where mathematics almost cancels it.
const CHANGES: [f32; 3] = [0.5, 8.0, 64.0];

/// An adapter with its objective, trained through the same boundary as in a real host, without a backbone: words are tokens, and the
/// hidden states are made up from them.
///
/// ```
/// # use kadapter_plugin_api::{prelude::*, reference::TrainingHarness, Entry};
/// # struct Echo(Linear);
/// # impl Adapter for Echo {
/// #     fn build(_: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
/// #         Ok(Self(Linear::new(&params.scope("echo"), backbone.hidden_size(), backbone.hidden_size())?))
/// #     }
/// #     fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> { self.0.forward(cx, &taps[0]) }
/// # }
/// # struct IsQuestion(Linear);
/// # impl Objective for IsQuestion {
/// #     fn build(_: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
/// #         Ok(Self(Linear::new(&params.scope("out"), backbone.hidden_size(), 2)?))
/// #     }
/// #     fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
/// #         let sentence = record.text("text")?;
/// #         let pieces = text.pieces(sentence)?;
/// #         // After the token that opens the segment: the row of the last word.
/// #         let example = Example::new(text.segment(&pieces)?).with_rows([pieces.len()]);
/// #         Ok(Encoded::Example(example.with_targets([i64::from(sentence.ends_with('?'))])))
/// #     }
/// #     fn loss(&self, cx: &Context<'_>, batch: &Batch, _: &Tensor, features: &Tensor) -> Result<Loss> {
/// #         let logits = self.0.forward(cx, &cx.gather(features, batch.rows())?)?;
/// #         Ok(Loss { value: cx.cross_entropy(&logits, batch.targets())?, weight: batch.len() as f64 })
/// #     }
/// #     fn tally(&self, _: &Context<'_>, batch: &Batch, _: &Tensor, _: &Tensor) -> Result<Vec<f64>> {
/// #         Ok(vec![batch.len() as f64])
/// #     }
/// #     fn metrics(&self, _: &[f64]) -> Result<Vec<Metric>> { Ok(vec![]) }
/// # }
/// let mut harness = TrainingHarness::new::<Echo, IsQuestion>([], [], &Backbone::new(4, 2, &[2]))?;
/// let examples = harness.encode_all(&[
///     vec![Entry::text("text", "is it ?")],
///     vec![Entry::text("text", "it is .")],
/// ])?;
/// assert!(harness.idle_parameters(&examples)?.is_empty());
/// let before = harness.loss(&examples)?.0;
/// harness.descend(&examples, 10, 0.5)?;
/// assert!(harness.loss(&examples)?.0 < before / 2.0);
/// # Ok::<(), Error>(())
/// ```
pub struct TrainingHarness {
    adapter: Harness,
    objective: TrainerBox,
    values: Values,
    tokenizer: ToyTokenizer,
    backbone: Backbone,
}

impl std::fmt::Debug for TrainingHarness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TrainingHarness")
            .field("adapter", &self.adapter)
            .field("params", &self.values.specs)
            .finish_non_exhaustive()
    }
}

impl TrainingHarness {
    /// Builds an adapter and an objective, each from its configuration, with their initial values (seed 0).
    ///
    /// # Errors
    /// What a `build` says, its panic, or a configuration key that it does not know.
    pub fn new<A: Adapter, O: Objective>(
        adapter: impl IntoIterator<Item = Entry>,
        objective: impl IntoIterator<Item = Entry>,
        backbone: &Backbone,
    ) -> Result<Self> {
        let adapter = Harness::new::<A>(adapter, backbone)?;
        let (objective, specs) = crate::export::instantiate_objective::<O>(objective, backbone)?;
        let (values, tokenizer) = (Values::initial(specs), ToyTokenizer::new(MAX_TOKENS));
        Ok(Self { adapter, objective, values, tokenizer, backbone: backbone.clone() })
    }

    /// What the objective declared.
    pub fn params(&self) -> &[ParamSpec] {
        &self.values.specs
    }

    /// Sets a parameter of the objective, row-major.
    ///
    /// # Errors
    /// When no parameter has this name or it has another number of values.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.values.set(name, values)
    }

    /// The adapter.
    pub fn adapter(&mut self) -> &mut Harness {
        &mut self.adapter
    }

    /// Turns a record into an example, with whole words as tokens.
    ///
    /// # Errors
    /// What the objective says, its panic, or an example that names a token it does not have.
    pub fn encode(&self, record: &[Entry]) -> Result<Encoded> {
        session::encode(&self.objective, &self.tokenizer, record)
    }

    /// Turns records into examples, none of which may be left out.
    ///
    /// # Errors
    /// As [`TrainingHarness::encode`], and when a record is left out.
    pub fn encode_all(&self, records: &[Vec<Entry>]) -> Result<Vec<Example>> {
        let encode = |(at, record): (usize, &Vec<Entry>)| match self.encode(record)? {
            Encoded::Example(example) | Encoded::Cut(example, _) => Ok(example),
            Encoded::LeftOut(reason) => {
                Err(Error::new(format!("record {at} is left out ({reason}), expected an example")))
            }
        };
        records.iter().enumerate().map(encode).collect()
    }

    /// The loss of these examples as one batch, and its weight.
    ///
    /// # Errors
    /// What the adapter or the objective says, or no example.
    pub fn loss(&self, examples: &[Example]) -> Result<(f32, f64)> {
        self.loss_of(&self.prepare(examples)?)
    }

    /// The tally of these examples as one batch.
    ///
    /// # Errors
    /// As [`TrainingHarness::loss`].
    pub fn tally(&self, examples: &[Example]) -> Result<Vec<f64>> {
        let prepared = self.prepare(examples)?;
        let features = self.adapter.features(&prepared.segments, &prepared.taps)?;
        session::tally(&self.objective, &Reference, &self.values.parameters(), prepared.judged(&features))
    }

    /// What the objective makes of a tally.
    ///
    /// # Errors
    /// What the objective says.
    pub fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        session::metrics(&self.objective, tally)
    }

    /// The parameters, of the adapter and of the objective, that do not move the loss of these examples, once all have values of some
    /// size: training could not change them.
    ///
    /// # Errors
    /// As [`TrainingHarness::loss`].
    pub fn idle_parameters(&mut self, examples: &[Example]) -> Result<Vec<String>> {
        let (prepared, places) = (self.prepare(examples)?, self.places());
        let kept: Vec<Vec<f32>> = places.iter().map(|&(part, index)| self.part(part).get(index).to_vec()).collect();
        let mut idle = Vec::new();
        for (seed, &(part, index)) in (0..).zip(&places) {
            let values = self.part(part);
            values.replace(index, &moved(values.get(index), seed, STIR))?;
        }
        let (before, _) = self.loss_of(&prepared)?;
        for &(part, index) in &places {
            let (stirred, mut moves) = (self.part(part).get(index).to_vec(), false);
            for (seed, change) in (0..).zip(CHANGES) {
                self.part(part).replace(index, &moved(&stirred, seed, change))?;
                moves = self.loss_of(&prepared)?.0.to_bits() != before.to_bits();
                if moves {
                    break;
                }
            }
            self.part(part).replace(index, &stirred)?;
            if !moves {
                idle.push(self.part(part).specs[index].name().to_owned());
            }
        }
        for (&(part, index), kept) in places.iter().zip(&kept) {
            self.part(part).replace(index, kept)?;
        }
        Ok(idle)
    }

    /// Trains adapter and objective for `steps` steps of gradient descent at this rate, with slopes measured by moving each value a
    /// little: for a handful of small parameters only.
    ///
    /// # Errors
    /// As [`TrainingHarness::loss`].
    pub fn descend(&mut self, examples: &[Example], steps: usize, rate: f32) -> Result<()> {
        let prepared = self.prepare(examples)?;
        for _ in 0..steps {
            let mut next = Vec::new();
            for (part, index) in self.places() {
                let kept = self.part(part).get(index).to_vec();
                let mut values = kept.clone();
                for place in 0..kept.len() {
                    let mut moved = kept.clone();
                    moved[place] = kept[place] + STEP;
                    self.part(part).replace(index, &moved)?;
                    let (above, _) = self.loss_of(&prepared)?;
                    moved[place] = kept[place] - STEP;
                    self.part(part).replace(index, &moved)?;
                    let (below, _) = self.loss_of(&prepared)?;
                    values[place] -= rate * (above - below) / (2.0 * STEP);
                }
                self.part(part).replace(index, &kept)?;
                next.push((part, index, values));
            }
            for (part, index, values) in next {
                self.part(part).replace(index, &values)?;
            }
        }
        Ok(())
    }

    /// Every parameter: of which part, and its index there.
    fn places(&mut self) -> Vec<(Part, usize)> {
        let of = |part, count| (0..count).map(move |index| (part, index));
        let (adapter, objective) = (self.adapter.params().len(), self.values.specs.len());
        of(Part::Adapter, adapter).chain(of(Part::Objective, objective)).collect()
    }

    fn part(&mut self, part: Part) -> &mut Values {
        match part {
            Part::Adapter => self.adapter.values(),
            Part::Objective => &mut self.values,
        }
    }

    fn prepare(&self, examples: &[Example]) -> Result<Prepared> {
        let (batch, segments) = Batch::collect(examples)?;
        let tokens: Vec<u32> = examples.iter().flat_map(Example::segments).flatten().copied().collect();
        let state = |state: usize| hidden_state(state, &tokens, &segments, self.backbone.hidden_size());
        let taps = self.backbone.taps().into_iter().map(state).collect();
        let last = if self.objective.reads_last() {
            state(self.backbone.layers())
        } else {
            Matrix { rows: 0, columns: self.backbone.hidden_size(), values: Vec::new().into() }
        };
        Ok(Prepared { last, taps, batch, segments })
    }

    fn loss_of(&self, prepared: &Prepared) -> Result<(f32, f64)> {
        let features = self.adapter.features(&prepared.segments, &prepared.taps)?;
        let judged = prepared.judged(&features);
        let (loss, weight) = session::loss(&self.objective, &Reference, &self.values.parameters(), judged)?;
        Ok((loss.values[0], weight))
    }
}

/// A batch and what the toy backbone makes of it.
struct Prepared {
    batch: Batch,
    segments: Segments,
    taps: Vec<Matrix>,
    last: Matrix,
}

impl Prepared {
    fn judged<'a>(&'a self, features: &'a Matrix) -> Judged<'a, Matrix> {
        Judged { batch: &self.batch, segments: &self.segments, last: &self.last, features }
    }
}

/// Values with normal noise of this deviation.
fn moved(values: &[f32], seed: u64, deviation: f32) -> Vec<f32> {
    let mut random = Random::named(seed, "moved");
    values.iter().map(|value| value + deviation * random.normal() as f32).collect()
}

#[derive(Clone, Copy)]
enum Part {
    Adapter,
    Objective,
}
