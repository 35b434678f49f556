/* Stands in for liballoc in the tests of the harness: writes the line of statistics at exit and
 * leaves malloc alone. -DSILENT writes none, -DNOISY changes the program's standard error. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef NOISY
__attribute__((constructor)) static void hello(void) {
    static const char text[] = "stand-in: hello\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(99);
}
#endif

#ifndef SILENT
__attribute__((destructor)) static void write_statistics(void) {
    char file[512], exe[512] = "", line[1200];
    const char *conf = getenv("ALLOC_CONF");
    if (!conf || !(conf = strstr(conf, "stats_at_exit:"))) return;
    snprintf(file, sizeof file, "%s", conf + strlen("stats_at_exit:"));
    file[strcspn(file, ",")] = 0;
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0) return;
    int size = snprintf(line, sizeof line,
                        "{\"liballoc\":\"0.1.0\",\"pid\":%d,\"exe\":\"%s\",\"allocations\":1,"
                        "\"frees\":1}\n",
                        getpid(), exe);
    int out = open(file, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (out < 0 || write(out, line, (size_t)size) != size) _exit(98);
    close(out);
}
#endif
