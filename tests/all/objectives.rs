//! The objectives of the plugins, from their files, against the official code: features, losses, probabilities, gradients.

use kadapter_host::parameters::Declared;
use kadapter_host::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_host::tensor::tape::{Gradients, Tape, Trainable};
use kadapter_host::train::optimizer::{AdamW, AdamWConfig, clip_coefficient};
use kadapter_host::train::schedule::{LinearSchedule, ScheduleIndex};
use kadapter_plugin_api::reference::{Matrix, Reference};
use kadapter_plugin_api::session::{self, Judged, Parameters};
use kadapter_plugin_api::{Batch, Encoded, Example, ParamSpec, Segments};
use kadapter_tests::official::{MAX_LENGTH, Official, TAPS, tokenizer};
use kadapter_tests::{Cases, World, assert_close, paths};
use serde_json::{Map, Value};
use std::fs;
use std::rc::Rc;

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(paths::data("official").join(name)).unwrap()).unwrap()
}

fn records(name: &str) -> Vec<Map<String, Value>> {
    json(name).as_array().unwrap().iter().map(|record| record.as_object().unwrap().clone()).collect()
}

/// The factual plugin with the official checkpoint.
fn factual() -> Official {
    let mut config: toml::Table = format!("max_length = {MAX_LENGTH}").parse().unwrap();
    let labels: Vec<toml::Value> =
        json("labels.json")["trex"].as_array().unwrap().iter().map(|label| label.as_str().unwrap().into()).collect();
    assert_eq!(labels.len(), 410);
    config.insert("labels".into(), labels.into());
    Official::new("factual", "fac-adapter/pytorch_model.bin", &config)
}

/// The linguistic plugin with the official checkpoint.
fn linguistic() -> Official {
    let config = format!("head = \"official\"\nmax_length = {MAX_LENGTH}").parse().unwrap();
    Official::new("linguistic", "lin-adapter/pytorch_model.zip.bin", &config)
}

/// Every record of a file: the examples, and why others are left out.
fn encoded(official: &Official, file: &str) -> (Vec<Example>, Vec<String>) {
    let tokenizer = tokenizer(&World::new());
    let (mut examples, mut left_out) = (Vec::new(), Vec::new());
    for record in records(file) {
        match official.encode(&tokenizer, &record).unwrap() {
            Encoded::Example(example) | Encoded::Cut(example, _) => examples.push(example),
            Encoded::LeftOut(reason) => left_out.push(reason),
        }
    }
    (examples, left_out)
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|value| value.as_i64().unwrap()).collect()
}

/// Token ids and mask as the official converters pad them.
fn check_padded(examples: &[Example], features: &[Value]) {
    let (_, segments, tokens) = Batch::collect_padded(examples, MAX_LENGTH, 1).unwrap();
    let expected: Vec<i64> = features.iter().flat_map(|feature| integers(&feature["input_ids"])).collect();
    assert_eq!(tokens.iter().map(|&token| i64::from(token)).collect::<Vec<_>>(), expected);
    let mask: Vec<i64> = features.iter().flat_map(|feature| integers(&feature["input_mask"])).collect();
    assert_eq!(segments.hidden().unwrap().iter().map(|&hidden| i64::from(!hidden)).collect::<Vec<_>>(), mask);
}

#[test]
fn relation_records_become_the_official_features() {
    let (examples, left_out) = encoded(&factual(), "data/trex.json");
    let features = json("data/features.json")["trex"]["features"].as_array().unwrap().clone();
    assert_eq!(examples.len(), features.len());
    check_padded(&examples, &features);
    for (example, feature) in examples.iter().zip(&features) {
        let rows: Vec<i64> = example.places().iter().map(|place| i64::from(place.row)).collect();
        let expected = ["subj_special_start", "obj_special_start"].map(|key| feature[key].as_i64().unwrap());
        assert_eq!(rows, expected);
        assert_eq!(example.targets(), [feature["label_id"].as_i64().unwrap()]);
    }
    assert_eq!(left_out, ["a marker is past the longest segment"]);
}

