//! Plugins and hosts of different minor versions of ABI 1: a plugin built on the SDK of 1.0.0 runs in the host of today, and a host with
//! the layouts of 1.0.0 runs a plugin of today.

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::AbiHeaderRef;
use kadapter_plugin_api::reference::{Matrix, Reference};
use kadapter_plugin_api::session::{self, Parameters};
use kadapter_plugin_api::{Backbone, ErrorKind, ParamSpec, Segments, random};
use kadapter_plugin_api_1_0 as then;
use kadapter_tests::official::open;
use kadapter_tests::{assert_close, paths};
use std::rc::Rc;

const HIDDEN: usize = 8;
const LENGTHS: [usize; 2] = [2, 3];

fn taps(count: usize) -> Vec<Vec<f32>> {
    let tap = |tap: usize| {
        let mut random = random::Random::named(3, &format!("tap {tap}"));
        (0..LENGTHS.iter().sum::<usize>() * HIDDEN).map(|_| random.normal() as f32).collect()
    };
    (0..count).map(tap).collect()
}

fn matrix(rows: usize, values: Vec<f32>) -> Matrix {
    Matrix { rows, columns: values.len() / rows, values: Rc::new(values) }
}

fn parameters(specs: &[ParamSpec]) -> Parameters<Matrix> {
    let mut parameters = Parameters::default();
    for spec in specs {
        let rows = if let [rows, _] = *spec.shape() { rows } else { 1 };
        parameters.push(spec.shape(), matrix(rows, random::initial_values(spec, 0)));
    }
    parameters
}

/// The features of a plugin of the workspace in the host of today.
fn today(name: &str, config: &str) -> kadapter_plugin_api::Result<Vec<f32>> {
    let (instance, specs) = open(name).build(&config.parse().unwrap(), Backbone::new(HIDDEN, 4, &[0, 2])).unwrap();
    let segments = Segments::new(LENGTHS).unwrap();
    let taps: Vec<_> = taps(2).into_iter().map(|tap| matrix(segments.rows(), tap)).collect();
    let features = session::run(&instance, &Reference, &parameters(&specs), &segments, &taps)?;
    Ok(features.values.to_vec())
}

#[test]
fn a_plugin_of_abi_1_0_runs_and_brings_no_objective() {
    let bytes = std::fs::read(paths::plugin("frozen")).unwrap();
    let inspected = kadapter_host::plugin::inspect(&paths::plugin("frozen"), &bytes).unwrap();
    assert_eq!(inspected.note.abi, "1.0.0");
    let features = today("frozen", "size = 4").unwrap();
    assert_eq!(features.len(), 5 * HIDDEN);
    assert!(features.iter().all(|value| value.is_finite()));

    // The same computation with the SDK of then, behind the boundary of then.
    let (_, specs) = open("frozen").build(&"size = 4".parse().unwrap(), Backbone::new(HIDDEN, 4, &[0, 2])).unwrap();
    let root = root_as_then("frozen");
    let expected = then_features(root, &specs, [then::Entry::integer("size", 4)]);
    assert_close("features", &features, &expected, 1e-6);

    let objective = open("frozen").objective(&toml::Table::new(), Backbone::new(HIDDEN, 4, &[0, 2])).unwrap();
    assert!(objective.is_none());
}

#[test]
fn its_errors_and_panics_are_answers() {
    let panic = today("frozen", "fault = \"panic-forward\"").unwrap_err();
    assert!(panic.kind() == ErrorKind::Panic && panic.message().contains("run to panic"), "{panic:?}");
    let error = today("frozen", "fault = \"error-forward\"").unwrap_err();
    assert_eq!(error.message(), "run to fail");
    let config =
        open("frozen").build(&"sise = 4".parse().unwrap(), Backbone::new(HIDDEN, 4, &[0])).map(drop).unwrap_err();
    assert_eq!(config.message(), "unknown configuration key `sise`, expected only `fault`, `heads`, `size`");
}

/// The root of a plugin as a host of 1.0.0 took it: layouts compared in either direction, then fields read by the layout of then.
#[expect(unsafe_code, reason = "a host of then opens a library, as the host does")]
fn root_as_then(name: &str) -> then::abi::PluginRef {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: a plugin of this workspace; it has no constructors.
    let library = unsafe { Library::open(Some(paths::plugin(name)), RTLD_NOW | RTLD_LOCAL) }.unwrap();
    // SAFETY: `export_adapter!` makes this symbol a header.
    let header = unsafe { *library.get::<AbiHeaderRef>(then::abi::ENTRY_SYMBOL.as_bytes()).unwrap() };
    // Its code runs until the process ends.
    std::mem::forget(library);
    let header = header.upgrade().unwrap();
    let (ours, theirs) = (<then::abi::PluginRef as StableAbi>::LAYOUT, header.layout().unwrap());
    if let Err(forward) = check_layout_compatibility(ours, theirs) {
        check_layout_compatibility(theirs, ours).unwrap_or_else(|backward| panic!("{forward}\n{backward}"));
    }
    // SAFETY: one layout contains the other, checked above.
    unsafe { header.init_root_module_with_unchecked_layout::<then::abi::PluginRef>() }.unwrap()
}

/// What an adapter of such a root computes on the reference engine of then, with the values that today's SDK starts from.
fn then_features(
    root: then::abi::PluginRef,
    specs: &[ParamSpec],
    config: impl IntoIterator<Item = then::Entry>,
) -> Vec<f32> {
    use then::reference::{Matrix, Reference};
    let config: Vec<_> = config.into_iter().collect();
    let built = root.new_adapter()(config.into(), then::Backbone::new(HIDDEN, 4, &[0, 2])).into_result().unwrap();
    let matrix = |rows: usize, values: Vec<f32>| Matrix { rows, columns: values.len() / rows, values: Rc::new(values) };
    let mut parameters = then::session::Parameters::default();
    assert_eq!(built.params.len(), specs.len());
    for (spec, declared) in specs.iter().zip(&built.params) {
        assert_eq!((spec.name(), spec.shape()), (declared.name(), declared.shape()));
        let rows = if let [rows, _] = *spec.shape() { rows } else { 1 };
        parameters.push(spec.shape(), matrix(rows, random::initial_values(spec, 0)));
    }
    let segments = then::Segments::new(LENGTHS).unwrap();
    let taps: Vec<_> = taps(2).into_iter().map(|tap| matrix(segments.rows(), tap)).collect();
    then::session::run(&built.instance, &Reference, &parameters, &segments, &taps).unwrap().values.to_vec()
}

/// The factual plugin calls `attention_dropout`, which a host of then does not have, and brings an objective, which it does not ask for.
#[test]
fn a_plugin_of_today_runs_in_a_host_of_abi_1_0() {
    let config = "size = 4\nheads = 2\nlayers = 1";
    let (_, specs) = open("factual").build(&config.parse().unwrap(), Backbone::new(HIDDEN, 4, &[0, 2])).unwrap();
    let entries = [("size", 4), ("heads", 2), ("layers", 1)].map(|(key, value)| then::Entry::integer(key, value));
    let found = then_features(root_as_then("factual"), &specs, entries);
    assert_close("features", &found, &today("factual", config).unwrap(), 1e-6);
}
