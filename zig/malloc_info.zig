//! A member of its own in the archive, before all others: malloc_info with a strong reference to
//! the stdio of the host. In a static program the weak one of the rest brings nothing in, so that
//! malloc_info had nothing to print with; and a strong one there would bring stdio into every
//! program, and refuse to link where there is no libc. Linkers take this member alone for a call of
//! malloc_info, and its strong name then comes before the weak one of the rest.
//!
//! A program that the rest has come into before the first object that calls malloc_info (an archive
//! behind this one) keeps the weak one, which prints if fputs is in the program, else says ENOSYS.

extern fn fputs(text: [*:0]const u8, stream: ?*anyopaque) callconv(.c) c_int;
extern fn liballoc_malloc_info(
    options: c_int,
    stream: ?*anyopaque,
    put: *const @TypeOf(fputs),
) callconv(.c) c_int;

export fn malloc_info(options: c_int, stream: ?*anyopaque) callconv(.c) c_int {
    return liballoc_malloc_info(options, stream, &fputs);
}
