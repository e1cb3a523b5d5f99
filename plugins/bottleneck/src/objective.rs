//! Shuffled-word detection: some words of a text change places, and the adapter is to say which. It needs text and nothing else, as
//! an example of an objective that a third party brings (after Panda et al. 2021, "Shuffled-token detection for refining pre-trained
//! RoBERTa", here with whole words).
//!
//! Configuration: `share` of the words that change places (default 0.15), `max_length` (default 128), `seed` (default 0). Records: `text`.

use kadapter_plugin_api::prelude::*;
use kadapter_plugin_api::random::Random;

pub(crate) struct ShuffledWords {
    share: f64,
    max_length: usize,
    seed: u64,
    out: Linear,
}

/// Whether a word stands where it was written.
const IN_PLACE: usize = 0;
const MOVED: usize = 1;

impl Objective for ShuffledWords {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let (share, seed) = (config.number_or("share", 0.15)?, config.integer_or("seed", 0)?);
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::config(format!("`share` is {share}, expected more than 0 and at most 1")));
        }
        let (max_length, out) = (config.size_or("max_length", 128)?, params.scope("shuffled"));
        Ok(Self { share, max_length, seed: seed.cast_unsigned(), out: Linear::new(&out, backbone.hidden_size(), 2)? })
    }

    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        let written = record.text("text")?;
        let words: Vec<&str> = written.split_whitespace().collect();
        // The same text is always shuffled the same way: an objective keeps no state.
        let mut random = Random::named(self.seed, written);
        let mut places: Vec<usize> = (0..words.len()).filter(|_| random.uniform() < self.share).collect();
        if places.len() < 2 && words.len() > 1 {
            let first = (random.uniform() * (words.len() - 1) as f64) as usize;
            places = vec![first, first + 1];
        }
        let mut shuffled = words.clone();
        // One round trip: each chosen word goes to the place of the next chosen one.
        for (&from, &to) in places.iter().zip(places.iter().cycle().skip(1)) {
            shuffled[to] = words[from];
        }
        let (mut ids, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        let mut cut = false;
        for (word, was) in shuffled.iter().zip(&words) {
            let pieces = text.pieces(word)?;
            if ids.len() + pieces.len() + 2 > self.max_length.min(text.max_tokens()) {
                cut = true;
                break;
            }
            if !pieces.is_empty() {
                rows.push(ids.len() + 1);
                targets.push(if word == was { IN_PLACE } else { MOVED } as i64);
            }
            ids.extend(pieces);
        }
        if !targets.contains(&(MOVED as i64)) {
            return Ok(Encoded::LeftOut("no two words of it can change places".into()));
        }
        let example = Example::new(text.segment(&ids)?).with_rows(rows).with_targets(targets);
        Ok(if cut {
            Encoded::Cut(example, "its last words are past `max_length`".into())
        } else {
            Encoded::Example(example)
        })
    }

    fn loss(&self, cx: &Context<'_>, batch: &Batch, _last: &Tensor, features: &Tensor) -> Result<Loss> {
        let logits = self.logits(cx, batch, features)?;
        Ok(Loss { value: cx.cross_entropy(&logits, batch.targets())?, weight: batch.targets().len() as f64 })
    }

    /// `[moved and found, found, moved]`.
    fn tally(&self, cx: &Context<'_>, batch: &Batch, _last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        let logits = cx.read_f32(&self.logits(cx, batch, features)?)?;
        let mut tally = vec![0.0; 3];
        for (logits, &target) in logits.chunks_exact(2).zip(batch.targets()) {
            let (found, moved) = (logits[MOVED] > logits[IN_PLACE], target == MOVED as i64);
            for (sum, counts) in tally.iter_mut().zip([found && moved, found, moved]) {
                *sum += f64::from(u8::from(counts));
            }
        }
        Ok(tally)
    }

    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        let &[both, found, moved] = tally else {
            return Err(Error::shape(format!("the tally has {} numbers, expected 3", tally.len())));
        };
        let f1 = if found + moved > 0.0 { 2.0 * both / (found + moved) } else { 0.0 };
        Ok(vec![Metric::new("f1", f1)])
    }

    /// The features are all that it reads: the host stops behind the last tap.
    fn reads_last(&self) -> bool {
        false
    }
}

impl ShuffledWords {
    fn logits(&self, cx: &Context<'_>, batch: &Batch, features: &Tensor) -> Result<Tensor> {
        self.out.forward(cx, &cx.gather(features, batch.rows())?)
    }
}