#[test]
fn sentences_become_the_official_features() {
    let (examples, left_out) = encoded(&linguistic(), "data/find_head.json");
    let features = json("data/features.json")["find_head"]["features"].as_array().unwrap().clone();
    assert_eq!(examples.len(), features.len());
    check_padded(&examples, &features);
    for (example, feature) in examples.iter().zip(&features) {
        let mut labels = example.targets().to_vec();
        labels.resize(MAX_LENGTH, 0);
        assert_eq!(labels, integers(&feature["labels"]));
    }
    assert_eq!(
        left_out,
        [
            "the last word governs another, which the official code leaves out",
            "the sentence is longer than `max_length`"
        ]
    );
}

fn matrix(rows: usize, values: Vec<f32>) -> Matrix {
    Matrix { rows, columns: values.len() / rows, values: Rc::new(values) }
}

fn parameters(declared: &[(ParamSpec, Vec<f32>)]) -> Parameters<Matrix> {
    let mut parameters = Parameters::default();
    for (spec, values) in declared {
        let rows = if let [rows, _] = *spec.shape() { rows } else { 1 };
        parameters.push(spec.shape(), matrix(rows, values.clone()));
    }
    parameters
}

/// A batch of the fixture on the reference engine, with the official code's padding.
struct Batched {
    batch: Batch,
    segments: Segments,
    last: Matrix,
    features: Matrix,
}

impl Batched {
    fn new(examples: &[Example], last: Vec<f32>, features: impl FnOnce(&Segments) -> Matrix) -> Self {
        let (batch, segments, _) = Batch::collect_padded(examples, MAX_LENGTH, 1).unwrap();
        let features = features(&segments.with_all_visible());
        Self { batch, last: matrix(segments.rows(), last), segments, features }
    }

    fn judged(&self) -> Judged<'_, Matrix> {
        Judged { batch: &self.batch, segments: &self.segments, last: &self.last, features: &self.features }
    }
}

fn trex(official: &Official, cases: &Cases, examples: &[Example]) -> Batched {
    let state = |state: usize| cases.get(&format!("trex/hidden/{state}")).f32();
    let count = examples.len();
    Batched::new(examples, state(4)[..count * MAX_LENGTH * 32].to_vec(), |segments| {
        let taps: Vec<_> = TAPS.map(|tap| matrix(segments.rows(), state(tap)[..segments.rows() * 32].to_vec())).into();
        session::run(&official.instance, &Reference, &parameters(&official.adapter), segments, &taps).unwrap()
    })
}

/// The metrics of a batch by name.
fn metrics(official: &Official, batched: &Batched) -> Vec<(String, f64)> {
    let head = parameters(&official.head);
    let tally = session::tally(&official.objective, &Reference, &head, batched.judged()).unwrap();
    let metrics = session::metrics(&official.objective, &tally).unwrap();
    metrics.iter().map(|metric| (metric.name().to_owned(), metric.value())).collect()
}

/// Losses are compared with this tolerance, which is the official code's own between two versions of PyTorch.
const LOSS: f64 = 5e-5;

#[test]
fn the_factual_loss_is_the_official_one() {
    let (official, cases) = (factual(), Cases::official());
    let (examples, _) = encoded(&official, "data/trex.json");
    let batched = trex(&official, &cases, &examples);
    assert_close("adapter", &batched.features.values, &cases.get("trex/fac/last").f32(), 1e-4);
    let (loss, weight) =
        session::loss(&official.objective, &Reference, &parameters(&official.head), batched.judged()).unwrap();
    let expected = json("cases.json")["fac_pretraining"]["loss"].as_f64().unwrap();
    assert!((f64::from(loss.values[0]) - expected).abs() < LOSS, "found {}, expected {expected}", loss.values[0]);
    assert_eq!(weight, 5.0);
    let right = integers(&json("cases.json")["fac_pretraining"]["predictions"])
        .iter()
        .zip(examples.iter().flat_map(Example::targets))
        .filter(|(found, expected)| found == expected)
        .count();
    assert_eq!(metrics(&official, &batched)[0], ("accuracy".to_owned(), right as f64 / 5.0));
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    logits.iter().map(|logit| (f64::from(logit - largest) - sum.ln()) as f32).collect()
}

