//! Training beside programs of others, which `tests/services/training.sh` installs: `cargo xtask test --services`.

mod services {
    #[cfg(feature = "mpi")]
    mod mpi;
    mod tensorboard;
}
