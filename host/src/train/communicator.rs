//! Several processes that train one adapter: each takes its share of a batch, and they add up their gradients.
//!
//! | who | when | built with |
//! | --- | --- | --- |
//! | [`Alone`] | one process | always |
//! | [`InProcess`] | threads of one process, as in tests | always |
//! | MPI | launched by `mpirun`, or by `srun --mpi` | feature `mpi` |
//! | NCCL | `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` in the environment, a GPU for each | feature `nccl` |
//!
//! [`join`] finds out which it is. **Sums are the same on every rank and in every run**: each element is added up once, by one rank, in
//! the order of the ranks and in `f64`, and then handed to all. (So the bits do not depend on the network's own order of
//! reduction, and MPI and NCCL give the same.)

mod alone;
mod error;
mod in_process;
mod launch;
#[cfg_attr(not(feature = "mpi"), path = "communicator/mpi_absent.rs")]
mod mpi;
#[cfg_attr(not(feature = "nccl"), path = "communicator/nccl_absent.rs")]
mod nccl;
#[cfg_attr(not(feature = "nccl"), expect(dead_code, reason = "NCCL alone meets over TCP, but it is tested always"))]
mod rendezvous;
mod sum;

use std::fmt;
use std::str::FromStr;

pub use alone::Alone;
pub use error::CommunicatorError;
pub use in_process::InProcess;
pub use launch::Launch;

use launch::Launcher;

/// The processes that train one adapter, seen from one of them.
///
/// Every call but `rank`, `local_rank`, `size` and `abort` is made by all ranks, in the same order and with the same lengths. It stays
/// on the thread that joined.
pub trait Communicator: fmt::Debug {
    /// This process, from 0 on.
    fn rank(&self) -> usize;

    /// Which of this machine's ranks this one is: the number of the GPU to take.
    fn local_rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Replaces each value by its sum over all ranks, with the same bits on each.
    ///
    /// # Errors
    /// [`CommunicatorError`] when the others cannot be reached.
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CommunicatorError>;

    /// Replaces each value by its sum over all ranks, with the same bits on each: losses, counts.
    ///
    /// # Errors
    /// [`CommunicatorError`] when the others cannot be reached.
    fn all_reduce_f64(&self, values: &mut [f64]) -> Result<(), CommunicatorError>;

    /// Replaces the values of every rank by those of rank 0.
    ///
    /// # Errors
    /// [`CommunicatorError`] when the others cannot be reached.
    fn broadcast(&self, values: &mut [f32]) -> Result<(), CommunicatorError>;

    /// Replaces the bytes of every rank, however many it has, by those of rank 0.
    ///
    /// # Errors
    /// [`CommunicatorError`] when the others cannot be reached.
    fn broadcast_bytes(&self, bytes: &mut Vec<u8>) -> Result<(), CommunicatorError>;

    /// Returns when every rank has come here.
    ///
    /// # Errors
    /// [`CommunicatorError`] when the others cannot be reached.
    fn barrier(&self) -> Result<(), CommunicatorError>;

    /// Ends this process and, where the launcher can, all others: a rank that simply left would have the others wait for ever.
    fn abort(&self, code: i32) -> !;

    /// Whether this rank is the one that writes files and talks to the person.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}

/// Which way ranks talk, as it is asked for: `auto`, `alone`, `mpi` or `nccl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// As this process was launched.
    #[default]
    Auto,
    /// Not at all, however many were launched: each trains what it is told.
    Alone,
    /// Over MPI.
    Mpi,
    /// Between GPUs, over NCCL.
    Nccl,
}

