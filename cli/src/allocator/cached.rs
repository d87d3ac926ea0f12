//! Blocks of a few KiB that each thread keeps for itself.
//!
//! glibc keeps freed blocks of up to 1 KiB by thread; for all larger ones it takes its arena's lock. The table of
//! headers that the HTTP server makes for each request is larger (200 headers are accepted), so that two threads of requests
//! waited for one another, and searched that arena for a place each time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// The largest that glibc keeps by thread.
const SMALL: usize = 1032;
/// Sizes of blocks are multiples of this, up to as many of them as there are classes.
const STEP: usize = 1024;
const CLASSES: usize = 8;
/// Blocks of a class that a thread keeps: 144 KiB at most.
const KEPT: usize = 4;
/// Of every block; what System gives for it.
const ALIGN: usize = 16;

/// The system's allocator with such blocks in front of it.
#[derive(Debug)]
pub(crate) struct Cached;

struct Blocks {
    /// By class, all but the first `count` null.
    kept: [[Cell<*mut u8>; KEPT]; CLASSES],
    count: [Cell<usize>; CLASSES],
}

thread_local! {
    /// Without a destructor, which an allocator must not have: see [`give_back`].
    static BLOCKS: Blocks = const {
        Blocks { kept: [const { [const { Cell::new(ptr::null_mut()) }; KEPT] }; CLASSES], count: [const { Cell::new(0) }; CLASSES] }
    };
}

/// The class of a block, if blocks of its size are kept.
const fn class(layout: Layout) -> Option<usize> {
    if layout.size() <= SMALL || layout.size() > STEP * CLASSES || layout.align() > ALIGN {
        return None;
    }
    Some((layout.size() - 1) / STEP)
}

/// What is asked of the system for a block of a class.
fn whole(class: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and the size is a multiple of it and small.
    unsafe { Layout::from_size_align_unchecked((class + 1) * STEP, ALIGN) }
}

impl Blocks {
    fn take(&self, class: usize) -> Option<*mut u8> {
        let (kept, count) = (self.kept.get(class)?, self.count.get(class)?);
        let last = count.get().checked_sub(1)?;
        let block = kept.get(last)?.get();
        count.set(last);
        Some(block)
    }

    /// `false`: there is no room for it.
    fn keep(&self, class: usize, block: *mut u8) -> bool {
        let Some((kept, count)) = self.kept.get(class).zip(self.count.get(class)) else { return false };
        let Some(free) = kept.get(count.get()) else { return false };
        free.set(block);
        count.set(count.get() + 1);
        true
    }
}

/// Gives the calling thread's blocks back: for a thread that ends.
pub(crate) fn give_back() {
    for class in 0..CLASSES {
        while let Some(block) = BLOCKS.with(|blocks| blocks.take(class)) {
            // SAFETY: a block of a class came from the system with the layout of its class, and nobody has it any more.
            unsafe { System.dealloc(block, whole(class)) };
        }
    }
}

// SAFETY: a size of a class is always asked of, and given back to, the system as `whole`, which is at least as large and as
// aligned; a kept block belongs to its thread alone until it is taken; all else is the system's own.
unsafe impl GlobalAlloc for Cached {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc(layout) };
        };
        let kept = BLOCKS.try_with(|blocks| blocks.take(class)).ok().flatten();
        // SAFETY: the size is not zero.
        kept.unwrap_or_else(|| unsafe { System.alloc(whole(class)) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.dealloc(block, layout) };
        };
        if !BLOCKS.try_with(|blocks| blocks.keep(class, block)).unwrap_or(false) {
            // SAFETY: it came from the system as `whole`.
            unsafe { System.dealloc(block, whole(class)) };
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class(layout).is_none() {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as the caller promises.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block has at least the size of the layout.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is not zero and not too large for the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class(layout), class(wanted)) {
            // SAFETY: as the caller promises.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: it came from the system as `whole`, and leaves the sizes that are kept.
            (Some(old), None) if size > layout.size() => unsafe { System.realloc(block, whole(old), size) },
            _ => {
                // SAFETY: both blocks have at least the smaller size, they do not overlap, and the old one is not used again.
                unsafe {
                    let other = self.alloc(wanted);
                    if !other.is_null() {
                        ptr::copy_nonoverlapping(block, other, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    other
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_a_thread_frees_it_gets_again_and_what_it_asks_to_grow_keeps_its_bytes() {
        let mut bytes = vec![7_u8; 1100];
        for size in [1500, 2049, 8192, 8193, 100_000, 3000, 600] {
            bytes.resize(size.max(bytes.len()), 7);
            bytes.truncate(size);
            bytes.shrink_to_fit();
            assert!(bytes.len() == size && bytes.iter().all(|byte| *byte == 7), "{size}");
        }
        let layout = Layout::from_size_align(6400, 8).unwrap();
        give_back();
        // SAFETY: the size is not zero, and each block is given back as it was asked for.
        unsafe {
            let first = Cached.alloc(layout);
            Cached.dealloc(first, layout);
            assert_eq!(Cached.alloc(layout), first);
            ptr::write_bytes(first, 1, 6400);
            Cached.dealloc(first, layout);
            let zeroed = Cached.alloc_zeroed(layout);
            assert!(zeroed == first && (0..6400).all(|n| *zeroed.add(n) == 0));
            Cached.dealloc(zeroed, layout);
        }
        give_back();
    }

    #[test]
    fn a_thread_keeps_so_many_blocks_and_no_more() {
        let layout = Layout::from_size_align(5000, 16).unwrap();
        // SAFETY: as above.
        unsafe {
            let blocks: Vec<_> = (0..20).map(|_| Cached.alloc(layout)).collect();
            blocks.into_iter().for_each(|block| Cached.dealloc(block, layout));
        }
        let class = class(layout).unwrap();
        assert!(BLOCKS.with(|blocks| blocks.count.get(class).unwrap().get()) == KEPT);
        give_back();
        assert!(BLOCKS.with(|blocks| blocks.count.get(class).unwrap().get()) == 0);
    }
}