/// An objective shows its logits through the losses of other targets: the loss of class `c` is minus the log-probability of `c`.
#[test]
fn the_factual_probabilities_are_the_official_ones() {
    let (official, cases) = (factual(), Cases::official());
    let (examples, _) = encoded(&official, "data/trex.json");
    let whole = trex(&official, &cases, &examples);
    let logits = cases.get("trex/fac/logits");
    let head = parameters(&official.head);
    for (index, example) in examples.iter().enumerate() {
        let cut = |matrix: &Matrix| matrix.values[index * MAX_LENGTH * 32..(index + 1) * MAX_LENGTH * 32].to_vec();
        let (last, features) = (cut(&whole.last), cut(&whole.features));
        let expected = log_softmax(&logits.f32()[index * 410..(index + 1) * 410]);
        // Every class of the first, a few of the others.
        let classes: Vec<usize> = (0..410).step_by(if index == 0 { 1 } else { 37 }).collect();
        let found: Vec<f32> = classes
            .iter()
            .map(|&class| {
                let mut other = Example::new(example.segments().next().unwrap().to_vec());
                for place in example.places() {
                    other = other.with_place(*place);
                }
                let other = other.with_targets([class as i64]);
                let batched = Batched::new(&[other], last.clone(), |_| matrix(MAX_LENGTH, features.clone()));
                -session::loss(&official.objective, &Reference, &head, batched.judged()).unwrap().0.values[0]
            })
            .collect();
        let expected: Vec<f32> = classes.iter().map(|&class| expected[class]).collect();
        assert_close("log-probabilities", &found, &expected, 1e-4);
    }
}

fn find_head(cases: &Cases, examples: &[Example]) -> Batched {
    let last = cases.get("find_head/hidden/4").f32();
    Batched::new(examples, last, |segments| matrix(segments.rows(), cases.get("find_head/lin/adapter_out/2").f32()))
}

#[test]
fn the_linguistic_loss_and_accuracy_are_the_official_ones() {
    let (official, cases) = (linguistic(), Cases::official());
    let (examples, _) = encoded(&official, "data/find_head.json");
    let batched = find_head(&cases, &examples);
    let head = parameters(&official.head);
    let (loss, weight) = session::loss(&official.objective, &Reference, &head, batched.judged()).unwrap();
    let expected = &json("cases.json")["lin_pretraining"];
    let (found, loss) = (f64::from(loss.values[0]), expected["loss"].as_f64().unwrap());
    assert!((found - loss).abs() < LOSS, "found {found}, expected {loss}");
    let slots = cases.get("find_head/attention_mask").values.iter().sum::<f64>();
    assert_eq!(weight, slots);
    let metrics = metrics(&official, &batched);
    let names: Vec<_> = metrics.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["uas", "accuracy", "attention_accuracy"]);
    // The official number was computed, and recorded, in single precision.
    assert_eq!(metrics[1].1 as f32, expected["accuracy_active"].as_f64().unwrap() as f32, "{metrics:?}");

    // The official code's second accuracy, from its own probabilities: the query that looks at a slot most, beside the slot's class.
    let (probabilities, labels) = (cases.get("find_head/lin/attention_probs"), cases.get("find_head/labels").slots());
    let mask = cases.get("find_head/attention_mask").slots();
    let right = (0..labels.len()).filter(|&slot| mask[slot] == 1).filter(|&slot| {
        let (sentence, key) = (slot / MAX_LENGTH, slot % MAX_LENGTH);
        let column = |query: usize| probabilities.values[(sentence * MAX_LENGTH + query) * MAX_LENGTH + key];
        let best = (1..MAX_LENGTH).fold(0, |best, query| if column(query) > column(best) { query } else { best });
        best == labels[slot]
    });
    assert!((metrics[2].1 - right.count() as f64 / slots).abs() < 1e-9, "{metrics:?}");
}

