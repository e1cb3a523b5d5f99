//! What trains the adapter: texts with labels, told apart by the mean of their features.
//!
//! Records: `text` and `label`. Configuration, `[objective]` of a recipe: `labels`, all that
//! occur, and `max_length`, tokens of a text that are read (default 128).

use kadapter_plugin_api::prelude::*;

/// Like the adapter, it holds names and numbers and keeps no state: one instance serves many
/// threads, and a batch may be computed in parts.
pub(crate) struct TextLabels {
    labels: Vec<String>,
    max_length: usize,
    out: Linear,
}

impl Objective for TextLabels {
    /// Declares what is trained beside the adapter and thrown away afterwards.
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let labels = config.texts("labels")?;
        if labels.len() < 2 {
            return Err(Error::config(format!(
                "`labels` names {} labels, expected at least 2",
                labels.len()
            )));
        }
        let max_length = config.size_or("max_length", 128)?;
        let out = Linear::new(&params.scope("out"), backbone.hidden_size(), labels.len())?;
        Ok(Self {
            labels,
            max_length,
            out,
        })
    }

    /// Turns a record into token ids and what is to be found in them. An error says that the
    /// record is wrong, and the host adds file and line; `LeftOut` says that it is of no use here,
    /// and the host counts how many were, by reason.
    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        let label = record.text("label")?;
        let class = self.labels.iter().position(|known| known == label);
        let class = class.ok_or_else(|| {
            Error::new(format!(
                "the label is `{label}`, expected one of {:?}",
                self.labels
            ))
        })?;
        let mut ids = text.pieces(record.text("text")?)?;
        if ids.is_empty() {
            return Ok(Encoded::LeftOut("the text is empty".into()));
        }
        // Two tokens open and close the segment.
        ids.truncate(
            self.max_length
                .min(text.max_tokens())
                .saturating_sub(2)
                .max(1),
        );
        let example = Example::new(text.segment(&ids)?).with_targets([class as i64]);
        Ok(Encoded::Example(example))
    }

    /// The mean loss of a batch, and over how many it is the mean: with that, the host puts
    /// together the losses of a batch's parts.
    fn loss(
        &self,
        cx: &Context<'_>,
        batch: &Batch,
        _last: &Tensor,
        features: &Tensor,
    ) -> Result<Loss> {
        let logits = self.logits(cx, features)?;
        let value = cx.cross_entropy(&logits, batch.targets())?;
        Ok(Loss {
            value,
            weight: batch.len() as f64,
        })
    }

    /// Counts that can be summed over batches: texts, and texts whose label was found.
    fn tally(
        &self,
        cx: &Context<'_>,
        batch: &Batch,
        _last: &Tensor,
        features: &Tensor,
    ) -> Result<Vec<f64>> {
        let logits = cx.read_f32(&self.logits(cx, features)?)?;
        let is_right = |(row, class): &(&[f32], &i64)| {
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            best.map(|best| best as i64) == Some(**class)
        };
        let rows = logits.chunks(self.labels.len()).zip(batch.targets());
        Ok(vec![
            batch.len() as f64,
            rows.filter(is_right).count() as f64,
        ])
    }

    /// What the sums say. The first metric chooses the best checkpoint.
    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        let &[texts, right] = tally else {
            return Err(Error::new(format!(
                "a tally of {} numbers, expected 2",
                tally.len()
            )));
        };
        Ok(vec![Metric::new("accuracy", right / texts.max(1.0))])
    }

    /// The features are all that it reads: the host stops behind the last tap.
    fn reads_last(&self) -> bool {
        false
    }
}

impl TextLabels {
    /// `[texts, labels]`: each text is one segment of the batch.
    fn logits(&self, cx: &Context<'_>, features: &Tensor) -> Result<Tensor> {
        self.out.forward(cx, &cx.segment_mean(features)?)
    }
}
