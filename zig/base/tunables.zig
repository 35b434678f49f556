//! Every number with a meaning: its unit, its value, and the price of raising or lowering it where
//! that was measured. ARCHITECTURE.md has the sweeps.
const assert = @import("assert.zig").assert;

pub const kib = 1 << 10;
pub const mib = 1 << 20;
pub const gib = 1 << 30;

/// log2 of the slice size in bytes. A slice is the unit of the slice map, of runs and of slabs.
/// 32 KiB slices cost 2-3 % memory, 64 KiB 4-5 %; 8 and 4 KiB gained nothing.
pub const slice_shift = 14;
pub const slice_size = 1 << slice_shift;

/// log2 of the slices one region can have: 2^26 x 16 KiB = 1 TiB.
pub const region_slices_shift = 26;
pub const region_slices_max = 1 << region_slices_shift;
/// Regions that can exist beside each other; only the first is known to the fast path.
pub const regions_max = 64;
/// The smallest reservation worth having, bytes; below it initialisation fails with ENOMEM.
pub const region_size_min = 4 * mib;
/// The first region under a memory checker, bytes: with its metadata below 256 MiB.
pub const watched_region_size = 128 * mib;
/// With a finite RLIMIT_AS a region takes at most this part (divisor) of what is left.
pub const region_limit_share = 8;

/// There are 4 size classes per doubling above 64 bytes (memory 1.063 of glibc's in the sweeps; 8:
/// 1.079, for more half-touched slabs and magazines), and one of each of these sizes, bytes:
/// programs put a header of their own before a power of two, before a page of 4 KiB one of some
/// hundred bytes. The sqlite3 shell (16,300 blocks of 1,032 bytes) needs 8 % less by an eighth and
/// 12 % less by a sixteenth above 1 KiB; 16 threads of random sizes need up to 1 % more for three
/// such classes, and 3 % if they went on to 2 MiB.
pub const header_sizes = [_]u32{ 1 * kib + 64, 2 * kib + 128, 4 * kib + 512 };
/// Largest block cut from slabs, bytes; larger blocks are runs of their own.
pub const small_size_max = 32 * kib;
/// Largest block kept in magazines, bytes; larger ones go straight to the run allocator.
pub const medium_size_max = 2 * mib;
/// Sizes up to here take their class from the table in the heap, bytes.
pub const table_size_max = 1024;
/// Slabs of large blocks hold about so many bytes: with 8 blocks of up to 32 KiB each, 16 threads
/// that replaced among 500 blocks of up to 64 KiB needed 6 % more memory.
pub const slab_bytes_min = 32 * kib;
/// Blocks per slab at most, so that block counts fit 16 bits and live bits 128 bytes.
pub const slab_blocks_max = 1024;

/// Bytes of blocks up to which the sizes between two powers of two share the slabs of the larger
/// one; asked when its magazine is refilled, so it is a page and what the magazine took. A program
/// or a thread with a block of each size up to 1 KiB touches 7 pages and not 20.
pub const shared_page_bytes = 4 * kib;