impl Way {
    const ALL: [Self; 4] = [Self::Auto, Self::Alone, Self::Mpi, Self::Nccl];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Alone => "alone",
            Self::Mpi => "mpi",
            Self::Nccl => "nccl",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Way {
    type Err = CommunicatorError;

    fn from_str(text: &str) -> Result<Self, CommunicatorError> {
        let way = Self::ALL.into_iter().find(|way| way.name() == text);
        way.ok_or_else(|| CommunicatorError::Way { found: text.to_owned() })
    }
}

/// Joins the other processes that were launched with this one, if there are any.
///
/// Call it once, early, on the thread that trains.
///
/// # Errors
/// [`CommunicatorError`] when this process was launched as one of several and this build cannot talk to them (or they would all train
/// the same and write the same files), when the environment makes no sense, or when the others do not come.
pub fn join(way: Way) -> Result<Box<dyn Communicator>, CommunicatorError> {
    join_with(way, &|name| std::env::var(name).ok())
}

fn join_with(
    way: Way,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Box<dyn Communicator>, CommunicatorError> {
    match way {
        Way::Alone => Ok(Box::new(Alone)),
        Way::Mpi => mpi::join(Launch::read(environment)?.as_ref()),
        Way::Nccl => nccl::join(Launch::read(environment)?.as_ref()),
        Way::Auto => match Launch::read(environment)? {
            None => Ok(Box::new(Alone)),
            Some(launch) if launch.size == Some(1) => Ok(Box::new(Alone)),
            Some(launch) => match launch.launcher {
                Launcher::Mpi => mpi::join(Some(&launch)),
                Launcher::Environment => nccl::join(Some(&launch)),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Alone, Communicator, CommunicatorError, InProcess, Way, join_with};
    use std::thread;

    fn join(way: Way, environment: &[(&str, &str)]) -> Result<Box<dyn Communicator>, CommunicatorError> {
        let find =
            |name: &str| environment.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        join_with(way, &find)
    }

    #[test]
    fn one_process_is_alone() {
        for environment in [&[][..], &[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]] {
            let alone = join(Way::Auto, environment).unwrap();
            assert_eq!((alone.rank(), alone.local_rank(), alone.size(), alone.is_first()), (0, 0, 1, true));
        }
        let several = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")];
        assert_eq!(join(Way::Alone, &several).unwrap().size(), 1);
    }

    #[test]
    fn alone_changes_nothing() {
        let (mut values, mut exact, mut bytes) = ([-0.0, 1.5, f32::NAN], [-0.0, 2.5], vec![1, 2]);
        Alone.all_reduce_sum(&mut values).unwrap();
        Alone.broadcast(&mut values).unwrap();
        Alone.all_reduce_f64(&mut exact).unwrap();
        Alone.broadcast_bytes(&mut bytes).unwrap();
        Alone.barrier().unwrap();
        assert!(values[0].to_bits() == (-0.0_f32).to_bits() && values[1] == 1.5 && values[2].is_nan());
        assert!(exact[0].to_bits() == (-0.0_f64).to_bits() && exact[1] == 2.5 && bytes == [1, 2]);
    }

    #[cfg(not(feature = "mpi"))]
    #[test]
    fn ranks_that_cannot_talk_are_refused() {
        let error = join(Way::Auto, &[("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_RANK", "1")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this process is rank 1 of 2 that `mpirun` launched, and this `kadapter` was built without `mpi`"
        );
        assert!(error.hint().contains("cargo build --release --features mpi"), "{}", error.hint());
        let error = join(Way::Mpi, &[]).unwrap_err();
        assert_eq!(error.to_string(), "`mpi` was asked for, and this `kadapter` was built without `mpi`");
    }

    #[cfg(not(feature = "nccl"))]
    #[test]
    fn gpus_that_cannot_talk_are_refused() {
        let error = join(Way::Auto, &[("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "node1")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this process is rank 0 of 2 that `RANK` and `WORLD_SIZE` launched, and this `kadapter` was built without `nccl`"
        );
        assert!(error.hint().contains("--features nccl"), "{}", error.hint());
    }

    #[test]
    fn ways_have_names() {
        for way in Way::ALL {
            assert_eq!(way.to_string().parse::<Way>().unwrap(), way);
        }
        let error = "gloo".parse::<Way>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "Could not read the way that ranks talk `gloo`, expected `auto`, `alone`, `mpi` or `nccl`"
        );
    }

    #[test]
    fn threads_add_up_in_the_order_of_ranks() {
        // In f32, 1e8 + 1 - 1e8 is 0; in the other order, 1.
        let parts = [[1e8, 0.1], [1.0, 0.2], [-1e8, 0.3]];
        let ranks = InProcess::group(3);
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = ranks
                .into_iter()
                .map(|rank| {
                    scope.spawn(move || {
                        let mut values = parts[rank.rank()].map(|value| value as f32);
                        rank.all_reduce_sum(&mut values).unwrap();
                        let mut exact = parts[rank.rank()];
                        rank.all_reduce_f64(&mut exact).unwrap();
                        let mut first = [rank.rank() as f32 + 5.0];
                        rank.broadcast(&mut first).unwrap();
                        let mut bytes = vec![rank.rank() as u8; 3 - rank.rank()];
                        rank.broadcast_bytes(&mut bytes).unwrap();
                        rank.barrier().unwrap();
                        (values.map(f32::to_bits), exact.map(f64::to_bits), first, bytes)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let tenths = (f64::from(0.1_f32) + f64::from(0.2_f32) + f64::from(0.3_f32)) as f32;
        for (values, exact, first, bytes) in results {
            assert_eq!(values, [1.0_f32, tenths].map(f32::to_bits));
            assert_eq!(exact, [1.0, 0.1 + 0.2 + 0.3].map(f64::to_bits));
            assert_eq!((first, bytes), ([5.0], vec![0; 3]));
        }
    }
}
