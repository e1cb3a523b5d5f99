//! What every store must do and withstand, for any program of tests that has a store to try: it needs `mod packages` beside
//! `mod stores`.

pub(crate) mod conformance;
