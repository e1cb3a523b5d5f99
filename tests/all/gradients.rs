//! Training against the official code: gradients of `fac-adapter.py` on one batch, and its trajectory of six updates.

use kadapter_host::import::torch::StateDict;
use kadapter_host::parameters::Declared;
use kadapter_host::tensor::candle::CandleEngine;
use kadapter_host::tensor::cpu::CpuEngine;
use kadapter_host::tensor::derivatives::Derivatives;
use kadapter_host::tensor::tape::{Gradients, Tape, Trainable};
use kadapter_host::train::optimizer::{AdamW, AdamWConfig, clip_coefficient};
use kadapter_host::train::schedule::{LinearSchedule, ScheduleIndex};
use kadapter_k_adapter::KAdapter;
use kadapter_plugin_api::abi::InstanceBox;
use kadapter_plugin_api::{
    Activation, Adapter, Backbone, Config, Context, Engine, Entry, Params, Role, Segments, Tensor, instantiate, session,
};
use kadapter_tests::{Cases, paths};
use serde_json::Value;

const HIDDEN: usize = 32;
const TAPS: [usize; 3] = [0, 2, 3];

struct Network(KAdapter);

impl Adapter for Network {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> kadapter_plugin_api::Result<Self> {
        KAdapter::build(config, backbone, params).map(Self)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> kadapter_plugin_api::Result<Tensor> {
        self.0.forward(cx, taps)
    }
}

/// The pre-training of the factual adapter on the recorded batch: adapter and head of the official checkpoint.
struct Pretraining<E: Derivatives> {
    instance: InstanceBox,
    adapter: Trainable<E>,
    head: Trainable<E>,
    segments: Segments,
    states: Vec<E::Tensor>,
    subjects: Vec<u32>,
    objects: Vec<u32>,
    labels: Vec<i64>,
}

impl<E: Derivatives> Pretraining<E> {
    fn new(engine: &E) -> Self {
        let entries = [Entry::integer("size", 24), Entry::integer("heads", 3), Entry::integer("ffn", 40)];
        let (instance, specs) = instantiate::<Network>(entries, &Backbone::new(HIDDEN, 4, &TAPS)).unwrap();
        let mut file = StateDict::open(&paths::data("official/fac-adapter/pytorch_model.bin")).unwrap();
        let mut values = |name: &str| -> Vec<f32> {
            let mut bytes = Vec::new();
            file.read(name, &mut bytes).unwrap();
            bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
        };
        let declared = specs.iter().map(|spec| {
            let declared = Declared { name: spec.name().to_owned(), shape: spec.shape(), role: spec.role() };
            (declared, values(spec.name()))
        });
        let adapter = Trainable::new(engine, declared.collect::<Vec<_>>()).unwrap();
        let head = [("com_dense", HIDDEN, 2 * HIDDEN), ("dense", HIDDEN, 2 * HIDDEN), ("out_proj", 410, HIDDEN)]
            .into_iter()
            .flat_map(|(layer, outputs, inputs)| {
                let weight = (format!("{layer}.weight"), vec![outputs, inputs], Role::LinearWeight);
                [weight, (format!("{layer}.bias"), vec![outputs], Role::Vector)]
            })
            .map(|(name, shape, role)| {
                let values = values(&name);
                (Declared { name, shape, role }, values)
            });
        let head = Trainable::new(engine, head.collect::<Vec<_>>()).unwrap();

        let cases = Cases::official();
        let tensor = |name: &str| {
            let case = cases.get(name);
            engine.from_f32(case.shape[0] * case.shape[1], case.shape[2], case.f32()).unwrap()
        };
        let [batch, length] = cases.get("trex/input_ids").shape[..] else { panic!("ids have two dimensions") };
        let marks = |name: &str| {
            cases.get(name).slots().into_iter().enumerate().map(|(row, slot)| (row * length + slot) as u32).collect()
        };
        Self {
            instance,
            adapter,
            head,
            // Adapters attend to the pads, as the official code lets them.
            segments: Segments::new(vec![length; batch]).unwrap(),
            states: (0..5).map(|state| tensor(&format!("trex/hidden/{state}"))).collect(),
            subjects: marks("trex/subj_start"),
            objects: marks("trex/obj_start"),
            labels: cases.get("trex/labels").values.iter().map(|&label| label as i64).collect(),
        }
    }

