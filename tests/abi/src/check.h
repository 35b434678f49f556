/* The frame of a test program: cases registered at link time and run by name.
 *
 * CASE(name) { ... }  must hold under glibc and under liballoc: glibc proves the test itself.
 * OURS(name) { ... }  holds for liballoc alone, because glibc promises something else.
 *
 * A case that returns has passed (exit status 0); a failed CHECK prints one line on stderr and ends
 * the process with status 1. Nothing here allocates, so that a case may own the first malloc.
 * ABI_PROVIDER in the environment is the file that malloc must come from.
 * Compiled with -D_GNU_SOURCE. */
#ifndef CHECK_H
#define CHECK_H

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_case {
    const char *name;
    void (*run)(void);
};

#ifdef __cplusplus
#define C_LINKAGE extern "C"
#else
#define C_LINKAGE extern
#endif

C_LINKAGE const struct test_case __start_cases[];
C_LINKAGE const struct test_case __stop_cases[];

#define CASE(id)                                                                                   \
    static void run_##id(void);                                                                    \
    static const struct test_case case_##id __attribute__((used, section("cases"))) = {#id,        \
                                                                                      run_##id}; \
    static void run_##id(void)
#define OURS(id) CASE(id)

/* Everything a case may want to know of its command line, past its own name. */
static int case_argc __attribute__((unused));
static char **case_argv __attribute__((unused));

static void __attribute__((noreturn, format(printf, 4, 5), unused))
fail_at(const char *file, int line, const char *condition, const char *format, ...) {
    char text[512];
    int used = snprintf(text, sizeof text, "%s:%d: %s: ", file, line, condition);
    if (used < 0 || (size_t)used > sizeof text - 2) used = sizeof text - 2;
    va_list arguments;
    va_start(arguments, format);
    used += vsnprintf(text + used, sizeof text - (size_t)used - 1, format, arguments);
    va_end(arguments);
    if ((size_t)used > sizeof text - 2) used = sizeof text - 2;
    text[used] = '\n';
    if (write(2, text, (size_t)used + 1) < 0) _exit(3);
    _exit(1);
}

#define FAIL(...) fail_at(__FILE__, __LINE__, "failed", __VA_ARGS__)
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) fail_at(__FILE__, __LINE__, #condition, __VA_ARGS__);                    \
    } while (0)

/* A machine that cannot show the case: status 77, which the tests report as skipped. */
#define SKIP(why)                                                                                  \
    do {                                                                                           \
        if (write(2, why "\n", sizeof why) < 0) _exit(3);                                          \
        _exit(77);                                                                                 \
    } while (0)

static void check_provider(void) {
    const char *wanted = getenv("ABI_PROVIDER");
    if (wanted == NULL) return;
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    CHECK(address != NULL && dladdr(address, &info) != 0, "malloc cannot be looked up");
    CHECK(strcmp(info.dli_fname, wanted) == 0, "malloc comes from %s", info.dli_fname);
}

int main(int argc, char **argv) {
    check_provider();
    case_argc = argc - 2;
    case_argv = argv + 2;
    for (const struct test_case *each = __start_cases; argc > 1 && each < __stop_cases; each++) {
        if (strcmp(each->name, argv[1]) != 0) continue;
        each->run();
        return 0;
    }
    FAIL("no case named %s", argc > 1 ? argv[1] : "(nothing)");
}

#endif
