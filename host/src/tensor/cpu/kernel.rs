//! Everything that needs `unsafe` on the CPU: vector instructions, raw tiles, threads that borrow, aligned memory.
//!
//! What leaves this module is safe to use: [`Tiles`] hands out each part of a matrix once, [`Team`] returns only when nobody
//! works any more, and [`Rows`] and [`Packed`] carry sizes that were checked when they were made.
#![expect(
    unsafe_code,
    reason = "vector instructions, disjoint tiles of one matrix and scoped work on kept threads need it"
)]

mod buffer;
mod isa;
mod micro;
mod pack;
mod product;
mod rows;
mod team;
mod tiles;

pub(super) use buffer::Aligned;
pub use isa::Isa;
pub(super) use isa::Vectorised;
pub(super) use pack::{Packed, PackedRef, pack_columns, pack_columns_group, pack_rows, pack_rows_group, packed_length};
pub(super) use product::{multiply, multiply_group, multiply_transposed};
pub(super) use rows::Rows;
pub(super) use team::Team;
pub(super) use tiles::{TileMut, Tiles};
