//! Hidden states, adapters and fusion against the official code (`tests/data/official`).

use kadapter_host::backbone::Positions;
use kadapter_host::task::Compat;
use kadapter_registry::package::{Fusion, TaskKind};
use kadapter_tests::world::{HeadCase, task_entry};
use kadapter_tests::{Cases, World, assert_close};

const HIDDEN: f32 = 1e-4;
const ADAPTER: f32 = 1e-4;

#[test]
fn hidden_states_and_adapters_are_the_official_ones() {
    let (cases, world) = (Cases::official(), World::with_adapters());
    let opened = world.open(&world.manifest("p", &["fac", "lin"], ""), Compat::Official);
    let output = opened.runner.forward(&cases.input("trex"), None).unwrap();
    for (index, state) in output.hidden.iter().enumerate() {
        let expected = cases.get(&format!("trex/hidden/{index}")).f32();
        for (found, expected) in state.iter().zip(&expected) {
            assert!((found - expected).abs() <= HIDDEN, "hidden.{index}: found {found}, expected {expected}");
        }
    }
    assert_eq!(output.hidden.len(), 5);
    for (name, features) in &output.adapters {
        assert_close(name, features, &cases.get(&format!("trex/{name}/last")).f32(), ADAPTER);
    }
    assert_eq!(output.adapters.len(), 2);
    let output = opened.runner.forward(&cases.input("find_head"), None).unwrap();
    let (_, lin) = output.adapters.iter().find(|(name, _)| name == "lin").unwrap();
    assert_close("lin", lin, &cases.get("find_head/lin/adapter_out/2").f32(), ADAPTER);
}

#[test]
fn both_pytorch_formats_give_the_same_adapter() {
    let (cases, mut world) = (Cases::official(), World::new());
    for adapter in ["fac", "lin"] {
        world.add_official_adapter(adapter, &format!("{adapter}-adapter/pytorch_model.bin"), &[0, 2, 3], 0);
        world.add_official_adapter(
            &format!("{adapter}-zip"),
            &format!("{adapter}-adapter/pytorch_model.zip.bin"),
            &[0, 2, 3],
            0,
        );
    }
    let manifest = world.manifest("p", &["fac", "fac-zip", "lin", "lin-zip"], "");
    let output = world.open(&manifest, Compat::Official).runner.forward(&cases.input("trex"), None).unwrap();
    let features = |name: &str| output.adapters.iter().find(|(found, _)| found == name).unwrap().1.clone();
    assert_eq!(features("fac"), features("fac-zip"));
    assert_eq!(features("lin"), features("lin-zip"));
    assert_ne!(features("fac"), features("lin"));
}

#[test]
fn other_taps_and_the_official_skip_rule() {
    let (cases, mut world) = (Cases::official(), World::new());
    let file = "fac-adapter/pytorch_model.bin";
    for (name, taps, skip) in [
        ("skip2", [0, 2, 3], 2),
        ("skip3", [0, 2, 3], 3),
        ("skip6", [0, 2, 3], 6),
        ("taps-0-2-4", [0, 2, 4], 0),
        ("taps-0-1-2", [0, 1, 2], 0),
    ] {
        world.add_official_adapter(name, file, &taps, skip);
    }
    let names = ["skip2", "skip3", "skip6", "taps-0-2-4", "taps-0-1-2"];
    let manifest = world.manifest("p", &names, "");
    let output = world.open(&manifest, Compat::Official).runner.forward(&cases.input("trex"), None).unwrap();
    for (name, features) in &output.adapters {
        let case = format!("trex/fac/last_{}", name.replace('-', "_"));
        assert_close(name, features, &cases.get(&case).f32(), ADAPTER);
    }
    assert_eq!(output.adapters.len(), names.len());
}

#[test]
fn without_padding_each_row_is_the_row_cut_to_its_length() {
    let (cases, world) = (Cases::official(), World::with_adapters());
    let opened = world.open(&world.manifest("p", &["fac"], ""), Compat::Masked);
    let input = cases.input("trex");
    let output = opened.runner.forward(&input, None).unwrap();
    for row in 0..3 {
        let hidden = cases.get(&format!("trex_unpadded/{row}/hidden/4"));
        let last = cases.get(&format!("trex_unpadded/{row}/fac/last"));
        let length = hidden.shape[1];
        assert_eq!(input.mask[row * input.length..][..input.length].iter().filter(|&&token| token).count(), length);
        let cut = |values: &[f32]| values[row * input.length * 32..][..length * 32].to_vec();
        assert_close("hidden.4", &cut(&output.hidden[4]), &hidden.f32(), HIDDEN);
        assert_close("fac", &cut(&output.adapters[0].1), &last.f32(), ADAPTER);
        // Slots behind the text were not computed.
        let rest = &output.hidden[4][(row * input.length + length) * 32..(row + 1) * input.length * 32];
        assert!(rest.iter().all(|&value| value == 0.0));
    }
}

