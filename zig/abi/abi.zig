//! The C face: which function stands behind which exported name. root.zig exports this table.
const aligned = @import("aligned.zig");
const alloc_h = @import("alloc_h.zig");
const arena_h = @import("arena_h.zig");
const cxx_delete = @import("cxx_delete.zig");
const cxx_new = @import("cxx_new.zig");
const heap_h = @import("heap_h.zig");
const hft_h = @import("hft_h.zig");
pub const introspect = @import("introspect.zig");
pub const log = @import("log.zig");
const malloc = @import("malloc.zig");
const pool_h = @import("pool_h.zig");
pub const realloc = @import("realloc.zig");
const shared_pool_h = @import("shared_pool_h.zig");
pub const options = @import("options.zig");
pub const startup = @import("startup.zig");
pub const statistics = @import("statistics.zig");

/// Every allocating name stands beside the freeing ones of its family: a name left out would
/// fall through to the libc, whose blocks would then meet our free.
pub const table = .{
    .{ "malloc", &malloc.malloc },
    .{ "free", &malloc.free },
    .{ "cfree", &malloc.free },
    .{ "free_sized", &malloc.free },
    .{ "free_aligned_sized", &malloc.free },
    .{ "calloc", &malloc.calloc },
    .{ "realloc", &realloc.realloc },
    .{ "reallocarray", &realloc.reallocarray },
    .{ "aligned_alloc", &aligned.alignedAlloc },
    .{ "posix_memalign", &aligned.posixMemalign },
    .{ "memalign", &aligned.memalign },
    .{ "valloc", &aligned.valloc },
    .{ "pvalloc", &aligned.pvalloc },
    .{ "malloc_usable_size", &malloc.usableSize },

    .{ "__libc_malloc", &malloc.malloc },
    .{ "__libc_free", &malloc.free },
    .{ "__libc_cfree", &malloc.free },
    .{ "__libc_calloc", &malloc.calloc },
    .{ "__libc_realloc", &realloc.realloc },
    .{ "__libc_reallocarray", &realloc.reallocarray },
    .{ "__libc_memalign", &aligned.memalign },
    .{ "__libc_valloc", &aligned.valloc },
    .{ "__libc_pvalloc", &aligned.pvalloc },
    .{ "__posix_memalign", &aligned.posixMemalign },

    .{ "malloc_trim", &introspect.mallocTrim },
    .{ "malloc_stats", &introspect.mallocStats },
    .{ "malloc_info", &introspect.mallocInfo },
    .{ "mallinfo", &introspect.mallinfo },
    .{ "mallinfo2", &introspect.mallinfo2 },
    .{ "mallopt", &introspect.mallopt },

    .{ "alloc_malloc", &malloc.malloc },
    .{ "alloc_free", &malloc.free },
    .{ "alloc_calloc", &malloc.calloc },
    .{ "alloc_realloc", &realloc.realloc },
    .{ "alloc_aligned_alloc", &aligned.alignedAlloc },
    .{ "alloc_usable_size", &malloc.usableSize },
    .{ "alloc_stats", &alloc_h.allocStats },
    .{ "alloc_stats_json", &alloc_h.allocStatsJson },
    .{ "alloc_config", &alloc_h.allocConfig },

    .{ "alloc_heap_create", &heap_h.create },
    .{ "alloc_heap_destroy", &heap_h.destroy },
    .{ "alloc_heap_malloc", &heap_h.malloc },
    .{ "alloc_heap_calloc", &heap_h.calloc },
    .{ "alloc_heap_aligned_alloc", &heap_h.alignedAlloc },
    .{ "alloc_heap_realloc", &heap_h.realloc },
    .{ "alloc_heap_free", &heap_h.free },
    .{ "alloc_heap_owns", &heap_h.owns },
    .{ "alloc_heap_stats", &heap_h.stats },

    .{ "alloc_arena_create", &arena_h.create },
    .{ "alloc_arena_alloc", &arena_h.alloc },
    .{ "alloc_arena_alloc_aligned", &arena_h.allocAligned },
    .{ "alloc_arena_checkpoint", &arena_h.checkpoint },
    .{ "alloc_arena_rewind", &arena_h.rewind },
    .{ "alloc_arena_reset", &arena_h.reset },
    .{ "alloc_arena_trim", &arena_h.trim },
    .{ "alloc_arena_destroy", &arena_h.destroy },
    .{ "alloc_arena_stats", &arena_h.stats },

    .{ "alloc_pool_create", &pool_h.create },
    .{ "alloc_pool_alloc", &pool_h.alloc },
    .{ "alloc_pool_free", &pool_h.free },
    .{ "alloc_pool_alloc_at", &pool_h.allocAt },
    .{ "alloc_pool_free_at", &pool_h.freeAt },
    .{ "alloc_pool_destroy", &pool_h.destroy },
    .{ "alloc_pool_check", &pool_h.check },
    .{ "alloc_pool_stats", &pool_h.stats },

    .{ "alloc_shared_pool_create", &shared_pool_h.create },
    .{ "alloc_shared_pool_alloc", &shared_pool_h.alloc },
    .{ "alloc_shared_pool_free", &shared_pool_h.free },
    .{ "alloc_shared_pool_destroy", &shared_pool_h.destroy },
    .{ "alloc_shared_pool_stats", &shared_pool_h.stats },

    .{ "hft_pool_create", &hft_h.poolCreate },
    .{ "hft_pool_create_aligned", &hft_h.poolCreateAligned },
    .{ "hft_pool_create_numa", &hft_h.poolCreateNuma },
    .{ "hft_pool_create_debug", &hft_h.poolCreateDebug },
    .{ "hft_pool_alloc", &pool_h.alloc },
    .{ "hft_pool_free", &pool_h.free },
    .{ "hft_pool_destroy", &hft_h.poolDestroy },
    .{ "hft_pool_stats", &hft_h.poolStats },
    .{ "hft_pool_alloc_debug", &pool_h.allocAt },
    .{ "hft_pool_free_debug", &pool_h.freeAt },
    .{ "hft_pool_check", &pool_h.check },
    .{ "hft_arena_create", &hft_h.arenaCreate },
    .{ "hft_arena_alloc", &arena_h.alloc },
    .{ "hft_arena_reset", &arena_h.reset },
    .{ "hft_arena_destroy", &hft_h.arenaDestroy },
    .{ "hft_init", &hft_h.threadInit },
    .{ "hft_thread_init", &hft_h.threadInit },
    .{ "hft_alloc", &hft_h.alloc },
    .{ "hft_free", &malloc.free },
};

