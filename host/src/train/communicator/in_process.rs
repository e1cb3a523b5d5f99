//! Ranks that are threads of one process: what several processes do, without a launcher.

use std::sync::{Arc, Barrier, Mutex, PoisonError};

use super::sum::{Summand, in_rank_order};
use super::{Communicator, CommunicatorError};

/// One of several threads that train together.
#[derive(Debug)]
pub struct InProcess {
    rank: usize,
    shared: Arc<Shared>,
}

/// What every rank has put on the table.
#[derive(Debug)]
struct Shared {
    parts: Mutex<Vec<Part>>,
    barrier: Barrier,
}

#[derive(Debug, Clone, Default)]
enum Part {
    #[default]
    Nothing,
    Floats(Vec<f64>),
    Bytes(Vec<u8>),
}

impl InProcess {
    /// As many ranks, each for a thread of its own.
    pub fn group(size: usize) -> Vec<Self> {
        let parts = Mutex::new(vec![Part::Nothing; size]);
        let shared = Arc::new(Shared { parts, barrier: Barrier::new(size) });
        (0..size).map(|rank| Self { rank, shared: Arc::clone(&shared) }).collect()
    }

    /// Puts a part on the table, waits for all, and looks at them.
    fn exchange<R>(&self, part: Part, look: impl FnOnce(&[Part]) -> R) -> R {
        let table = || self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner);
        table()[self.rank] = part;
        self.shared.barrier.wait();
        let result = look(&table());
        self.shared.barrier.wait();
        result
    }

    fn sum<T: Summand>(&self, values: &mut [T]) {
        let part = Part::Floats(values.iter().map(|value| value.widen()).collect());
        self.exchange(part, |parts| {
            let parts: Vec<f64> = parts.iter().flat_map(floats).copied().collect();
            let mut sums = vec![0.0; values.len()];
            in_rank_order(&parts, &mut sums);
            for (value, sum) in values.iter_mut().zip(sums) {
                *value = T::narrow(sum);
            }
        });
    }
}

fn floats(part: &Part) -> &[f64] {
    if let Part::Floats(values) = part { values } else { &[] }
}

impl Communicator for InProcess {
    fn rank(&self) -> usize {
        self.rank
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner).len()
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
        let part = Part::Floats(values.iter().map(|value| value.widen()).collect());
        self.exchange(part, |parts| {
            for (value, first) in values.iter_mut().zip(parts.first().map_or(&[][..], floats)) {
                *value = f32::narrow(*first);
            }
        });
        Ok(())
    }

    fn broadcast_bytes(&self, bytes: &mut Vec<u8>) -> Result<(), CommunicatorError> {
        self.exchange(Part::Bytes(bytes.clone()), |parts| {
            if let Some(Part::Bytes(first)) = parts.first() {
                bytes.clone_from(first);
            }
        });
        Ok(())
    }

    fn barrier(&self) -> Result<(), CommunicatorError> {
        self.shared.barrier.wait();
        Ok(())
    }

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}
