//! Buffers that are used again.
//!
//! A fresh large allocation costs a page fault per 4 KiB, more than many ops cost. Buffers come back here when the last tensor
//! that shares one is dropped, sorted into size classes (four per doubling). A request takes the smallest that is large enough, up to
//! twice its own class: batches of training data are of many sizes, and none may miss for that.

use super::kernel::Aligned;
use kadapter_plugin_api::{Error, Result};
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Idle buffers by size, up to a limit.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    /// The most bytes to keep idle.
    limit: usize,
}

#[derive(Default)]
struct Idle {
    by_length: BTreeMap<usize, Vec<Aligned>>,
    bytes: usize,
}

/// The smallest buffer, in floats.
const SMALLEST: usize = 256;

impl Pool {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), limit })
    }

    /// A buffer of at least `length` floats, with whatever values were in it.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Result<Pooled> {
        let no_memory = || Error::device(format!("Could not allocate a buffer of {length} floats: out of memory"));
        let class = size_class(length).ok_or_else(no_memory)?;
        let kept = {
            let mut idle = self.lock();
            let kept = idle.by_length.range_mut(class..=class.saturating_mul(2)).find_map(|(_, kept)| kept.pop());
            idle.bytes -= kept.as_ref().map_or(0, |kept| kept.len() * size_of::<f32>());
            kept
        };
        let mut buffer = match kept {
            Some(buffer) => buffer,
            None => Aligned::zeroed(class).ok_or_else(no_memory)?,
        };
        if cfg!(debug_assertions) {
            // Whoever reads what it did not write gets NaN, in tests.
            buffer.fill(f32::NAN);
        }
        Ok(Pooled { buffer: Some(buffer), pool: Arc::clone(self) })
    }

    /// Bytes of the buffers that wait for use.
    pub(super) fn idle_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn give_back(&self, buffer: Aligned) {
        let bytes = buffer.len() * size_of::<f32>();
        let mut idle = self.lock();
        if bytes <= self.limit.saturating_sub(idle.bytes) {
            idle.bytes += bytes;
            idle.by_length.entry(buffer.len()).or_default().push(buffer);
        }
    }

    /// A thread that panicked while it held the lock left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next of 4, 5, 6, 7 times a power of two.
fn size_class(length: usize) -> Option<usize> {
    let length = length.max(SMALLEST);
    let step = 1_usize.checked_shl(length.ilog2().checked_sub(2)?)?;
    length.checked_next_multiple_of(step)
}

/// A buffer on loan from a [`Pool`]; dropping it gives it back.
pub(super) struct Pooled {
    /// `None` only while dropping.
    buffer: Option<Aligned>,
    pool: Arc<Pool>,
}

impl Deref for Pooled {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_the_smallest_idle_buffer_that_is_large_enough_and_at_most_twice_as_large() {
        let pool = Pool::new(1 << 20);
        let lengths = [1024, 1536, 4096];
        let buffers = lengths.map(|length| pool.take(length).unwrap());
        drop(buffers);
        let bytes = |floats: usize| floats * size_of::<f32>();
        assert_eq!(pool.idle_bytes(), bytes(1024 + 1536 + 4096));
        // 1200 is of class 1280.
        let fitting = pool.take(1200).unwrap();
        assert_eq!((fitting.len(), pool.idle_bytes()), (1536, bytes(1024 + 4096)));
        let exact = pool.take(1024).unwrap();
        assert_eq!((exact.len(), pool.idle_bytes()), (1024, bytes(4096)));
        let fresh = pool.take(1600).unwrap();
        assert_eq!((fresh.len(), pool.idle_bytes()), (1792, bytes(4096)), "4096 is more than twice 1792");
        let twice = pool.take(2048).unwrap();
        assert_eq!((twice.len(), pool.idle_bytes()), (4096, 0));
        drop((fitting, exact, fresh, twice));
        assert_eq!(pool.idle_bytes(), bytes(1024 + 1536 + 1792 + 4096));
    }

    #[test]
    fn what_is_over_the_limit_goes_back_to_the_system() {
        let pool = Pool::new(5000);
        let buffers = [pool.take(1024).unwrap(), pool.take(1024).unwrap()];
        drop(buffers);
        assert_eq!(pool.idle_bytes(), 4096);
    }

    #[test]
    fn buffers_begin_on_cache_lines() {
        let pool = Pool::new(0);
        for length in [1, 300, 5000, 1 << 20] {
            let buffer = pool.take(length).unwrap();
            assert!(buffer.len() >= length && buffer.as_ptr().addr().is_multiple_of(64), "{length}");
        }
    }
}
