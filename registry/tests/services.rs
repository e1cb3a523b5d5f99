//! Remote stores beside real servers on loopback, which `tests/services/run.sh` starts: `cargo xtask test --services`.

#[path = "services/oci.rs"]
mod oci;
mod packages;
mod stores;
