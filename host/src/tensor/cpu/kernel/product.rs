//! Products of row-major rows with packed columns.

use super::{
    Isa, PackedRef, Rows, TileMut,
    micro::Call,
    pack::{GROUP, copy_panel_row, depth_blocks},
};

/// Floats that a tile may start from, and room for a panel that is only partly inside the result.
const WIDEST: usize = 32;
const TALLEST: usize = 12;
static ZEROS: [f32; WIDEST] = [0.0; WIDEST];

/// `out = a · weights + bias` for one group of columns: `a [r, depth]`, `out [r, columns of the group]`; `bias` has a float for
/// each column of all groups.
///
/// # Panics
/// When the sizes do not fit: a bug of the caller.
pub(in super::super) fn multiply_group(
    weights: PackedRef<'_>,
    group: usize,
    a: Rows<'_>,
    bias: Option<&[f32]>,
    out: &mut TileMut<'_>,
) {
    assert_eq!(out.columns(), GROUP.min(weights.columns - group * GROUP), "columns of a group");
    let (pointer, stride) = (out.as_mut_ptr(), out.stride());
    check(weights, a, bias, out.rows());
    // SAFETY: `out` is the only reference to rows of the group's columns; `check` compared the rest.
    unsafe { group_product(weights, group, a, bias, pointer, stride) };
}

/// `out = a · weights`, all groups: `a [r, depth]`, `out [r, columns]`.
///
/// # Panics
/// When the sizes do not fit: a bug of the caller.
pub(in super::super) fn multiply(weights: PackedRef<'_>, a: Rows<'_>, out: &mut TileMut<'_>) {
    assert_eq!(out.columns(), weights.columns, "columns of a product");
    let (pointer, stride) = (out.as_mut_ptr(), out.stride());
    check(weights, a, None, out.rows());
    for group in 0..weights.groups() {
        // SAFETY: `out` is the only reference to rows of all columns; `check` compared the rest.
        unsafe { group_product(weights, group, a, None, pointer.add(group * GROUP), stride) };
    }
}

/// Steps of a transposed product that are added before the next columns are looked at. Each step of `a` lies on another page where
/// rows are wide: so many pages fit the first-level translation buffers (64 to 96 entries).
const TRANSPOSED_DEPTH: usize = 80;

/// Rows further apart than this (1 KiB) lie on pages of their own before long: panels of such a right-hand side are packed.
const NEAR: usize = 256;

/// `out = aᵀ · b`, or `out += aᵀ · b`: `a [r, m]`, `b [r, n]`, `out [m, n]`. A microkernel reads a few columns of `a` row by row, and so
/// one panel of `b`, which is packed only if its rows are far apart.
///
/// # Panics
/// When the sizes do not fit: a bug of the caller.
pub(in super::super) fn multiply_transposed(isa: Isa, a: Rows<'_>, b: Rows<'_>, out: &mut TileMut<'_>, add: bool) {
    let isa = isa.or_available();
    assert_eq!(a.rows(), b.rows(), "the depth of a transposed product");
    assert_eq!([a.columns(), b.columns()], [out.rows(), out.columns()], "the shape of a transposed product");
    if a.rows() == 0 {
        if !add {
            (0..out.rows()).for_each(|row| out.row(row).fill(0.0));
        }
        return;
    }
    let shape = isa.shape();
    let width = shape.columns;
    let tiles = a.columns().div_ceil(shape.transposed.len());
    if tiles == 0 {
        return;
    }
    let (height, taller) = (a.columns() / tiles, a.columns() % tiles);
    let (pointer, out_stride) = (out.as_mut_ptr(), out.stride());
    let mut packed = [0.0_f32; WIDEST * TRANSPOSED_DEPTH];
    for start in (0..a.rows()).step_by(TRANSPOSED_DEPTH) {
        let depth = TRANSPOSED_DEPTH.min(a.rows() - start);
        let fresh = start == 0 && !add;
        for panel in (0..b.columns()).step_by(width) {
            let used = width.min(b.columns() - panel);
            let mut partial = [0.0_f32; WIDEST * TALLEST];
            let (block, b_stride) = if used == width && b.stride() <= NEAR {
                (b.row(start)[panel..].as_ptr(), b.stride())
            } else {
                for step in 0..depth {
                    copy_panel_row(&b.row(start + step)[panel..panel + used], &mut packed[step * width..][..width]);
                }
                (packed.as_ptr(), width)
            };
            let mut row = 0;
            for tile in 0..tiles {
                let rows = height + usize::from(tile < taller);
                // SAFETY: `row + rows <= a.columns()` and `start + depth <= a.rows()`, so `a` has `depth` rows of `rows` floats here;
                // `block` has `depth` rows of a panel's columns, of `b` or packed; `out` has `rows` rows of `used` columns here, and
                // `partial` stands in where a whole panel would reach past them. The processor has the instructions.
                unsafe {
                    let target = pointer.add(row * out_stride + panel);
                    let (c, c_stride) =
                        if used == width { (target, out_stride) } else { (partial.as_mut_ptr(), width) };
                    let (init, init_stride) = if fresh {
                        (ZEROS.as_ptr(), 0)
                    } else {
                        if used < width {
                            copy(target, out_stride, c, width, rows, used);
                        }
                        (c.cast_const(), c_stride)
                    };
                    let call = Call {
                        depth,
                        a: a.as_ptr().add(start * a.stride() + row),
                        a_stride: a.stride(),
                        b: block,
                        b_stride,
                        c,
                        c_stride,
                        init,
                        init_stride,
                    };
                    shape.transposed[rows - 1](&call);
                    if used < width {
                        copy(c, width, target, out_stride, rows, used);
                    }
                }
                row += rows;
            }
        }
    }
}

