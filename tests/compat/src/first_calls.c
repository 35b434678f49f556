/* The first call of malloc's family that a process makes, before any constructor has run; the name
 * of the case says which. Each must work, and must not keep the next from working. */
#include <locale.h>

#include "entries.h"

static int answer = -1;

static int first_of(const char *name) {
    if (strcmp(name, "C01_free_of_null") == 0) {
        free(NULL);
        return 1;
    }
    if (strcmp(name, "C01_usable_size_of_null") == 0) return malloc_usable_size(NULL) == 0;
    if (strcmp(name, "C01_realloc_of_null") == 0) {
        char *block = (char *)realloc(NULL, 100);
        if (block == NULL || malloc_usable_size(block) < 100) return 0;
        fill(block, 100, 1);
        if (intact(block, 100, 1) != 100) return 0;
        free(block);
        return 1;
    }
    if (strcmp(name, "C01_locale") == 0) {
        locale_t made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (made == (locale_t)0) return 0;
        locale_t copy = duplocale(made);
        freelocale(made);
        freelocale(copy);
        return copy != (locale_t)0;
    }
    if (strcmp(name, "C01_aligned") == 0) {
        void *block = NULL;
        if (posix_memalign(&block, 4096, 100) != 0 || !is_aligned(block, 4096)) return 0;
        free(block);
        return 1;
    }
    if (strcmp(name, "C02_error_of_dlsym") == 0) {
        if (dlsym(RTLD_DEFAULT, "a_name_that_nobody_has") != NULL) return 0;
        const char *text = dlerror();
        return text != NULL && strstr(text, "a_name_that_nobody_has") != NULL;
    }
    return 0;
}

static void before_every_constructor(int argc, char **argv, char **environment) {
    (void)environment;
    if (argc > 1) answer = first_of(argv[1]);
}

__attribute__((section(".preinit_array"), used)) static void (*const early)(int, char **, char **) =
    before_every_constructor;

static void check_first_and_second(void) {
    CHECK(answer == 1, "the first call answered %d", answer);
    FOR_EACH_ENTRY(each) {
        unsigned char *block = (unsigned char *)each->allocate(1000);
        CHECK(block != NULL, "%s after it", each->name);
        fill(block, 1000, 2);
        CHECK(intact(block, 1000, 2) == 1000, "%s after it", each->name);
        free(block);
    }
}

CASE(C01_free_of_null) { check_first_and_second(); }
CASE(C01_usable_size_of_null) { check_first_and_second(); }
CASE(C01_realloc_of_null) { check_first_and_second(); }
CASE(C01_locale) { check_first_and_second(); }
CASE(C01_aligned) { check_first_and_second(); }
CASE(C02_error_of_dlsym) { check_first_and_second(); }