/// Slots of a new magazine, the sentinel included. Doubled on demand.
pub const magazine_slots_start = 8;
/// Slots a magazine may grow to: 128 costs 20-43 % more instructions on batch patterns.
pub const magazine_slots_max = 2048;
/// Slots of the first array of a magazine, of which it uses a few at first. Within it refills
/// (every so many) and drains raise the limit: a thread that only allocates has no overflow that
/// would, and what a drain finds no room for goes through the bits of its slab and back. They
/// never move an array: a signal handler may have interrupted a hit path that is about to store
/// into it. 256 would save 3 ns of 7 a block handed from thread to thread, for 40 KiB a thread.
pub const magazine_slots_easy = 64;
pub const refills_per_growth = 8;
/// Bytes of blocks one small magazine may hold; and how many as long as what all of a heap hold
/// above that is at most the third. 1,000 blocks in turn: of 200 bytes 5.6 ns a pair without, 2.6
/// with; of 4 KiB (100 of them) 13.4 and 8.1. Every magazine as large would leave 11 MiB when all
/// is freed.
pub const magazine_bytes_max = 72 * kib;
pub const magazine_bytes_extended = 288 * kib;
pub const magazines_extension_max = 512 * kib;
/// A magazine of a small class may always hold this many blocks, whatever their size.
pub const magazine_slots_min = 4;
/// Runs a magazine of a medium class may hold: one is enough for pairs, and 8 cost 2.5 % memory.
pub const medium_magazine_slots_max = 1;
/// Frees in a row that found their medium magazine full, with no allocation between, after which
/// all of them are emptied and closed: a program that frees all must not leave 24 runs behind.
pub const medium_frees_max = 4;
/// Bytes that the medium magazines of one heap may hold together, and of what is live a part
/// (divisor), shared among the threads, more; looked at when another run is taken. Without a limit
/// a string that grew to 1 MiB left 6 MiB in them, one run of each class. With a 32nd realloc
/// growth to 1 MiB takes a fifth longer than with an eighth.
pub const medium_held_min = 512 * kib;
pub const medium_held_share = 8;
/// A medium magazine gives its oldest run back after this many misses of any medium class.
pub const medium_scan_period = 16;
/// Blocks moved by one refill or one flush (of which half a small magazine is enough): so many the
/// first time, doubled so often while the other kind does not come. They are the tail: with 64 and
/// 256 one malloc in 1,000 of allocbench's bursty took 613 ns and one free 733, with 16 they took
/// 221 and 251. A program that only allocates, or only frees, wants many: batches of 100,000 took
/// 7.6 ns a pair with 16, 6.8 with 64.
pub const batch_blocks_min = 16;
pub const batch_doublings_max = 2;
pub const batch_blocks_max = batch_blocks_min << batch_doublings_max;
/// Magazines with arrays of at least so many slots use all but this part (divisor) of them: a flush
/// moves the window up by steps, and what stays is moved down only when it has reached the end.
/// Moved down each time, it doubled the time of batches of 100,000.
pub const window_room_min = 255;
pub const window_share = 8;
pub const window_step = batch_blocks_min;
/// Purged memory at the end of a region is given back for good, so that it no longer counts against
/// limits of data and of commit, when it is so many bytes. It costs a system call, and another when
/// the memory is wanted again: nothing beside its page faults.
pub const decommit_min = 64 * mib;
/// Each time what is live has halved, down from at least so many bytes, small magazines are emptied
/// at their next overflow and shrink to so many slots: 586 MiB of small blocks freed in random
/// order left 37 MiB of slabs that only cached blocks kept, now 7.
pub const shrink_live_min = 8 * mib;
pub const magazine_slots_shrunk = 1;
/// The same where blocks came back and no memory is about to return: 28 MiB of 16 to 511 bytes and
/// 7 of 600 to 2,000, freed in random order, left 19.6 MiB of slabs without and 3.6 with it. With 1
/// batches of 100,000 blocks of 200 bytes took 18.4 ns a pair, with 8 11.2, with 16 9.7, without
/// 8.5.
pub const magazine_slots_returned = 16;
/// Occupancy buckets of partial slabs, fullest first.
pub const slab_buckets = 4;

/// Pointers in one remote message: fills 512 bytes.
pub const message_blocks_max = 62;
/// Bytes of freed blocks after which a message is posted.
pub const message_bytes_max = 16 * kib;
/// Destinations a heap collects frees for at the same time (direct-mapped).
pub const outgoing_slots = 8;
/// Every n-th slow call posts all outgoing messages; every 16th was slower.
pub const post_period = 4;
/// In builds with -Dverify and in unit tests every n-th slow call checks its whole heap. Lower
/// finds a fault nearer to its cause and is slower; 1024 did not slow the model visibly.
pub const verify_period = 1024;
/// Messages a heap drains in one slow call: 3 x 62 blocks and a refill are fewer than 256.
pub const drain_messages_max = 3;
/// Messages queued in an inbox above which the poster helps to drain: 16 x 16 KiB = 256 KiB.
pub const inbox_messages_bound = 16;
/// Times that a trim drains another inbox (4 messages each) before it goes on: somebody may post
/// all the time.
pub const inbox_drains_max = 4096;
/// Messages a helper drains per hold of a foreign heap's lock.
pub const help_messages_max = 4;
/// Empty messages change hands by so many; a heap keeps less than twice as many (12 KiB). One at a
/// time cost 5 % of a loop of remote frees.
pub const message_batch = 12;
/// Batches that lie between threads (6 KiB each); what is more goes back to the arena.
pub const message_batches_max = 64;

