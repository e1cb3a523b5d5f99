//! What was made for the last few batches, so that a pass of many layers makes it once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Batches of different boundaries that may be in use at a time: what a backbone, its adapters and a few interleaved requests
/// look at. Each entry is small (indices of the batch's rows).
const KEPT: usize = 8;

/// The values made for the keys that were asked for last.
#[derive(Debug)]
pub(super) struct Recent<K, V>(Mutex<VecDeque<(K, Arc<V>)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> Recent<K, V> {
    /// The value whose key `is` accepts, or what `make` gives; a failed `make` leaves nothing behind.
    pub(super) fn get<E>(
        &self,
        is: impl Fn(&K) -> bool,
        make: impl FnOnce() -> Result<(K, V), E>,
    ) -> Result<Arc<V>, E> {
        // Entries are only ever whole, so a thread that panicked elsewhere while holding the lock did no harm.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.iter().position(|(key, _)| is(key)).and_then(|place| entries.remove(place)) {
            Some(entry) => entry,
            None => {
                let (key, value) = make()?;
                (key, Arc::new(value))
            }
        };
        let value = Arc::clone(&entry.1);
        entries.push_front(entry);
        entries.truncate(KEPT);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_value_once_and_forgets_the_oldest() {
        let recent = Recent::<usize, usize>::default();
        let get = |key: usize| {
            let mut made = false;
            let value = recent.get(
                |known| *known == key,
                || {
                    made = true;
                    Ok::<_, ()>((key, key * 10))
                },
            );
            (value.map(|value| *value), made)
        };
        assert_eq!(get(0), (Ok(0), true));
        assert_eq!(get(1), (Ok(10), true));
        assert_eq!(get(0), (Ok(0), false));
        for key in 2..=KEPT {
            assert_eq!(get(key), (Ok(key * 10), true));
        }
        assert_eq!(get(0), (Ok(0), false), "used after 1, so 1 goes first");
        assert_eq!(get(1), (Ok(10), true));
    }

    #[test]
    fn a_failure_is_not_kept() {
        let recent = Recent::<usize, usize>::default();
        assert_eq!(recent.get(|_| true, || Err("no memory")), Err("no memory"));
        assert_eq!(recent.get(|_| true, || Ok::<_, &str>((1, 2))), Ok(Arc::new(2)));
    }
}
