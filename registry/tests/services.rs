//! Stores over real servers, which `tests/services/run.sh` starts: `cargo xtask test --services`.

mod packages;
mod services {
    pub(crate) mod environment;
    pub(crate) mod faulty;
    mod oci;
    mod s3;
    mod s3_faults;
}
mod stores;
