//! Torch files of either format: no bytes panic, nothing is executed, and every tensor that is listed can be asked for.
#![no_main]

#[path = "../../host/src/import"]
#[allow(dead_code, unreachable_pub, reason = "a module of the host, compiled in without the rest of it")]
mod import {
    pub(crate) mod torch;
}

use std::io::Write;
use import::torch::StateDict;

/// The longest tensor that is read, in elements: listing is what the file controls, reading is bounded by its size.
const MAX_READ: usize = 1 << 16;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("written");
    let Ok(mut dict) = StateDict::open(file.path()) else { return };
    let tensors: Vec<_> = dict.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    for (name, shape) in tensors {
        let elements = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
        if elements.is_some_and(|elements| elements <= MAX_READ) {
            let _ = dict.read(&name, &mut Vec::new());
        }
    }
});