fn check(weights: PackedRef<'_>, a: Rows<'_>, bias: Option<&[f32]>, rows: usize) {
    let width = weights.isa.shape().columns;
    assert!(weights.isa == weights.isa.or_available(), "instructions that the processor lacks");
    assert!(weights.data.len() >= weights.columns.next_multiple_of(width) * weights.depth, "packed data");
    assert_eq!(a.columns(), weights.depth, "the depth of a product");
    assert_eq!(a.rows(), rows, "rows of a product");
    assert!(bias.is_none_or(|bias| bias.len() >= weights.columns), "the length of a bias");
}

/// # Safety
/// `check` passed; `out` is writable for `a.rows()` rows of the group's columns and nobody else touches them.
unsafe fn group_product(
    weights: PackedRef<'_>,
    group: usize,
    a: Rows<'_>,
    bias: Option<&[f32]>,
    out: *mut f32,
    out_stride: usize,
) {
    let shape = weights.isa.shape();
    let width = shape.columns;
    let first = group * GROUP;
    let columns = GROUP.min(weights.columns - first);
    let tiles = a.rows().div_ceil(shape.microkernels.len());
    if tiles == 0 {
        return;
    }
    let (height, taller) = (a.rows() / tiles, a.rows() % tiles);

    if weights.depth == 0 {
        for row in 0..a.rows() {
            for column in 0..columns {
                // SAFETY: inside the group's columns of `out`.
                unsafe { *out.add(row * out_stride + column) = bias.map_or(0.0, |bias| bias[first + column]) };
            }
        }
        return;
    }

    let mut block = weights.data[first * weights.depth..].as_ptr();
    for (start, depth) in depth_blocks(weights.depth) {
        for panel in (0..columns).step_by(width) {
            let used = width.min(columns - panel);
            let mut partial = [0.0_f32; WIDEST * TALLEST];
            let mut partial_bias = [0.0_f32; WIDEST];
            let bias = match bias {
                None => ZEROS.as_ptr(),
                Some(bias) if used == width => bias[first + panel..][..width].as_ptr(),
                Some(bias) => {
                    partial_bias[..used].copy_from_slice(&bias[first + panel..][..used]);
                    partial_bias.as_ptr()
                }
            };
            // The next block follows this one in memory: fetch it while this one is used, a share with every tile.
            let next = block.wrapping_add(depth * width);
            let lines = depth * width / LINE;

            let mut row = 0;
            for tile in 0..tiles {
                let rows = height + usize::from(tile < taller);
                for line in lines * tile / tiles..lines * (tile + 1) / tiles {
                    prefetch(next.wrapping_add(line * LINE));
                }
                // SAFETY: `row + rows <= a.rows()` and `start + depth <= a.columns()`; the block has `depth` rows of a panel's
                // columns; `out` has `rows` rows of `used` columns here, and `partial` stands in where a whole panel would
                // reach past them.
                unsafe {
                    let c = out.add(row * out_stride + panel);
                    let (c, c_stride) = if used == width { (c, out_stride) } else { (partial.as_mut_ptr(), width) };
                    let (init, init_stride) = if start == 0 {
                        (bias, 0)
                    } else {
                        if used < width {
                            copy(out.add(row * out_stride + panel), out_stride, c, width, rows, used);
                        }
                        (c.cast_const(), c_stride)
                    };
                    let call = Call {
                        depth,
                        a: a.as_ptr().add(row * a.stride() + start),
                        a_stride: a.stride(),
                        b: block,
                        b_stride: width,
                        c,
                        c_stride,
                        init,
                        init_stride,
                    };
                    shape.microkernels[rows - 1](&call);
                    if used < width {
                        copy(c, width, out.add(row * out_stride + panel), out_stride, rows, used);
                    }
                }
                row += rows;
            }
            block = next;
        }
    }
}

/// Floats in a cache line.
const LINE: usize = 16;

/// # Safety
/// Both sides are valid for `rows` rows of `columns` floats and do not overlap.
unsafe fn copy(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, rows: usize, columns: usize) {
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from.add(row * from_stride), to.add(row * to_stride), columns) };
    }
}

/// Asks for a cache line, into the second level. Any address will do: nothing is read.
#[inline(always)]
fn prefetch(line: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
