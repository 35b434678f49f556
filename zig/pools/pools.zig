//! The layer's public face: explicit allocators. Arenas, pools, pools that threads share, the
//! size-class router; each also for Zig programs.
pub const arena = @import("arena.zig");
pub const Arena = arena.Arena;
pub const backing = @import("backing.zig");
pub const counts = @import("counts.zig");
pub const place = @import("place.zig");
pub const pool = @import("pool.zig");
pub const Pool = pool.Pool;
pub const router = @import("router.zig");
pub const SharedPool = @import("shared_pool.zig").SharedPool;
pub const TypedArena = @import("typed.zig").TypedArena;
pub const TypedPool = @import("typed.zig").TypedPool;

test {
    _ = arena;
    _ = @import("arena_test.zig");
    _ = backing;
    _ = @import("block_set.zig");
    _ = @import("rewinds.zig");
    _ = place;
    _ = pool;
    _ = @import("pool_test.zig");
    _ = router;
    _ = SharedPool;
}