/// Age in ms at which a dirty run is purged. 0: 2.5 times the faults; 500 and never: no gain in
/// time; 100: memory .94-.95 at equal faults.
pub const decay_ms_default = 100;
/// Dirty bytes kept when little is live; everything above goes back in the call that freed it.
/// With the caches of runs it stays under 8 MiB.
pub const dirty_reserve_min = 2 * mib;
/// Dirty bytes kept as a part (divisor) of the live bytes.
pub const dirty_reserve_share = 8;
/// While little is live a larger part of it (divisor), up to so many bytes: what lies idle moves by
/// that much when blocks of very different sizes are replaced. 1,000 of 16 bytes to 64 KiB: 3,700
/// page faults for 6,300, at the same peak.
pub const dirty_reserve_few_share = 3;
pub const dirty_reserve_few_max = 4 * mib;
/// Of the memory that a process may have, the part (divisor) that is not for idle memory: programs
/// have stacks, text and files too, and the kernel its tables. 100 MiB live of blocks to 64 KiB,
/// in a group of 1.2 times as much: ended by the system without, held with an eighth to a 32nd.
pub const allowance_margin_share = 16;
/// Dirty bytes over the reserve before a purge starts, so that it works in worthwhile pieces.
pub const dirty_hysteresis = mib / 2;
/// Bytes of one madvise at most, unless the run just freed is larger.
pub const purge_bytes_max = 2 * mib;
/// Calls of madvise at the end of one slow call while they have not purged two pieces. Small blocks
/// freed in random order leave runs of a slice or two: of 512 MiB 299 stayed with 2 calls, 60 with
/// 32. Of 8 million such frees each costs 7 ns more.
pub const purge_calls_max = 64;
/// Pages of a slab at least half free that go back beyond the reserve: so many bytes side by side
/// at least. 384 MiB of all sizes freed down to 57 left 221 MiB without, 116 with 16 KiB, 106 with
/// 8 and 102 with 4, at 37, 39 and 43 ms for 21 (and 150 to make them).
pub const hole_size_min = 8 * kib;
/// Bytes of holes a process may make in a millisecond (32 MiB a second: at most 8,192 faults, 2 %
/// of a CPU), beside as much as it has once grown by. A heap that swings every few milliseconds
/// would else fault its memory in each time: 100 tables of 16 MiB made and freed took 1.1 s, not
/// 0.17.
pub const hole_rate = 32 * kib;
/// The same where the process may have no more than is live: a quarter of a CPU.
pub const hole_rate_last = 16 * hole_rate;
/// What a byte of a hole that is handed out again takes away from that, bytes: it should not have
/// been made. 1,000 blocks of 16 bytes to 64 KiB that are replaced, 200,000 calls: 2,711 page
/// faults with 4, 2,562 with 16, 2,378 with 64, 2,264 without holes; 384 MiB of them freed at
/// random down to 57 leave 97 MiB with all of these, also with an allocation for every ten to two
/// frees. Where the process may have no more, the lesser of the two.
pub const hole_regret = 64;
pub const hole_regret_last = 4;
/// Calls of madvise for one slab whose blocks are freed.
pub const hole_calls_max = 4;
/// After one was refused so many slabs are not looked at.
pub const offers_passed = 64;
/// From so many bytes of live runs on, growth makes heaps look for whole free pages in the sparsest
/// slabs: so many slabs and calls for one slow call.
pub const sweep_live_min = 8 * mib;
pub const sweep_slabs_max = 16;
pub const sweep_calls_max = 16;
/// After the system refused a purge (locked memory), no other is tried for this long, ms.
pub const purge_backoff_ms = 1000;
/// A purged byte that is needed again within this time counts into the reserve, ms.
pub const swing_window_ms = 1000;
/// Times that as much as was purged must have been needed again before it counts so.
pub const swings_min = 2;
/// Run frees between two looks at the clock.
pub const clock_period = 32;

/// Blocks above this have a mapping of their own, bytes (SPEC: mmap_threshold).
pub const mmap_threshold_default = 32 * mib;
/// Freed huge blocks that are kept for a second when such blocks recur.
pub const huge_kept_max = 16;
/// Kept blocks are at most this part (divisor) of what the process may have: they go with slow
/// calls, and a program that makes none keeps them.
pub const huge_kept_share = 8;
/// Times that a block must have been wanted within a second of a free before a freed one is kept.
/// Three in a row may be chance.
pub const huge_recurrences_min = 3;
/// A kept block may be longer than what is wanted by this part (divisor): less is not cut off. It
/// is lengthened where it is at least that part of what is wanted.
pub const huge_slack_share = 8;
pub const huge_grow_share = 4;
/// A block that realloc grows to this or more moves to a mapping of its own with room, bytes. With
/// 1 MiB vectors that end there faulted in every page anew: 155,000 faults and 357 ms where 4 MiB
/// gives 14,800 and 154 (allocbench --profile realloc --ops 20000).
pub const realloc_own_mapping_min = 4 * mib;
/// What has no size class gets so much more (divisor) when it has grown where it could not stay.
pub const growth_share = 8;
/// Own mappings from which on no further block gets room to grow: block and room are two of the
/// 65,530 mappings that Linux allows by default, which the program needs too. Further blocks are
/// copied when they grow.
pub const own_mappings_with_room_max = 8192;
/// A block up to this size never moves when realloc makes it smaller, bytes.
pub const keep_size_max = 64;

