//! Weights in safetensors files: read once as a stream, verified while they are read, and written whole or not at all.
//!
//! The bytes that are hashed are the bytes that are used: [`Reader`] makes one pass over the file, hands out one tensor
//! after the other in the order of their data, and says at the end whether the file was the promised one. Whoever gets an
//! error discards what was read.
//!
//! ```no_run
//! # fn main() -> Result<(), kadapter_host::weights::Error> {
//! # let (path, expected) = (std::path::Path::new("weights.safetensors"), None);
//! let mut reader = kadapter_host::weights::Reader::open(path, expected)?;
//! while let Some(tensor) = reader.next_tensor()? {
//!     let name = tensor.info().name.clone();
//!     let values: Vec<f32> = tensor.read_f32()?; // the only copy
//!     println!("{name}: {}", values.len());
//! }
//! let (digest, size) = reader.finish()?;
//! # Ok(()) }
//! ```

mod convert;
mod error;
mod hash;
mod read;
mod write;

pub use convert::{check_finite, decode_f32, encode_f32, is_float};
pub use error::Error;
pub use read::{Expected, Reader, Tensor};
pub use write::{TensorSpec, Writer, write_f32};