    /// The loss and all gradients.
    fn step(&self, engine: &E) -> (f32, Gradients<E>) {
        let tape = Tape::new(engine, None);
        let states: Vec<_> = self.states.iter().map(|state| tape.constant(state.clone())).collect();
        let taps = TAPS.map(|tap| states[tap].clone());
        let features = session::run(&self.instance, &tape, &self.adapter.parameters(), &self.segments, &taps).unwrap();
        let linear = |x: &_, layer: &str| {
            let named = |part: &str| self.head.named(&format!("{layer}.{part}")).unwrap();
            tape.linear(x, named("weight"), Some(named("bias")), Activation::Identity).unwrap()
        };
        let both = linear(&tape.concat(&[&states[4], &features]).unwrap(), "com_dense");
        let pair = [&self.subjects, &self.objects].map(|marks| tape.gather(&both, marks).unwrap());
        let logits = linear(&linear(&tape.concat(&[&pair[0], &pair[1]]).unwrap(), "dense"), "out_proj");
        let loss = tape.cross_entropy(&logits, &self.labels).unwrap();
        (tape.read_f32(&loss).unwrap()[0], tape.backward(&loss, 1.0).unwrap())
    }

    fn sets(&self) -> [&Trainable<E>; 2] {
        [&self.adapter, &self.head]
    }

    /// Every parameter's name, set and place.
    fn parameters(&self) -> impl Iterator<Item = (&str, &Trainable<E>, usize)> {
        self.sets().into_iter().flat_map(|set| {
            set.declared().iter().enumerate().map(move |(place, declared)| (declared.name.as_str(), set, place))
        })
    }
}

fn recorded() -> Value {
    serde_json::from_slice(&std::fs::read(paths::data("official/cases.json")).unwrap()).unwrap()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs().max(1.0),
        "{what}: found {found}, expected {expected}"
    );
}

fn gradients_are_official<E: Derivatives>(engine: &E) {
    let (recorded, cases) = (recorded(), Cases::official());
    let recorded = &recorded["fac_pretraining"];
    let training = Pretraining::new(engine);
    let (loss, gradients) = training.step(engine);
    assert_near("loss", loss.into(), recorded["loss"].as_f64().unwrap(), 1e-5);
    let (mut norms, mut wholes) = (0, 0);
    for (name, set, place) in training.parameters() {
        let found = engine.read_f32(gradients.get(set, place).unwrap()).unwrap();
        let expected = recorded["grad_norms"][name].as_f64().unwrap_or_else(|| panic!("no norm of `{name}`"));
        assert_near(name, norm(&found), expected, 1e-4);
        norms += 1;
        if let Some(case) = cases.find(&format!("trex/fac/grad/{name}")) {
            for (&found, expected) in found.iter().zip(case.f32()) {
                assert_near(name, found.into(), expected.into(), 1e-4);
            }
            wholes += 1;
        }
    }
    assert_eq!((norms, wholes), (recorded["grad_norms"].as_object().unwrap().len(), 8));
}

#[test]
fn gradients_are_the_official_ones() {
    gradients_are_official(&CpuEngine::default());
    gradients_are_official(&CandleEngine::on_cpu().unwrap());
}

fn trajectory_is_official<E: Derivatives>(engine: &E) {
    let (recorded, cases) = (recorded(), Cases::official());
    let recorded = &recorded["train_fac"];
    let training = Pretraining::new(engine);
    let config = AdamWConfig { weight_decay: 0.01, ..AdamWConfig::default() };
    let mut optimizers = training.sets().map(|set| AdamW::new(config, set));
    let schedule = LinearSchedule { peak: 0.001, warmup: 2, total: 6, index: ScheduleIndex::ScheduleFirst };
    for (update, expected) in (1..).zip(recorded["steps"].as_array().unwrap()) {
        let (loss, gradients) = training.step(engine);
        let number = |key: &str| expected[key].as_f64().unwrap();
        assert_near(&format!("loss {update}"), loss.into(), number("loss"), 1e-4);
        let norm = gradients.norm(engine).unwrap();
        assert_near(&format!("norm {update}"), norm, number("grad_norm_before_clip"), 1e-3);
        assert_eq!(schedule.rate(update), number("lr_used"));
        for (optimizer, set) in optimizers.iter_mut().zip(training.sets()) {
            optimizer.update(engine, set, &gradients, schedule.rate(update), clip_coefficient(norm, 1.0)).unwrap();
        }
    }
    let mut wholes = 0;
    for (name, set, place) in training.parameters() {
        let found = set.read(engine, place).unwrap();
        // The gradient of a key's bias is rounding noise (it cancels in the softmax), and Adam makes full steps of any noise.
        if name.ends_with("key.bias") {
            continue;
        }
        let expected = recorded["final_param_norms"][name].as_f64().unwrap_or_else(|| panic!("no norm of `{name}`"));
        assert_near(name, norm(&found), expected, 1e-3);
        if let Some(case) = cases.find(&format!("train_fac/final/{name}")) {
            for (&found, expected) in found.iter().zip(case.f32()) {
                assert_near(name, found.into(), expected.into(), 1e-3);
            }
            wholes += 1;
        }
    }
    assert_eq!(wholes, 3);
}

#[test]
fn six_updates_follow_the_official_trajectory() {
    trajectory_is_official(&CpuEngine::default());
    trajectory_is_official(&CandleEngine::on_cpu().unwrap());
}
