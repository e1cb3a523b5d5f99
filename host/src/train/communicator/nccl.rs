//! Ranks with a GPU each, over NCCL.
//!
//! NCCL moves the values between the GPUs; they are added up on the host, so that the sums have the bits that MPI's have. An
//! adapter's gradients are a few megabytes, which is little beside a step.

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaSlice, CudaStream, DeviceRepr, ValidAsZeroBits};
use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, NcclType, group_end, group_start};

use super::rendezvous::{self, PATIENCE};
use super::sum::{Summand, in_rank_order, share};
use super::{Communicator, CommunicatorError, Launch};

/// Values that go through the GPUs at a time: what they need there is small beside a model.
const BLOCK: usize = 1 << 24;
/// Bytes of the name under which ranks meet.
const ID: usize = 128;

/// Meets the other ranks at `MASTER_ADDR`, and starts NCCL on this rank's GPU.
pub(super) fn join(launch: Option<&Launch>) -> Result<Box<dyn Communicator>, CommunicatorError> {
    let missing = |missing| CommunicatorError::NotLaunched { way: "nccl", missing };
    let launch = launch.ok_or(missing("RANK"))?;
    let size = launch.size.ok_or(missing("WORLD_SIZE"))?;
    let address = launch.master.as_deref().ok_or(missing("MASTER_ADDR"))?;
    let mut name = [0_u8; ID];
    if launch.rank == 0 {
        let id = Id::new().map_err(problem("name this run"))?;
        name = id.internal().map(|byte| byte.to_ne_bytes()[0]);
    }
    rendezvous::share(address, launch.rank, size, &mut name, PATIENCE)?;
    let id = Id::uninit(name.map(|byte| std::ffi::c_char::from_ne_bytes([byte])));
    let context = CudaContext::new(launch.local_rank).map_err(problem("open this rank's GPU"))?;
    let stream = context.default_stream();
    let comm = Comm::from_rank(Arc::clone(&stream), launch.rank, size, id).map_err(problem("join the other ranks"))?;
    Ok(Box::new(Nccl { comm, stream, local_rank: launch.local_rank }))
}

/// Makes an error of one of CUDA's or NCCL's.
fn problem<E: Debug>(action: &'static str) -> impl Fn(E) -> CommunicatorError {
    move |error| CommunicatorError::Nccl { action, problem: format!("{error:?}") }
}

/// A rank with a GPU.
struct Nccl {
    comm: Comm,
    stream: Arc<CudaStream>,
    local_rank: usize,
}

impl Debug for Nccl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Nccl").field("rank", &self.rank()).field("size", &self.size()).finish_non_exhaustive()
    }
}

/// What can be sent between GPUs.
trait Value: NcclType + DeviceRepr + ValidAsZeroBits + Copy + Default + Unpin {}

impl Value for f32 {}
impl Value for f64 {}
impl Value for u64 {}
impl Value for u8 {}

impl Nccl {
    fn upload<T: Value>(&self, values: &[T]) -> Result<CudaSlice<T>, CommunicatorError> {
        self.stream.clone_htod(values).map_err(problem("bring values to the GPU"))
    }

    /// Values of the GPU, when all that was asked of it before is done.
    fn download<T: Value>(&self, values: &CudaSlice<T>) -> Result<Vec<T>, CommunicatorError> {
        let values = self.stream.clone_dtoh(values).map_err(problem("fetch values from the GPU"))?;
        self.stream.synchronize().map_err(problem("finish"))?;
        Ok(values)
    }

    fn zeros<T: Value>(&self, length: usize) -> Result<CudaSlice<T>, CommunicatorError> {
        self.stream.alloc_zeros(length).map_err(problem("take memory of the GPU"))
    }

    /// Each rank gets its share of every rank's values, adds it up, and gives the sums to all.
    fn sum<T: Value + Summand>(&self, values: &mut [T]) -> Result<(), CommunicatorError> {
        let size = self.size();
        for block in values.chunks_mut(BLOCK) {
            let share = share(block.len(), size);
            let mut all = vec![T::default(); share * size];
            all[..block.len()].copy_from_slice(block);
            let sent = self.upload(&all)?;
            let mut parts = self.zeros(share * size)?;
            group_start().map_err(problem("start sending"))?;
            for rank in 0..size {
                let (peer, range) = (count(rank), rank * share..(rank + 1) * share);
                self.comm.send(&sent.slice(range.clone()), peer).map_err(problem("send values"))?;
                self.comm.recv(&mut parts.slice_mut(range), peer).map_err(problem("receive values"))?;
            }
            group_end().map_err(problem("send values"))?;
            let mut sums = vec![T::default(); share];
            in_rank_order(&self.download(&parts)?, &mut sums);
            let sums = self.upload(&sums)?;
            let mut gathered = self.zeros(share * size)?;
            self.comm.all_gather(&sums, &mut gathered).map_err(problem("gather sums"))?;
            block.copy_from_slice(&self.download(&gathered)?[..block.len()]);
        }
        Ok(())
    }

    fn spread<T: Value>(&self, values: &mut [T]) -> Result<(), CommunicatorError> {
        for block in values.chunks_mut(BLOCK) {
            let mut there = self.upload(block)?;
            self.comm.broadcast_in_place(&mut there, 0).map_err(problem("spread values"))?;
            block.copy_from_slice(&self.download(&there)?);
        }
        Ok(())
    }
}

/// NCCL counts ranks in `i32`.
fn count(rank: usize) -> i32 {
    i32::try_from(rank).unwrap_or(i32::MAX)
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.comm.rank()
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn size(&self) -> usize {
        self.comm.world_size()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CommunicatorError> {
        self.sum(values)
    }

    fn all_reduce_f64(&self, values: &mut [f64]) -> Result<(), CommunicatorError> {
        self.sum(values)
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<(), CommunicatorError> {
        self.spread(values)
    }

    fn broadcast_bytes(&self, bytes: &mut Vec<u8>) -> Result<(), CommunicatorError> {
        let mut length = [bytes.len() as u64];
        self.spread(&mut length)?;
        bytes.resize(usize::try_from(length[0]).unwrap_or(usize::MAX), 0);
        self.spread(bytes)
    }

    fn barrier(&self) -> Result<(), CommunicatorError> {
        self.sum(&mut [0.0_f32])
    }

    /// Ends this process; NCCL has no way to end the others, whose launcher does (`srun --kill-on-bad-exit`).
    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}
