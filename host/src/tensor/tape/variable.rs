//! A tensor on a tape.

use crate::tensor::derivatives::Derivatives;
use std::fmt;
use std::sync::Arc;

/// A matrix `[rows, columns]` on a tape: its value, where it stands in the record if a gradient may reach it, and the keys of its
/// rows. Cloning shares it.
pub struct Variable<E: Derivatives> {
    pub(super) value: E::Tensor,
    pub(super) node: Option<usize>,
    /// `None`: a row's key is its number.
    pub(super) keys: Option<Arc<[u64]>>,
}

impl<E: Derivatives> Variable<E> {
    pub(super) fn constant(value: E::Tensor, keys: Option<Arc<[u64]>>) -> Self {
        Self { value, node: None, keys }
    }

    /// The value on the device.
    pub fn value(&self) -> &E::Tensor {
        &self.value
    }

    /// The keys of the rows, if they are not their numbers.
    pub fn row_keys(&self) -> Option<&Arc<[u64]>> {
        self.keys.as_ref()
    }

    /// Whether a gradient may reach it.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// The key of one row.
    pub(super) fn key(&self, row: usize) -> u64 {
        self.keys.as_ref().and_then(|keys| keys.get(row).copied()).unwrap_or(row as u64)
    }
}

impl<E: Derivatives> Clone for Variable<E> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), node: self.node, keys: self.keys.clone() }
    }
}

impl<E: Derivatives> fmt::Debug for Variable<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Variable")
            .field("node", &self.node)
            .field("keyed", &self.keys.is_some())
            .finish_non_exhaustive()
    }
}
