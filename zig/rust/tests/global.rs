//! The whole program on liballoc: containers, alignment, zeroed memory, threads, and that the heap
//! that serves them is ours.
use liballoc::Liballoc;
use std::alloc::{alloc, alloc_zeroed, dealloc, realloc, Layout};
use std::collections::{BTreeMap, HashMap};
use std::thread;

#[global_allocator]
static GLOBAL: Liballoc = Liballoc;

const MIB: usize = 1 << 20;

/// The other tests run beside this one and hold a few MiB.
#[test]
fn the_heap_is_ours() {
    let before = liballoc::stats();
    let block = vec![0u8; 512 * MIB];
    let during = liballoc::stats();
    assert!(during.bytes_in_use >= before.bytes_in_use + 256 * MIB as u64);
    assert!(during.total_pages > 0);
    drop(block);
    assert!(liballoc::stats().bytes_in_use + 256 * MIB as u64 <= during.bytes_in_use);
}

#[test]
fn containers_grow_and_shrink() {
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    for number in 0..50_000u64 {
        map.insert(number, number.to_string());
        tree.insert(number.to_string(), vec![number; (number % 50) as usize]);
    }
    for number in 0..50_000u64 {
        assert_eq!(map[&number], number.to_string());
        assert_eq!(tree[&number.to_string()].len() as u64, number % 50);
    }
    let mut bytes = Vec::new();
    for number in 0..5 * MIB {
        bytes.push(number as u8);
    }
    bytes.truncate(10);
    bytes.shrink_to_fit();
    assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn every_alignment_is_kept_by_alloc_and_realloc() {
    for shift in 0..17 {
        let align = 1usize << shift;
        for size in [1usize, 100, 5_000, 70_000, 3 * MIB] {
            let layout = Layout::from_size_align(size, align).unwrap();
            unsafe {
                let mut block = alloc(layout);
                assert!(!block.is_null() && block as usize % align == 0);
                block.write_bytes(0xa5, size);
                let mut now = layout;
                for new in [size + 1, size * 3, size / 3 + 1, 1] {
                    block = realloc(block, now, new);
                    assert!(!block.is_null() && block as usize % align == 0, "{align} {new}");
                    for at in 0..new.min(now.size()) {
                        assert_eq!(block.add(at).read(), 0xa5);
                    }
                    block.write_bytes(0xa5, new);
                    now = Layout::from_size_align(new, align).unwrap();
                }
                dealloc(block, now);
            }
        }
    }
}

#[test]
fn blocks_that_grow_do_not_reach_into_others() {
    for align in [8usize, 64] {
        for size in [64usize, 1_000, 9_000, 100_000] {
            let layout = Layout::from_size_align(size, align).unwrap();
            let grown = Layout::from_size_align(size * 3, align).unwrap();
            unsafe {
                let mut blocks: Vec<*mut u8> = (0..16).map(|_| alloc(layout)).collect();
                for (number, block) in blocks.iter_mut().enumerate() {
                    *block = realloc(*block, layout, grown.size());
                    block.write_bytes(number as u8, grown.size());
                }
                for (number, block) in blocks.into_iter().enumerate() {
                    assert!((0..grown.size()).all(|at| block.add(at).read() == number as u8));
                    dealloc(block, grown);
                }
            }
        }
    }
}

#[test]
fn zeroed_memory_is_zero_where_dirt_was() {
    for align in [1, 16, 32, 4096] {
        for size in [1usize, 64, 4_000, 100_000] {
            let layout = Layout::from_size_align(size, align).unwrap();
            unsafe {
                let blocks: Vec<*mut u8> = (0..20).map(|_| alloc(layout)).collect();
                for block in blocks {
                    block.write_bytes(0xff, size);
                    dealloc(block, layout);
                }
                let block = alloc_zeroed(layout);
                assert!((0..size).all(|at| block.add(at).read() == 0));
                dealloc(block, layout);
            }
        }
    }
}

#[test]
fn threads_free_what_others_made() {
    for _ in 0..20 {
        let made = thread::spawn(|| (0..2_000).map(|n| Box::new([n; 10])).collect::<Vec<_>>());
        let boxes = made.join().unwrap();
        let sum = thread::spawn(move || boxes.iter().map(|b| b[9] as u64).sum::<u64>());
        assert_eq!(sum.join().unwrap(), 1_999_000);
    }
}
