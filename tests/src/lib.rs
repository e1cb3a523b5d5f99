//! Fixtures of the cross-crate tests: the official tiny model as packages in a registry of its own, and the numbers it must give.

pub mod cases;
pub mod document;
pub mod official;
pub mod paths;
pub mod publisher;
pub mod world;

pub use cases::{Cases, assert_close};
pub use publisher::Publisher;
pub use world::World;