#[test]
fn the_linguistic_probabilities_are_the_official_ones() {
    let (official, cases) = (linguistic(), Cases::official());
    let (examples, _) = encoded(&official, "data/find_head.json");
    let whole = find_head(&cases, &examples);
    let (logits, head) = (cases.get("find_head/lin/logits").f32(), parameters(&official.head));
    for (index, example) in examples.iter().enumerate() {
        let cut = |matrix: &Matrix| matrix.values[index * MAX_LENGTH * 32..(index + 1) * MAX_LENGTH * 32].to_vec();
        let (last, features) = (cut(&whole.last), cut(&whole.features));
        let count = example.tokens();
        for slot in [0, 1, count / 2, count - 1] {
            let expected = log_softmax(&logits[(index * MAX_LENGTH + slot) * MAX_LENGTH..][..MAX_LENGTH]);
            let found: Vec<f32> = (0..MAX_LENGTH)
                .map(|class| {
                    let targets = (0..count).map(|at| if at == slot { class as i64 } else { -1 });
                    let segment = example.segments().next().unwrap().to_vec();
                    let other = Example::new(segment).with_rows(0..count).with_targets(targets);
                    let batched = Batched::new(&[other], last.clone(), |_| matrix(MAX_LENGTH, features.clone()));
                    -session::loss(&official.objective, &Reference, &head, batched.judged()).unwrap().0.values[0]
                })
                .collect();
            assert_close("log-probabilities", &found, &expected, 1e-4);
        }
    }
}

/// Without a residual the features are what the layers added: the official output less the sum of the taps.
#[test]
fn without_a_residual_the_features_are_what_was_added() {
    use kadapter_plugin_api::Backbone;
    let (official, cases) = (factual(), Cases::official());
    let (plugin, config) = (kadapter_tests::official::open("factual"), kadapter_tests::official::CONFIG);
    let state = |state: usize| cases.get(&format!("trex/hidden/{state}")).f32();
    let taps: Vec<_> = TAPS.map(|tap| matrix(5 * MAX_LENGTH, state(tap))).into();
    let segments = Segments::new([MAX_LENGTH; 5]).unwrap();
    for (skip, with) in [(0, "trex/fac/last"), (2, "trex/fac/last_skip2"), (3, "trex/fac/last_skip3")] {
        let config = format!("{config}\nresidual = false\nskip = {skip}").parse().unwrap();
        let (instance, _) = plugin.build(&config, Backbone::new(32, 4, &TAPS)).unwrap();
        let parameters = parameters(&official.adapter);
        let found = session::run(&instance, &Reference, &parameters, &segments, &taps).unwrap();
        // How often each tap is in the chain's end: the skip rule adds states twice.
        let times = match skip {
            2 => [2.0, 2.0, 1.0],
            3 => [2.0, 2.0, 1.0],
            _ => [1.0, 1.0, 1.0],
        };
        let mut expected = cases.get(with).f32();
        for (tap, times) in TAPS.into_iter().zip(times) {
            for (value, tap) in expected.iter_mut().zip(state(tap)) {
                *value -= times * tap;
            }
        }
        assert_close(with, &found.values, &expected, 1e-4);
    }
}

/// An adapter and its objective on the CPU engine's tape, with the official values.
struct Training<'a> {
    official: &'a Official,
    engine: CpuEngine,
    adapter: Trainable<CpuEngine>,
    head: Trainable<CpuEngine>,
    batch: Batch,
    segments: Segments,
    taps: Vec<Vec<f32>>,
    last: Vec<f32>,
}

