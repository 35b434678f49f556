//! liballoc as the global allocator:
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: liballoc::Liballoc = liballoc::Liballoc;
//!
//! fn main() {
//!     let numbers: Vec<u64> = (0..1000).collect();
//!     assert_eq!(numbers.iter().sum::<u64>(), 499_500);
//! }
//! ```
//!
//! liballoc.a is linked into the program and with it `malloc` itself: C code in the program is on
//! the same heap, and blocks may pass between both.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr;

/// As `alloc_stats_t` in alloc.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Blocks that left slabs and runs (a pair that a thread's magazine serves is not counted).
    pub allocations: u64,
    /// Blocks that came back, or lie in a magazine.
    pub frees: u64,
    /// Bytes of live blocks, by size class.
    pub bytes_in_use: u64,
    /// Bytes of slabs, runs and mappings held.
    pub bytes_mapped: u64,
    /// Bytes of those in physical memory.
    pub bytes_resident: u64,
    /// Bytes handed out since the start, counted like `allocations`.
    pub total_allocated: u64,
    /// `bytes_mapped` in pages of the operating system.
    pub total_pages: u64,
    /// 100 * (1 - in use / mapped) when most was in use.
    pub fragmentation_pct: f64,
}

extern "C" {
    fn alloc_malloc(size: usize) -> *mut c_void;
    fn alloc_free(pointer: *mut c_void);
    fn alloc_calloc(count: usize, size: usize) -> *mut c_void;
    fn alloc_realloc(pointer: *mut c_void, size: usize) -> *mut c_void;
    fn alloc_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn alloc_usable_size(pointer: *const c_void) -> usize;
    fn alloc_stats(out: *mut Stats, size: usize) -> i32;
}

/// A snapshot over all threads, which are not stopped: exact when they rest.
pub fn stats() -> Stats {
    let mut now = Stats::default();
    unsafe { alloc_stats(&mut now, core::mem::size_of::<Stats>()) };
    now
}

/// Every block is on a multiple of this.
const NATURAL_ALIGNMENT: usize = 16;

/// The allocator: `#[global_allocator] static GLOBAL: Liballoc = Liballoc;`
#[derive(Clone, Copy, Debug, Default)]
pub struct Liballoc;

unsafe impl GlobalAlloc for Liballoc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= NATURAL_ALIGNMENT {
            return alloc_malloc(layout.size()).cast();
        }
        alloc_aligned_alloc(layout.align(), layout.size()).cast()
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        alloc_free(pointer.cast());
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= NATURAL_ALIGNMENT {
            return alloc_calloc(1, layout.size()).cast();
        }
        let block = self.alloc(layout);
        if !block.is_null() {
            ptr::write_bytes(block, 0, layout.size());
        }
        block
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= NATURAL_ALIGNMENT {
            return alloc_realloc(pointer.cast(), size).cast();
        }
        realloc_aligned(self, pointer, layout, size)
    }
}

/// realloc keeps no alignment above the natural one when it moves: a block that stays at least half
/// full stays, others are copied.
unsafe fn realloc_aligned(
    own: &Liballoc,
    pointer: *mut u8,
    layout: Layout,
    size: usize,
) -> *mut u8 {
    let usable = alloc_usable_size(pointer.cast());
    if size <= usable && size >= usable / 2 {
        return pointer;
    }
    let block = own.alloc(Layout::from_size_align_unchecked(size, layout.align()));
    if !block.is_null() {
        ptr::copy_nonoverlapping(pointer, block, layout.size().min(size));
        own.dealloc(pointer, layout);
    }
    block
}