/// Heaps (threads at one time). More threads share one locked heap.
pub const heaps_max = 1 << 16;
/// Explicit heaps that were destroyed and wait (5 KiB each) before the first of them is used again:
/// see explicit.zig.
pub const explicit_waiting_min = 8;
/// Explicit heaps at one time: they have their ids from among those of all heaps, of which threads
/// must find some left.
pub const explicit_max = heaps_max / 2;
/// Bytes for allocations of signal handlers that interrupted a slow path.
pub const emergency_size = 1 * mib;
/// Under a memory checker: freed blocks that are kept from reuse, and the largest of them, bytes.
/// 16 MiB at most; more would find later uses of freed memory.
pub const quarantine_blocks = 1024;
pub const quarantine_size_max = 16 * kib;
/// Frees such handlers can park in their heap.
pub const parked_max = 64;
/// Cold parts of heaps that lie side by side (1.4 KiB each, below 64): beside its heap an idle
/// thread would touch its own, and cost 9 KiB instead of 7.5.
pub const cold_batch = 16;

/// The commit step of a region: at least this, then an eighth of what is committed, bytes; up to
/// the end of a huge page.
pub const commit_step_min = 4 * mib;
pub const commit_step_share = 8;
pub const commit_step_max = 64 * mib;

/// Huge pages are asked for beyond this many bytes of a region: the heap that is used, not address
/// space. A heap that ends in one has up to 2 MiB that nobody asked for, here an eighth at most.
/// With 16 MiB instead of 32 (on a virtual machine where the first touch of 4 KiB takes 1.3 us, of
/// 2 MiB 0.25 us for 4 KiB): perl 100 to 89 ms of CPU time, z3 284 to 278, sqlite3 389 to 383, at 2
/// to 3 % more memory in these, none in others. 8 MiB: 88, 275 and 383, and a heap of 8.7 MiB needs
/// 16 % more. A child of fork grows by as much first: 64 workers with 9 MiB each needed 18 % more
/// with 8.
pub const hugepage_start = 16 * mib;

/// What the pools and arenas that ask for huge pages begin on a multiple of, bytes.
pub const huge_page_size = 2 * mib;
/// Pools of hft_alloc.h from so many bytes on ask for huge pages: below, the end that is no whole
/// huge page would be most of it.
pub const pool_huge_min = 4 * mib;
/// Chunks that an arena grows by: each twice as large as the last, bytes.
pub const arena_chunk_min = 64 * kib;
pub const arena_chunk_max = 2 * mib;
/// Free chunks that are looked at for one that is large enough, or given back for a larger one.
pub const arena_chunk_probes_max = 8;
/// Rewinds that an arena remembers in its own structure, so as to refuse checkpoints that one of
/// them undid; more are in a block of the heap.
pub const arena_rewinds_inline = 16;
/// A pool links its fresh objects into its list by so many bytes (whole objects, one at least): a
/// page, so that a page is touched when it is needed.
pub const pool_batch_bytes = 4 * kib;
/// Guard bytes on either side of an object of a debug pool, at least.
pub const pool_guard_size = 16;
/// Parts of a shared pool, each with a list of its own; a thread's heap says which is its. Two
/// threads on one part take turns with its cache line.
pub const shared_pool_shards = 16;
/// Objects that a thread whose part is empty takes from another, or of those never handed out.
pub const shared_pool_batch = 32;
/// Rounds over all parts while objects are on their way between them, before an allocation fails;
/// after so many of them the thread gives up its CPU each time.
pub const shared_pool_tries_max = 1000;
pub const shared_pool_spins_max = 20;
/// Blocks of each class of the router that hft_thread_init puts into a thread's magazines, and
/// rounds in which it tries, since magazines grow step by step. 130 KiB a thread.
pub const router_depth = 32;
pub const router_rounds_max = 8;
/// Largest block of the router's classes, bytes; larger ones go to the heap as they are.
pub const router_size_max = 2048;

comptime {
    assert(slice_size == 16 * kib);
    assert(slab_blocks_max <= 1 << 15);
    assert(medium_size_max < mmap_threshold_default);
    assert(drain_messages_max * message_blocks_max + batch_blocks_max <= 256);
    // The steps of a window are counted in 8 bits.
    assert(magazine_slots_max / window_step <= 255);
    // The slice index and the region number share one u32.
    assert(regions_max <= 1 << (32 - region_slices_shift));
}
