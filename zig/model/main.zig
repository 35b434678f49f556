//! The executable around the model's two objects; as little as can be, since it is linked anew for
//! each seeded bug. See command.zig.
const std = @import("std");

extern fn liballoc_model_main(words: [*]const [*:0]const u8, count: usize) u8;

pub const panic = std.debug.no_panic;

pub fn main(init: std.process.Init.Minimal) u8 {
    const words = init.args.vector;
    return liballoc_model_main(words.ptr, words.len);
}
