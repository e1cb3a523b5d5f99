//! Training beside programs of others, which `tests/services/training.sh` installs: `cargo xtask test --ranks`.

mod ranks {
    #[cfg(feature = "mpi")]
    mod mpi;
    mod tensorboard;
}