impl<'a> Training<'a> {
    /// `taps` and `last` are `[rows, 32]` of the padded batch.
    fn new(official: &'a Official, examples: &[Example], taps: Vec<Vec<f32>>, last: Vec<f32>) -> Self {
        let engine = CpuEngine::new(CpuConfig::default());
        let trainable = |declared: &[(ParamSpec, Vec<f32>)]| {
            let one = |(spec, values): &(ParamSpec, Vec<f32>)| {
                (Declared { name: spec.name().into(), shape: spec.shape(), role: spec.role() }, values.clone())
            };
            Trainable::new(&engine, declared.iter().map(one)).unwrap()
        };
        let (adapter, head) = (trainable(&official.adapter), trainable(&official.head));
        let (batch, segments, _) = Batch::collect_padded(examples, MAX_LENGTH, 1).unwrap();
        Self { official, adapter, head, engine, batch, segments, taps, last }
    }

    /// The loss without dropout, and the gradients of all parameters.
    fn step(&self) -> (f64, Gradients<CpuEngine>) {
        use kadapter_plugin_api::Engine;
        let (tape, rows) = (Tape::new(&self.engine, None), self.segments.rows());
        let lay = |values: &Vec<f32>| tape.constant(self.engine.from_f32(rows, 32, values.clone()).unwrap());
        let (taps, last): (Vec<_>, _) = (self.taps.iter().map(lay).collect(), lay(&self.last));
        // The official adapters attend to padding, the official head of the linguistic one does not.
        let visible = self.segments.with_all_visible();
        let parameters = self.adapter.parameters();
        let features = session::run(&self.official.instance, &tape, &parameters, &visible, &taps).unwrap();
        let judged = Judged { batch: &self.batch, segments: &self.segments, last: &last, features: &features };
        let (loss, _) = session::loss(&self.official.objective, &tape, &self.head.parameters(), judged).unwrap();
        let value = f64::from(tape.read_f32(&loss).unwrap()[0]);
        (value, tape.backward(&loss, 1.0).unwrap())
    }

    /// A parameter's gradient by its name.
    fn gradient(&self, gradients: &Gradients<CpuEngine>, name: &str) -> Vec<f32> {
        use kadapter_plugin_api::Engine;
        let set = if self.adapter.named(name).is_some() { &self.adapter } else { &self.head };
        let index = set.declared().iter().position(|declared| declared.name == name).unwrap();
        let gradient = gradients.get(set, index).unwrap_or_else(|| panic!("{name} has no gradient"));
        self.engine.read_f32(gradient).unwrap()
    }

    fn names(&self) -> Vec<String> {
        [&self.adapter, &self.head].iter().flat_map(|set| set.declared()).map(|of| of.name.clone()).collect()
    }

    fn read(&self, name: &str) -> Vec<f32> {
        let set = if self.adapter.named(name).is_some() { &self.adapter } else { &self.head };
        let index = set.declared().iter().position(|declared| declared.name == name).unwrap();
        set.read(&self.engine, index).unwrap()
    }

    /// Compares the norm of every gradient, and those gradients that the fixture has as a whole.
    fn check_gradients(&self, cases: &Cases, prefix: &str, norms: &Value) {
        let (_, gradients) = self.step();
        let names = self.names();
        assert_eq!(names.len(), norms.as_object().unwrap().len());
        let mut whole = 0;
        for name in &names {
            let gradient = self.gradient(&gradients, name);
            let norm = gradient.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            let expected = norms[name].as_f64().unwrap();
            // The gradients of a key's bias cancel in the softmax: an absolute tolerance.
            assert!((norm - expected).abs() <= 1e-3 * expected.max(1e-2), "{name}: norm {norm}, expected {expected}");
            if let Some(case) = cases.find(&format!("{prefix}/grad/{name}")) {
                assert_close(name, &gradient, &case.f32(), 1e-3);
                whole += 1;
            }
        }
        assert!(whole >= 5, "{whole}");
    }
}

