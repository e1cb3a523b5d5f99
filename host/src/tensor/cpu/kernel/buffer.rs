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
    pointer: NonNull<f32>,
    length: usize,
}

impl Aligned {
    /// `length` zeros, or `None` when there is no memory for them.
    pub(in super::super) fn zeroed(length: usize) -> Option<Self> {
        if length == 0 {
            return Some(Self { pointer: NonNull::dangling(), length });
        }
        let layout = Self::layout(length)?;
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        NonNull::new(pointer.cast()).map(|pointer| Self { pointer, length })
    }

    fn layout(length: usize) -> Option<Layout> {
        Layout::from_size_align(length.checked_mul(size_of::<f32>())?, ALIGNMENT).ok()
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if self.length > 0
            && let Some(layout) = Self::layout(self.length)
        {
            // SAFETY: `zeroed` allocated the pointer with this same layout, and nothing else frees it.
            unsafe { dealloc(self.pointer.as_ptr().cast(), layout) };
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