#[test]
fn hugging_faces_positions_can_be_combined_with_padding() {
    let (cases, world) = (Cases::official(), World::with_adapters());
    let opened = world.open(&world.manifest("p", &["fac"], ""), Compat::Official);
    let mut input = cases.input("trex");
    input.positions_rule = Positions::Tokens;
    let output = opened.runner.forward(&input, None).unwrap();
    for index in [0, 2, 3, 4] {
        assert_close("hidden", &output.hidden[index], &cases.get(&format!("trex_hfpos/hidden/{index}")).f32(), HIDDEN);
    }
    assert_close("fac", &output.adapters[0].1, &cases.get("trex_hfpos/fac/last").f32(), ADAPTER);
}

/// A head whose logits are the fused features: `out` is the identity.
fn with_identity_head(world: &mut World, name: &str, stack: &[&str], fusion: Fusion) {
    use kadapter_host::weights::{Reader, write_f32};
    let mut tensors = Vec::new();
    let mut reader = Reader::open(&kadapter_tests::paths::data("official/heads.safetensors"), None).unwrap();
    while let Some(tensor) = reader.next_tensor().unwrap() {
        let (full, shape) = (tensor.info().name.clone(), tensor.info().shape.clone());
        let Some(own) = full.strip_prefix("fusion/") else { continue };
        let needed = match own.split('.').next().unwrap() {
            "task_dense_fac" => stack.contains(&"fac"),
            "task_dense_lin" => stack.contains(&"lin"),
            _ => stack.len() > 1,
        };
        if needed && fusion == Fusion::Concat {
            tensors.push((own.to_owned(), shape, tensor.read_f32().unwrap()));
        }
    }
    let identity = (0..32 * 32).map(|index| f32::from(u8::from(index % 33 == 0))).collect();
    tensors.push(("out_proj.weight".into(), vec![32, 32], identity));
    tensors.push(("out_proj.bias".into(), vec![32], vec![0.0; 32]));
    let file = world.path(&format!("{name}.safetensors"));
    let list: Vec<_> =
        tensors.iter().map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.as_slice())).collect();
    write_f32(&file, kadapter_registry::tensors::Dtype::F32, &list, &std::collections::BTreeMap::new()).unwrap();
    let case = HeadCase {
        name,
        prefix: "",
        kind: TaskKind::EntityTyping,
        labels: 32,
        stack,
        fusion,
        options: "dense = false",
        max_length: 32,
    };
    world.add_head_from(&file, case);
}

#[test]
fn every_fusion_is_the_official_one() {
    let (cases, mut world) = (Cases::official(), World::with_adapters());
    let stacks: [(&str, &[&str]); 3] = [("both", &["fac", "lin"]), ("fac", &["fac"]), ("lin", &["lin"])];
    let mut tasks = String::new();
    for (which, stack) in stacks {
        for (mode, fusion) in [("concat", Fusion::Concat), ("add", Fusion::Add)] {
            let name = format!("{mode}-{which}");
            with_identity_head(&mut world, &name, stack, fusion);
            tasks += &task_entry(&name, stack);
        }
    }
    let opened = world.open(&world.manifest("p", &["fac", "lin"], &tasks), Compat::Official);
    for (which, _) in stacks {
        for mode in ["concat", "add"] {
            let expected = cases.get(&format!("fusion/{mode}/{which}")).f32();
            for slot in [0, 1, 7, 31] {
                let mut input = cases.input("trex");
                input.positions = Some(vec![vec![slot]; input.batch]);
                let name = format!("{mode}-{which}");
                let (shape, found) = opened.runner.forward(&input, Some(&name)).unwrap().logits.unwrap();
                assert_eq!(shape, [5, 32]);
                let rows: Vec<f32> = (0..5).flat_map(|row| expected[(row * 32 + slot) * 32..][..32].to_vec()).collect();
                assert_close(&name, &found, &rows, ADAPTER);
            }
        }
    }
}
