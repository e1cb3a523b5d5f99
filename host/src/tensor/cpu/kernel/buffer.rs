//! Memory for floats, aligned to cache lines and initialised from the start.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A cache line, in bytes.
const ALIGNMENT: usize = 64;

/// A fixed number of floats that begin on a cache line. New ones are zero (the system's zero pages, not yet touched).
pub(in super::super) struct Aligned {
    /// What was allocated; dangling where that was nothing.
    base: NonNull<u8>,
    /// The first cache line in it.
    pointer: NonNull<f32>,
    length: usize,
}

impl Aligned {
    /// `length` zeros, or `None` when there is no memory for them.
    pub(in super::super) fn zeroed(length: usize) -> Option<Self> {
        if length == 0 {
            return Some(Self { base: NonNull::dangling(), pointer: NonNull::dangling(), length });
        }
        let layout = Self::layout(length)?;
        // SAFETY: the layout's size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let offset = base.addr().get().wrapping_neg() % ALIGNMENT;
        // SAFETY: the offset is less than a cache line, which the layout has room for before the floats.
        let pointer = unsafe { base.add(offset) };
        Some(Self { base, pointer: pointer.cast(), length })
    }

    /// Aligned by hand: asked for an alignment like this, the system's allocator writes the zeros itself, page by page.
    fn layout(length: usize) -> Option<Layout> {
        let bytes = length.checked_mul(size_of::<f32>())?.checked_add(ALIGNMENT)?;
        Layout::from_size_align(bytes, align_of::<f32>()).ok()
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if self.length > 0
            && let Some(layout) = Self::layout(self.length)
        {
            // SAFETY: `zeroed` allocated `base` with this same layout, and nothing else frees it.
            unsafe { dealloc(self.base.as_ptr(), layout) };
        }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `length` floats were allocated and zeroed; a dangling pointer goes with length 0 only.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }
}

// SAFETY: `Aligned` owns its memory as `Box<[f32]>` does.
unsafe impl Send for Aligned {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Aligned {}
