//! The network of K-Adapter (arXiv 2002.01808, section 3.1; official code `fac-adapter.py`), written once for every plugin that
//! trains it on its own kind of knowledge.
//!
//! One adapter layer per tap: `down` to the adapter's size, a few post-norm transformer layers, `up` again, and a residual over all
//! of it. The layers form a chain: each reads its tap plus what the layer before gave.
//!
//! ```text
//! s = 0
//! for i in taps:  u = tap[i] + s;  s = u + up(layers(down(u)))
//! ```
//!
//! The features are the last `s`: everything that was added, and the sum of all taps with it. With `residual = false` they are what was
//! added alone; the chain inside is the same.
#![forbid(unsafe_code)]

pub mod head;
mod transformer;

use kadapter_plugin_api::{Backbone, Config, Context, Error, Init, Linear, Params, Result, Tensor};
use transformer::{Shape, Start, TransformerLayer};

/// Standard deviation that the official code draws the projections from.
const PROJECTION_DEVIATION: f32 = 0.0002;

/// The network: configuration keys, parameter names and numbers as in the official code.
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `size` | width inside the adapter | required |
/// | `heads` | attention heads, dividing `size` | required |
/// | `ffn` | width of the feed-forward part | 4 · `size` |
/// | `layers` | transformer layers per tap | 2 |
/// | `layer_norm_eps` | added to the variance | 1e-5 |
/// | `dropout` | on attention probabilities and on attention and feed-forward outputs, in training | 0.1 |
/// | `init` | how the transformer layers start: `torch` (the official code leaves PyTorch's default) or `bert` | `torch` |
/// | `residual` | whether the features carry the taps that the chain added up; without, they are what the layers added | true |
/// | `skip` | the official `adapter_skip_layers`: after every `skip`-th adapter layer an earlier state is added; 0 is off | 0 |
#[derive(Debug)]
pub struct KAdapter {
    layers: Vec<AdapterLayer>,
    skip: usize,
    residual: bool,
}

#[derive(Debug)]
struct AdapterLayer {
    down: Linear,
    encoder: Vec<TransformerLayer>,
    up: Linear,
}

impl KAdapter {
    /// Declares the parameters `adapter.{tap}.down_project`, `.encoder.layer.{j}…` and `.up_project`.
    ///
    /// # Errors
    /// When a configuration key is missing or out of range, or the skip rule would read a state that does not exist yet.
    pub fn build(config: &Config, backbone: &Backbone, params: &Params) -> Result<Self> {
        let size = config.size("size")?;
        let heads = config.size("heads")?;
        if size % heads != 0 {
            return Err(Error::config(format!("`heads` is {heads}, expected a number that divides `size` {size}")));
        }
        let ffn = config.size_or("ffn", size.saturating_mul(4))?;
        let depth = config.size_or("layers", 2)?;
        let epsilon = config.number_or("layer_norm_eps", 1e-5)?;
        if epsilon <= 0.0 {
            return Err(Error::config(format!("`layer_norm_eps` is {epsilon}, expected a number above 0")));
        }
        let dropout = head::dropout(config, 0.1)?;
        let start = match config.text_or("init", "torch")?.as_str() {
            "torch" => Start::Torch,
            "bert" => Start::Bert,
            other => return Err(Error::config(format!("`init` is `{other}`, expected `torch` or `bert`"))),
        };
        let skip = match config.integer_or("skip", 0)? {
            // After the first layer only one state exists, and the rule asks for the second.
            1 => {
                return Err(Error::config(
                    "`skip` is 1, which reads a state before it exists; expected 0 (off) or at least 2",
                ));
            }
            skip => usize::try_from(skip)
                .map_err(|_| Error::config(format!("`skip` is {skip}, expected 0 or at least 2")))?,
        };
        let residual = config.boolean_or("residual", true)?;
        let projection = Init::Normal(PROJECTION_DEVIATION);
        let hidden = backbone.hidden_size();
        #[expect(clippy::cast_possible_truncation, reason = "it is small and computed with in f32")]
        let shape = Shape { size, heads, ffn, epsilon: epsilon as f32, dropout, start };
        let layer = |index: usize| -> Result<AdapterLayer> {
            let params = params.scope("adapter").scope(index);
            let (down, up) = (params.scope("down_project"), params.scope("up_project"));
            Ok(AdapterLayer {
                down: Linear::with_init(&down, hidden, size, projection, Init::Constant(0.0))?,
                encoder: (0..depth)
                    .map(|layer| TransformerLayer::new(&params.scope("encoder.layer").scope(layer), shape))
                    .collect::<Result<_>>()?,
                up: Linear::with_init(&up, size, hidden, projection, Init::Constant(0.0))?,
            })
        };
        Ok(Self { layers: (0..backbone.taps().len()).map(layer).collect::<Result<_>>()?, skip, residual })
    }

    /// The last adapter layer's output, `[rows, hidden size]`, from one tap per adapter layer.
    ///
    /// # Errors
    /// What an op says.
    pub fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        let mut chain = Chain { state: None, added: None };
        let mut kept: Vec<Chain> = Vec::with_capacity(self.layers.len());
        for (tap, layer) in taps.iter().zip(&self.layers) {
            let input = sum(cx, chain.state.as_ref(), tap)?;
            let added = layer.forward(cx, &input)?;
            chain.state = Some(cx.add(&input, &added)?);
            if !self.residual {
                chain.added = Some(sum(cx, chain.added.as_ref(), &added)?);
            }
            if self.skip > 0 {
                kept.push(chain.clone());
                // `kept[c/n]` with a zero-based list: as published, one off from a residual to the group before.
                if kept.len().is_multiple_of(self.skip) {
                    chain = chain.and(cx, &kept[kept.len() / self.skip])?;
                }
            }
        }
        let features = if self.residual { chain.state } else { chain.added };
        features.ok_or_else(|| Error::config("no taps, expected at least one"))
    }
}

/// The state of the chain, and of it what the layers added where that is asked for.
#[derive(Clone)]
struct Chain {
    state: Option<Tensor>,
    added: Option<Tensor>,
}

impl Chain {
    fn and(&self, cx: &Context<'_>, other: &Self) -> Result<Self> {
        let both = |one: &Option<Tensor>, other: &Option<Tensor>| match (one, other) {
            (one, Some(other)) => sum(cx, one.as_ref(), other).map(Some),
            (one, None) => Ok(one.clone()),
        };
        Ok(Self { state: both(&self.state, &other.state)?, added: both(&self.added, &other.added)? })
    }
}

/// `tensor`, on top of what is there already.
fn sum(cx: &Context<'_>, before: Option<&Tensor>, tensor: &Tensor) -> Result<Tensor> {
    match before {
        // The order of the official code, whose sums these are to the last bit.
        Some(before) => cx.add(tensor, before),
        None => Ok(tensor.clone()),
    }
}

impl AdapterLayer {
    /// What the layer adds to its input.
    fn forward(&self, cx: &Context<'_>, input: &Tensor) -> Result<Tensor> {
        let mut state = self.down.forward(cx, input)?;
        for layer in &self.encoder {
            state = layer.forward(cx, &state)?;
        }
        self.up.forward(cx, &state)
    }
}
