//! What the heads that train an adapter have in common: what they read, how long a segment may be, which class they choose.

use kadapter_plugin_api::{Config, Context, Error, LayerNorm, Params, Result, Tensor, Text};

/// What a head reads of every row (`inputs` in the configuration of an objective).
#[derive(Debug)]
pub enum HeadInput {
    /// The backbone's last hidden state beside the adapter's features: the official code.
    Both,
    /// The features alone: what the head needs has to come through the adapter.
    Features,
    /// The features alone, each row normalised: features that start close to zero (`residual = false`) are seen from the first step.
    Normalized(LayerNorm),
}

const EPSILON: f32 = 1e-5;

impl HeadInput {
    /// Reads `inputs`: `both` (the default), `features` or `normalized`, which declares `input_norm`.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn build(config: &Config, hidden_size: usize, params: &Params) -> Result<Self> {
        match config.text_or("inputs", "both")?.as_str() {
            "both" => Ok(Self::Both),
            "features" => Ok(Self::Features),
            "normalized" => LayerNorm::new(&params.scope("input_norm"), hidden_size, EPSILON).map(Self::Normalized),
            other => Err(Error::config(format!("`inputs` is `{other}`, expected `both`, `features` or `normalized`"))),
        }
    }

    /// Whether the last hidden state is part of it.
    pub fn reads_last(&self) -> bool {
        matches!(self, Self::Both)
    }

    /// Columns of what is read.
    pub fn columns(&self, hidden_size: usize) -> usize {
        match self {
            Self::Both => hidden_size.saturating_mul(2),
            Self::Features | Self::Normalized(_) => hidden_size,
        }
    }

    /// Every row, `[rows, columns]`.
    ///
    /// # Errors
    /// What an op says.
    pub fn read(&self, cx: &Context<'_>, last: &Tensor, features: &Tensor) -> Result<Tensor> {
        match self {
            Self::Both => cx.concat(&[last, features]),
            Self::Features => Ok(features.clone()),
            Self::Normalized(norm) => norm.forward(cx, features),
        }
    }

    /// The named rows alone, `[rows.len(), columns]`.
    ///
    /// # Errors
    /// What an op says.
    pub fn read_rows(&self, cx: &Context<'_>, last: &Tensor, features: &Tensor, rows: &[u32]) -> Result<Tensor> {
        let features = cx.gather(features, rows)?;
        match self {
            Self::Both => self.read(cx, &cx.gather(last, rows)?, &features),
            Self::Features | Self::Normalized(_) => self.read(cx, last, &features),
        }
    }
}

/// The most tokens that a segment has (`max_length` in the configuration of an objective), special tokens included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLength(usize);

/// What the paper's scripts use.
const MAX_LENGTH: usize = 64;
/// A token of text between those that open and close a segment.
const LEAST: usize = 3;

impl MaxLength {
    /// Reads `max_length`, by default 64.
    ///
    /// # Errors
    /// When it is below 3.
    pub fn from_config(config: &Config) -> Result<Self> {
        let length = config.size_or("max_length", MAX_LENGTH)?;
        if length < LEAST {
            return Err(Error::config(format!("`max_length` is {length}, expected at least {LEAST}")));
        }
        Ok(Self(length))
    }

    /// The number itself.
    pub fn get(self) -> usize {
        self.0
    }

    /// The number, which the backbone has to take.
    ///
    /// # Errors
    /// When the backbone takes fewer tokens.
    pub fn checked(self, text: &Text<'_>) -> Result<usize> {
        if self.0 <= text.max_tokens() {
            Ok(self.0)
        } else {
            Err(Error::config(format!(
                "`max_length` is {}, expected at most the {} tokens that the backbone takes",
                self.0,
                text.max_tokens()
            )))
        }
    }
}

/// Reads `dropout`, a probability.
///
/// # Errors
/// When it is not at least 0 and below 1.
pub fn dropout(config: &Config, default: f64) -> Result<f32> {
    let dropout = config.number_or("dropout", default)?;
    if (0.0..1.0).contains(&dropout) {
        #[expect(clippy::cast_possible_truncation, reason = "a probability is computed with in f32")]
        Ok(dropout as f32)
    } else {
        Err(Error::config(format!("`dropout` is {dropout}, expected at least 0 and below 1")))
    }
}

/// The column of the largest value of every row, the first of equals; a row of nothing but NaN gives 0.
pub fn choices(values: &[f32], columns: usize) -> impl Iterator<Item = usize> + '_ {
    values.chunks_exact(columns.max(1)).map(|row| {
        let better = |best: usize, at: usize| if row[at] > row[best] || row[best].is_nan() { at } else { best };
        (0..row.len()).reduce(better).unwrap_or(0)
    })
}
