// The same for operator new.
#include "../../abi/src/check.h"

#include <new>

// A pair of new and delete that nothing else sees may be left out by the compiler.
static void *volatile seen;

OURS(clean) {
    for (int size = 1; size < 3000; size += 7) {
        char *bytes = new char[size];
        seen = bytes;
        memset(bytes, size, size);
        delete[] bytes;
        int *number = new (std::nothrow) int(size);
        seen = number;
        delete number;
    }
}

OURS(clean_aligned) {
    for (int size = 1; size < 3000; size += 7) {
        void *aligned = ::operator new(size, std::align_val_t{256});
        seen = aligned;
        memset(aligned, size, size);
        ::operator delete(aligned, std::align_val_t{256});
    }
}

OURS(overflow_of_new) {
    char *bytes = new char[27];
    seen = bytes;
    bytes[27] = 1;
    delete[] bytes;
}

OURS(overflow_of_aligned_new) {
    char *bytes = static_cast<char *>(::operator new(27, std::align_val_t{128}));
    seen = bytes;
    bytes[27] = 1;
    ::operator delete(bytes, std::align_val_t{128});
}
