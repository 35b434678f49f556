// A static program without any libc: its own _start, exit by a raw system call. Every weak name of
// the library is absent here, so each one's absence is tolerated or this crashes.
// Exit status: 0, or the number of the check that failed.
typedef unsigned long size_t;
extern "C" {
void *malloc(size_t);
void *calloc(size_t, size_t);
void *realloc(void *, size_t);
void free(void *);
void *aligned_alloc(size_t, size_t);
size_t malloc_usable_size(void *);
void *memalign(size_t, size_t);
int malloc_trim(size_t);
}

static void quit(long status) {
    asm volatile("syscall" : : "a"(231L), "D"(status) : "rcx", "r11", "memory");
    __builtin_unreachable();
}

static void fill(void *block, size_t size, unsigned char value) {
    volatile unsigned char *bytes = static_cast<volatile unsigned char *>(block);
    for (size_t i = 0; i < size; i++) bytes[i] = value;
}

static bool holds(void *block, size_t size, unsigned char value) {
    volatile unsigned char *bytes = static_cast<volatile unsigned char *>(block);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value) return false;
    return true;
}

static long checks() {
    static void *blocks[3000];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3000; i++) {
            size_t size = 1 + static_cast<size_t>(i) * 37 % 5000;
            blocks[i] = malloc(size);
            if (!blocks[i] || reinterpret_cast<size_t>(blocks[i]) % 16) return 1;
            if (malloc_usable_size(blocks[i]) < size) return 2;
            fill(blocks[i], size, static_cast<unsigned char>(i));
        }
        for (int i = 0; i < 3000; i++) {
            size_t size = 1 + static_cast<size_t>(i) * 37 % 5000;
            if (!holds(blocks[i], size, static_cast<unsigned char>(i))) return 3;
            free(blocks[i]);
        }
    }
    void *zeroed = calloc(100, 1000);
    if (!zeroed || !holds(zeroed, 100000, 0)) return 4;
    fill(zeroed, 100000, 7);
    zeroed = realloc(zeroed, 3000000);
    if (!zeroed || !holds(zeroed, 100000, 7)) return 5;
    zeroed = realloc(zeroed, 100);
    if (!zeroed || !holds(zeroed, 100, 7)) return 6;
    free(zeroed);
    void *aligned = aligned_alloc(4096, 8192);
    if (!aligned || reinterpret_cast<size_t>(aligned) % 4096) return 7;
    free(aligned);
    void *huge = malloc(64UL << 20);
    if (!huge) return 8;
    fill(huge, 4096, 1);
    free(huge);
    void *absurd = malloc(~0UL >> 1);
    if (absurd) return 9;
    char *made = new char[1000];
    fill(made, 1000, 5);
    delete[] made;
    long *one = new long(42);
    if (*one != 42) return 10;
    delete one;
    free(nullptr);
    malloc_trim(0);
    return 0;
}

// Thread-local storage has to be set up by whoever starts a static program.
extern "C" char __ehdr_start[] __attribute__((weak));
static char tls_area[4096] __attribute__((aligned(64)));

struct ProgramHeader {
    unsigned type, flags;
    size_t offset, address, physical, file_size, memory_size, alignment;
};

static void set_up_tls() {
    size_t header_offset = *reinterpret_cast<size_t *>(__ehdr_start + 32);
    unsigned short count = *reinterpret_cast<unsigned short *>(__ehdr_start + 56);
    auto *header = reinterpret_cast<ProgramHeader *>(__ehdr_start + header_offset);
    char *pointer = tls_area + 2048;
    for (int i = 0; i < count; i++) {
        if (header[i].type != 7) continue;
        size_t align = header[i].alignment ? header[i].alignment : 1;
        size_t size = (header[i].memory_size + align - 1) / align * align;
        char *data = reinterpret_cast<char *>(header[i].address);
        for (size_t k = 0; k < header[i].file_size; k++) (pointer - size)[k] = data[k];
    }
    *reinterpret_cast<void **>(pointer) = pointer;
    long result;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(158L), "D"(0x1002L), "S"(pointer)
                 : "rcx", "r11", "memory");
    if (result) quit(100);
}

extern "C" void run() {
    set_up_tls();
    quit(checks());
}

asm(".globl _start\n_start:\n  xor %ebp, %ebp\n  and $-16, %rsp\n  call run\n  ud2\n");
