//! The typed pools and arenas of Zig programs, as functions to look at: `zig build typed` makes an
//! object file of them, and tests/elf counts their instructions.
const pools = @import("pools");

const Order = extern struct { price: u64, amount: u64, next: u64, owner: u64 };
const Orders = pools.TypedPool(Order);
const Drafts = pools.TypedArena(Order);

export fn typed_pool_create(orders: *Orders) ?*Order {
    return orders.create();
}

export fn typed_pool_destroy(orders: *Orders, order: *Order) void {
    orders.destroy(order);
}

export fn typed_arena_create(drafts: *Drafts) ?*Order {
    return drafts.create();
}
