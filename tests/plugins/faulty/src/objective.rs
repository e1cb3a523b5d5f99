//! An objective that does wrong whatever its configuration asks for. Without a fault it asks how many words a text has, up to three.
//!
//! | `fault` | what is wrong |
//! | --- | --- |
//! | `panic-build`, `panic-encode`, `panic-loss`, `panic-tally`, `panic-metrics` | it panics there |
//! | `error-build`, `error-loss` | it gives an error there |
//! | `takes-anything` | a record without fields becomes an example |
//! | `speechless` | it refuses records without a word |
//! | `careless-record` | it panics on a field of another type |
//! | `outside` | an example names a token that it does not have |
//! | `leaves-out` | it leaves every record out |
//! | `counting` | the same record becomes another example |
//! | `not-finite`, `wrong-shape`, `no-weight` | what its loss is |
//! | `wrong-weight` | the weight is not what the mean is over |
//! | `secret-reader` | it says that it does not read the last hidden state, and does |
//! | `mean-tally` | its tally is a mean, which cannot be summed |
//! | `no-metrics`, `bad-metric` | what it says of a tally |
//! | `detached` | the features are read out and put back, so that no gradient reaches the adapter |
//! | `idle-parameter` | a parameter that the loss does not depend on |

use kadapter_plugin_api::prelude::*;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) struct FaultyObjective {
    fault: String,
    out: Linear,
    idle: Option<Param>,
    records: AtomicI64,
}

/// Classes: one, two, three words or more.
const CLASSES: usize = 3;

impl FaultyObjective {
    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn logits(&self, cx: &Context<'_>, batch: &Batch, features: &Tensor) -> Result<Tensor> {
        let mut rows = cx.gather(features, batch.rows())?;
        if self.has("detached") {
            rows = cx.from_f32(rows.rows(), rows.columns(), &cx.read_f32(&rows)?)?;
        }
        let logits = self.out.forward(cx, &rows)?;
        match &self.idle {
            Some(idle) => cx.add(&logits, &cx.scale(&cx.parameter(idle)?, 0.0)?),
            None => Ok(logits),
        }
    }
}

impl Objective for FaultyObjective {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let fault = config.text_or("fault", "none")?;
        match fault.as_str() {
            "panic-build" => panic!("built to panic"),
            "error-build" => return Err(Error::config("`fault` is error-build, expected none")),
            _ => {}
        }
        let out = Linear::new(&params.scope("out"), backbone.hidden_size(), CLASSES)?;
        let is_idle = fault == "idle-parameter";
        let idle = is_idle.then(|| params.vector("idle", CLASSES, Init::Constant(0.0))).transpose()?;
        Ok(Self { fault, out, idle, records: AtomicI64::new(0) })
    }

    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        match self.fault.as_str() {
            "panic-encode" => panic!("encoded to panic"),
            "takes-anything" if !record.has("text") => {
                return Ok(Encoded::Example(Example::new(vec![0]).with_rows([0]).with_targets([0])));
            }
            "speechless" => {
                record.text("text").map_err(|_| Error::new(" "))?;
            }
            "careless-record" if record.has("text") => {
                record.text("text").unwrap();
            }
            "leaves-out" => return Ok(Encoded::LeftOut("it is a Monday".into())),
            _ => {}
        }
        let words = text.pieces(record.text("text")?)?;
        let class = words.len().clamp(1, CLASSES) as i64 - 1;
        let class = if self.has("counting") { self.records.fetch_add(1, Ordering::Relaxed) % 3 } else { class };
        let row = if self.has("outside") { words.len() + 2 } else { 0 };
        let example = Example::new(text.segment(&words)?).with_rows([row]).with_targets([class]);
        Ok(if self.has("cuts-silently") { Encoded::Cut(example, " ".into()) } else { Encoded::Example(example) })
    }

    fn reads_last(&self) -> bool {
        !self.has("secret-reader")
    }

    fn loss(&self, cx: &Context<'_>, batch: &Batch, last: &Tensor, features: &Tensor) -> Result<Loss> {
        match self.fault.as_str() {
            "secret-reader" => drop(cx.gather(last, batch.rows())?),
            "panic-loss" => panic!("judged to panic"),
            "error-loss" => return Err(Error::new("judged to fail")),
            _ => {}
        }
        let logits = self.logits(cx, batch, features)?;
        let value = cx.cross_entropy(&logits, batch.targets())?;
        let value = match self.fault.as_str() {
            "not-finite" => cx.log(&cx.scale(&value, 0.0)?)?,
            "wrong-shape" => logits,
            _ => value,
        };
        let weight = match self.fault.as_str() {
            "no-weight" => 0.0,
            "wrong-weight" => 1.0,
            _ => batch.len() as f64,
        };
        Ok(Loss { value, weight })
    }

    fn tally(&self, cx: &Context<'_>, batch: &Batch, _last: &Tensor, features: &Tensor) -> Result<Vec<f64>> {
        assert!(!self.has("panic-tally"), "counted to panic");
        let values = cx.read_f32(&self.logits(cx, batch, features)?)?;
        let right = values.chunks(CLASSES).zip(batch.targets()).filter(|(row, target)| {
            let best = (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            best.map(|best| best as i64) == Some(**target)
        });
        let (right, count) = (right.count() as f64, batch.len() as f64);
        Ok(if self.has("mean-tally") { vec![right / count, 1.0] } else { vec![right, count] })
    }

    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        match self.fault.as_str() {
            "panic-metrics" => panic!("told to panic"),
            "no-metrics" => Ok(Vec::new()),
            "bad-metric" => Ok(vec![Metric::new("accuracy", f64::NAN)]),
            _ => Ok(vec![Metric::new("accuracy", tally[0] / tally[1])]),
        }
    }
}