fn trex_training<'a>(official: &'a Official, cases: &Cases) -> Training<'a> {
    let (examples, _) = encoded(official, "data/trex.json");
    let state = |state: usize| cases.get(&format!("trex/hidden/{state}")).f32();
    Training::new(official, &examples, TAPS.map(state).into(), state(4))
}

#[test]
fn the_factual_gradients_are_the_official_ones() {
    let (official, cases) = (factual(), Cases::official());
    let training = trex_training(&official, &cases);
    training.check_gradients(&cases, "trex/fac", &json("cases.json")["fac_pretraining"]["grad_norms"]);
}

#[test]
fn the_linguistic_gradients_are_the_official_ones() {
    use kadapter_host::task::Compat;
    let (official, cases, world) = (linguistic(), Cases::official(), World::with_adapters());
    let (examples, _) = encoded(&official, "data/find_head.json");
    // The fixture keeps the last hidden state only; the backbone gives the taps.
    let opened = world.open(&world.manifest("p", &["lin"], ""), Compat::Official);
    let hidden = opened.runner.forward(&cases.input("find_head"), None).unwrap().hidden;
    let taps = TAPS.map(|tap| hidden[tap].clone()).into();
    let training = Training::new(&official, &examples, taps, cases.get("find_head/hidden/4").f32());
    training.check_gradients(&cases, "find_head/lin", &json("cases.json")["lin_pretraining"]["grad_norms"]);
}

/// Six updates of the official optimiser and schedule: losses, norms, rates, and the parameters in the end.
#[test]
fn the_factual_trajectory_is_the_official_one() {
    let (official, cases) = (factual(), Cases::official());
    let (training, run) = (trex_training(&official, &cases), json("cases.json")["train_fac"].clone());
    let number = |key: &str| run[key].as_f64().unwrap();
    let (warmup, total) = (run["warmup_steps"].as_u64().unwrap(), run["t_total"].as_u64().unwrap());
    let schedule = LinearSchedule { peak: number("lr"), warmup, total, index: ScheduleIndex::ScheduleFirst };
    let config = AdamWConfig { epsilon: number("eps"), weight_decay: number("weight_decay"), ..AdamWConfig::default() };
    let mut optimizers = [AdamW::new(config, &training.adapter), AdamW::new(config, &training.head)];
    for (update, expected) in (1..).zip(run["steps"].as_array().unwrap()) {
        let (loss, gradients) = training.step();
        let (found, official) =
            (gradients.norm(&training.engine).unwrap(), |key: &str| expected[key].as_f64().unwrap());
        assert!((loss - official("loss")).abs() < 2e-3, "update {update}: loss {loss}, expected {}", official("loss"));
        let norm = official("grad_norm_before_clip");
        assert!((found - norm).abs() < 2e-3 * norm, "update {update}: norm {found}, expected {norm}");
        let rate = schedule.rate(update);
        assert!((rate - official("lr_used")).abs() < 1e-12, "update {update}: rate {rate}");
        let clip = clip_coefficient(found, number("max_grad_norm"));
        for (optimizer, set) in optimizers.iter_mut().zip([&training.adapter, &training.head]) {
            optimizer.update(&training.engine, set, &gradients, rate, clip).unwrap();
        }
    }
    for (name, expected) in run["final_param_norms"].as_object().unwrap() {
        let values = training.read(name);
        let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let expected = expected.as_f64().unwrap();
        assert!((norm - expected).abs() < 1e-3 * expected.max(1.0), "{name}: norm {norm}, expected {expected}");
    }
    for name in [
        "adapter.0.down_project.weight",
        "adapter.2.encoder.layer.1.attention.output.LayerNorm.weight",
        "adapter.2.up_project.bias",
    ] {
        assert_close(name, &training.read(name), &cases.get(&format!("train_fac/final/{name}")).f32(), 1e-3);
    }
}