/// Exported weakly: a program that defines some of them itself links with the archive.
pub const operators = .{
    .{ "_Znwm", &cxx_new.new },
    .{ "_Znam", &cxx_new.newArray },
    .{ "_ZnwmRKSt9nothrow_t", &cxx_new.newNothrow },
    .{ "_ZnamRKSt9nothrow_t", &cxx_new.newArrayNothrow },
    .{ "_ZnwmSt11align_val_t", &cxx_new.newAligned },
    .{ "_ZnamSt11align_val_t", &cxx_new.newArrayAligned },
    .{ "_ZnwmSt11align_val_tRKSt9nothrow_t", &cxx_new.newAlignedNothrow },
    .{ "_ZnamSt11align_val_tRKSt9nothrow_t", &cxx_new.newArrayAlignedNothrow },
    .{ "_ZdlPv", &malloc.free },
    .{ "_ZdaPv", &cxx_delete.to_delete.plain },
    .{ "_ZdlPvm", &cxx_delete.to_delete.plain },
    .{ "_ZdaPvm", &cxx_delete.to_delete_array.plain },
    .{ "_ZdlPvRKSt9nothrow_t", &cxx_delete.to_delete.plain },
    .{ "_ZdaPvRKSt9nothrow_t", &cxx_delete.to_delete_array.plain },
    .{ "_ZdlPvSt11align_val_t", &malloc.free },
    .{ "_ZdaPvSt11align_val_t", &cxx_delete.to_delete_aligned.aligned },
    .{ "_ZdlPvmSt11align_val_t", &cxx_delete.to_delete_aligned.sized },
    .{ "_ZdaPvmSt11align_val_t", &cxx_delete.to_delete_array_aligned.sized },
    .{ "_ZdlPvSt11align_val_tRKSt9nothrow_t", &cxx_delete.to_delete_aligned.aligned },
    .{ "_ZdaPvSt11align_val_tRKSt9nothrow_t", &cxx_delete.to_delete_array_aligned.aligned },
};

test {
    _ = @import("cxx_guard.zig");
    _ = @import("heap_fuzz.zig");
    _ = @import("options_fuzz.zig");
    _ = log;
    _ = options;
    _ = statistics;
    _ = introspect;
}
