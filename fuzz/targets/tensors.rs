//! The header of a safetensors file: no bytes panic, and tensors that are accepted tile the data.
#![no_main]

use kadapter_registry::tensors::Header;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::read(bytes) {
        let sum: u64 = header.tensors().iter().map(|tensor| tensor.len()).sum();
        assert_eq!(sum, header.data_size());
    }
});
