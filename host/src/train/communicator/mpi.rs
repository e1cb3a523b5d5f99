//! Ranks that `mpirun` launched, over MPI.

use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives, Equivalence, Root};

use super::sum::{Summand, in_rank_order, share};
use super::{Communicator, CommunicatorError, Launch};

/// Values that go through the network at a time: MPI counts in `i32`, and each rank needs room for twice as many.
const BLOCK: usize = 1 << 22;

/// Starts MPI in this process.
pub(super) fn join(launch: Option<&Launch>) -> Result<Box<dyn Communicator>, CommunicatorError> {
    // The kernels have threads of their own, but none of them calls MPI.
    let (universe, _) = mpi::initialize_with_threading(Threading::Funneled).ok_or(CommunicatorError::Twice)?;
    let world = universe.world();
    let local_rank = launch.map_or(0, |launch| launch.local_rank);
    Ok(Box::new(Mpi { world, local_rank, _universe: universe }))
}

/// A rank of the world that was launched. MPI's own answer to an error is to end all ranks, so no call here fails.
struct Mpi {
    world: SimpleCommunicator,
    local_rank: usize,
    /// MPI is ended when this is dropped.
    _universe: Universe,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Mpi").field("rank", &self.rank()).field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Mpi {
    /// Each rank gets its share of every rank's values, adds it up, and gives the sums to all.
    fn sum<T: Summand + Equivalence>(&self, values: &mut [T]) {
        let size = self.size();
        for block in values.chunks_mut(BLOCK) {
            let share = share(block.len(), size);
            let mut all = vec![T::default(); share * size];
            all[..block.len()].copy_from_slice(block);
            let mut parts = vec![T::default(); share * size];
            self.world.all_to_all_into(&all[..], &mut parts[..]);
            let mut sums = vec![T::default(); share];
            in_rank_order(&parts, &mut sums);
            self.world.all_gather_into(&sums[..], &mut all[..]);
            block.copy_from_slice(&all[..block.len()]);
        }
    }

    fn spread<T: Equivalence>(&self, values: &mut [T]) {
        for block in values.chunks_mut(BLOCK) {
            self.world.process_at_rank(0).broadcast_into(block);
        }
    }
}

/// MPI's ranks are counted from 0 on, in `i32`.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        count(self.world.rank())
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn size(&self) -> usize {
        count(self.world.size())
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CommunicatorError> {
        self.sum(values);
        Ok(())
    }

    fn all_reduce_f64(&self, values: &mut [f64]) -> Result<(), CommunicatorError> {
        self.sum(values);
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<(), CommunicatorError> {
        self.spread(values);
        Ok(())
    }

    fn broadcast_bytes(&self, bytes: &mut Vec<u8>) -> Result<(), CommunicatorError> {
        let mut length = [bytes.len() as u64];
        self.spread(&mut length);
        bytes.resize(usize::try_from(length[0]).unwrap_or(usize::MAX), 0);
        self.spread(bytes);
        Ok(())
    }

    fn barrier(&self) -> Result<(), CommunicatorError> {
        self.world.barrier();
        Ok(())
    }

    fn abort(&self, code: i32) -> ! {
        self.world.abort(code)
    }
}
