//! Numbers of the official code, read from `tests/data/official` (its README says how they were made).

use crate::paths;
use kadapter_host::backbone::Positions;
use kadapter_host::pipeline::RawInput;
use kadapter_host::weights::Reader;
use kadapter_registry::tensors::Dtype;
use std::collections::BTreeMap;

/// The tensors of `cases.safetensors`.
#[derive(Debug)]
pub struct Cases(BTreeMap<String, Case>);

/// One tensor.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, integers too.
    pub values: Vec<f64>,
}

impl Case {
    /// The values in single precision.
    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|&value| value as f32).collect()
    }

    /// The values as slots.
    pub fn slots(&self) -> Vec<usize> {
        self.values.iter().map(|&value| value as usize).collect()
    }
}

impl Cases {
    /// Reads them all.
    pub fn official() -> Self {
        let mut cases = BTreeMap::new();
        let mut reader = Reader::open(&paths::data("official/cases.safetensors"), None).expect("the fixture opens");
        while let Some(mut tensor) = reader.next_tensor().expect("the fixture reads") {
            let info = tensor.info().clone();
            let mut bytes = Vec::new();
            tensor.read_bytes(&mut bytes).expect("the fixture reads");
            let values = match info.dtype {
                Dtype::F32 => bytes.as_chunks().0.iter().map(|&value| f64::from(f32::from_le_bytes(value))).collect(),
                Dtype::I64 => bytes.as_chunks().0.iter().map(|&value| i64::from_le_bytes(value) as f64).collect(),
                other => panic!("{} has dtype {other}", info.name),
            };
            cases.insert(info.name, Case { shape: info.shape, values });
        }
        Self(cases)
    }

    /// One tensor, if it was recorded.
    pub fn find(&self, name: &str) -> Option<&Case> {
        self.0.get(name)
    }

    /// One tensor.
    pub fn get(&self, name: &str) -> &Case {
        self.find(name).unwrap_or_else(|| panic!("no case is named {name}"))
    }

    /// The ids and mask of a batch; leading dimensions become one.
    pub fn input(&self, batch: &str) -> RawInput {
        let (ids, mask) = (self.get(&format!("{batch}/input_ids")), self.get(&format!("{batch}/attention_mask")));
        let length = *ids.shape.last().expect("ids have a length");
        RawInput {
            batch: ids.values.len() / length,
            length,
            ids: ids.values.iter().map(|&id| id as u32).collect(),
            mask: mask.values.iter().map(|&flag| flag == 1.0).collect(),
            positions_rule: Positions::EverySlot,
            positions: None,
        }
    }

    /// [`Cases::input`] with the slots that a head reads, from these tensors `[batch]`.
    pub fn input_reading(&self, batch: &str, slots: &[&str]) -> RawInput {
        let mut input = self.input(batch);
        let columns: Vec<_> = slots.iter().map(|slot| self.get(&format!("{batch}/{slot}")).slots()).collect();
        input.positions =
            Some((0..input.batch).map(|row| columns.iter().map(|column| column[row]).collect()).collect());
        input
    }
}

/// Asserts that two lists differ by at most `tolerance` relative to the scale of the expected one (its largest magnitude, at least 1).
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let scale = expected.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs() / scale;
        assert!(
            difference <= tolerance,
            "{what}[{index}]: found {found}, expected {expected}, off by {difference:e} of the scale"
        );
    }
}
