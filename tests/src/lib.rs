//! Fixtures and helpers of the cross-crate tests.
