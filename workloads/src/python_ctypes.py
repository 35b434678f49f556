"""The C heap used directly through ctypes, and blocks that libc functions hand out."""

import ctypes

libc = ctypes.CDLL(None)
for name in ("malloc", "calloc", "realloc", "strdup", "realpath", "aligned_alloc"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.malloc.argtypes = [ctypes.c_size_t]
libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
libc.aligned_alloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]


def check_contents() -> int:
    total = 0
    blocks = []
    for index in range(20_000):
        size = 1 + (index * 7919) % 3000
        block = libc.malloc(size)
        assert block % 16 == 0
        ctypes.memset(block, index % 256, size)
        blocks.append((block, size, index % 256))
    for block, size, value in blocks[::2]:
        assert ctypes.string_at(block, size) == bytes([value]) * size
        libc.free(block)
    for block, size, value in blocks[1::2]:
        grown = libc.realloc(block, size * 2)
        assert ctypes.string_at(grown, size) == bytes([value]) * size
        total += size
        libc.free(grown)
    return total


def main() -> None:
    print("contents", check_contents())
    zeroed = libc.calloc(1000, 1000)
    print("zero", ctypes.string_at(zeroed, 1_000_000).count(0))
    libc.free(zeroed)
    for alignment in (64, 4096, 65536):
        block = libc.aligned_alloc(alignment, alignment)
        print("aligned", alignment, block % alignment)
        libc.free(block)
    text = libc.strdup(b"a copy")
    print(ctypes.string_at(text).decode())
    libc.free(text)
    path = libc.realpath(b"/usr/../usr/bin/..", None)
    print(ctypes.string_at(path).decode())
    libc.free(path)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    numbers = (ctypes.c_int * 5000)(*((index * 7919) % 5003 for index in range(5000)))

    @compare
    def by_value(a: int, b: int) -> int:
        left = ctypes.cast(a, ctypes.POINTER(ctypes.c_int))[0]
        right = ctypes.cast(b, ctypes.POINTER(ctypes.c_int))[0]
        return (left > right) - (left < right)

    libc.qsort(numbers, len(numbers), ctypes.sizeof(ctypes.c_int), by_value)
    print("sorted", list(numbers) == sorted(numbers), sum(numbers))


main()
