//! One process: there is nobody to talk to.

use super::{Communicator, CommunicatorError};

/// The only rank.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _values: &mut [f32]) -> Result<(), CommunicatorError> {
        Ok(())
    }

    fn all_reduce_f64(&self, _values: &mut [f64]) -> Result<(), CommunicatorError> {
        Ok(())
    }

    fn broadcast(&self, _values: &mut [f32]) -> Result<(), CommunicatorError> {
        Ok(())
    }

    fn broadcast_bytes(&self, _bytes: &mut Vec<u8>) -> Result<(), CommunicatorError> {
        Ok(())
    }

    fn barrier(&self) -> Result<(), CommunicatorError> {
        Ok(())
    }

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}
