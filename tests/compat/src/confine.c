/* Runs a program under a seccomp filter.
 *
 *     confine RULE... -- PROGRAM ARGUMENTS...
 *
 * errno:CALL:NUMBER           the call fails with that errno
 * above:CALL:INDEX:LIMIT:NUMBER   the same, when the argument of that index is above the limit
 * kill:CALL                   the call ends the process with SIGSYS
 *
 * Exit status 77 and one line when the machine refuses the filter, 2 for an unknown rule. */
#include <stdio.h>
#include <stdlib.h>

#include "filter.h"

static const struct {
    const char *name;
    long number;
} calls[] = {
    {"mmap", SYS_mmap},
    {"munmap", SYS_munmap},
    {"mprotect", SYS_mprotect},
    {"mremap", SYS_mremap},
    {"madvise", SYS_madvise},
    {"mincore", SYS_mincore},
    {"getrandom", SYS_getrandom},
    {"prctl", SYS_prctl},
    {"rseq", SYS_rseq},
    {"membarrier", SYS_membarrier},
    {"sysinfo", SYS_sysinfo},
    {"prlimit64", SYS_prlimit64},
    {"getcpu", SYS_getcpu},
    {"sched_getaffinity", SYS_sched_getaffinity},
    {"readlink", SYS_readlinkat},
};

static void __attribute__((noreturn)) end(int status, const char *what, const char *detail) {
    fprintf(stderr, "confine: %s: %s\n", what, detail);
    exit(status);
}

static long number_of(const char *name, const char *rule) {
    for (size_t i = 0; name != NULL && i < sizeof calls / sizeof calls[0]; i++)
        if (strcmp(calls[i].name, name) == 0) return calls[i].number;
    end(2, "unknown system call", rule);
}

static unsigned long value_of(const char *text, const char *rule) {
    char *rest;
    if (text == NULL) end(2, "a number is missing", rule);
    unsigned long value = strtoul(text, &rest, 0);
    if (*rest != 0 || rest == text) end(2, "not a number", rule);
    return value;
}

static void add(struct filter *filter, const char *rule) {
    char text[128];
    snprintf(text, sizeof text, "%s", rule);
    const char *kind = strtok(text, ":");
    if (kind == NULL) end(2, "unknown rule", rule);
    if (strcmp(kind, "errno") != 0 && strcmp(kind, "above") != 0 && strcmp(kind, "kill") != 0)
        end(2, "unknown rule", rule);
    long number = number_of(strtok(NULL, ":"), rule);
    if (strcmp(kind, "kill") == 0) {
        filter_call(filter, number, SECCOMP_RET_KILL_PROCESS);
    } else if (strcmp(kind, "errno") == 0) {
        uint32_t error = (uint32_t)value_of(strtok(NULL, ":"), rule);
        filter_call(filter, number, SECCOMP_RET_ERRNO | error);
    } else {
        unsigned argument = (unsigned)value_of(strtok(NULL, ":"), rule);
        unsigned long limit = value_of(strtok(NULL, ":"), rule);
        uint32_t error = (uint32_t)value_of(strtok(NULL, ":"), rule);
        filter_above(filter, number, argument, limit, SECCOMP_RET_ERRNO | error);
    }
}

int main(int argc, char **argv) {
    struct filter filter = {.count = 0};
    int index = 1;
    for (; index < argc && strcmp(argv[index], "--") != 0; index++) add(&filter, argv[index]);
    if (index + 1 >= argc) end(2, "no program", "confine RULE... -- PROGRAM ARGUMENTS...");
    if (filter_install(&filter, SECCOMP_RET_ALLOW) != 0) end(77, "no filter", strerror(errno));
    execv(argv[index + 1], argv + index + 1);
    end(2, argv[index + 1], strerror(errno));
}
