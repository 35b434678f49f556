/* Runs a program and prints, in one line, what its start costs: system calls, page faults, and the
 * resident KiB of its private memory when it exits.
 *
 *     measure PROGRAM ARGUMENTS...
 *
 * By ptrace, since the maximum that the kernel keeps for a process survives exec. Its own preload
 * does not matter: nothing here allocates. Exit status 77 when tracing is refused. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

struct cost {
    unsigned long calls, faults, resident_kib, private_kib;
};

static void read_file(pid_t pid, const char *name, char *text, size_t size) {
    snprintf(text, size, "/proc/%d/%s", (int)pid, name);
    int file = open(text, O_RDONLY);
    ssize_t got = file < 0 ? 0 : read(file, text, size - 1);
    text[got > 0 ? got : 0] = 0;
    close(file);
}

static unsigned long field(const char *text, const char *name) {
    const char *found = strstr(text, name);
    return found == NULL ? 0 : strtoul(found + strlen(name), NULL, 10);
}

static void look(pid_t pid, struct cost *cost) {
    char text[8192];
    read_file(pid, "smaps_rollup", text, sizeof text);
    cost->resident_kib = field(text, "Rss:");
    cost->private_kib = field(text, "Private_Dirty:") + field(text, "Private_Clean:");
    read_file(pid, "stat", text, sizeof text);
    char *rest = strrchr(text, ')');
    if (rest != NULL) sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %lu", &cost->faults);
}

/* To the end of the process; its exit status. The faults before exec are not its own. */
static int trace(pid_t pid, struct cost *cost) {
    int status = 0, entering = 1, running = 0;
    unsigned long faults_before = 0;
    for (int signal = 0;; signal = 0) {
        ptrace(PTRACE_SYSCALL, pid, 0, signal);
        if (waitpid(pid, &status, 0) < 0) return 1;
        if (WIFEXITED(status) || WIFSIGNALED(status)) break;
        int event = status >> 8;
        if (event == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
            running = 1;
            look(pid, cost);
            faults_before = cost->faults;
        } else if (event == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
            look(pid, cost);
        } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            cost->calls += (unsigned long)(running && entering);
            entering = !entering;
        } else {
            signal = WSTOPSIG(status);
        }
    }
    cost->faults -= faults_before;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(77);
        raise(SIGSTOP);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status)) return 77;
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT;
    if (ptrace(PTRACE_SETOPTIONS, pid, 0, options) != 0) return 77;
    struct cost cost = {0, 0, 0, 0};
    status = trace(pid, &cost);
    dprintf(2, "%lu %lu %lu %lu\n", cost.calls, cost.faults, cost.resident_kib, cost.private_kib);
    return status;
}
