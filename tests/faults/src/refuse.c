/* Runs a program and refuses some of its system calls: the n-th, or all from the n-th on.
 *
 *   refuse --call=NAME --errno=NAME [--nth=N] [--onwards] [--library=FILE [--everybody]]
 *          [--reservations=BYTES] [--report=FILE] -- PROGRAM ARGUMENTS
 *
 * The library makes raw system calls, which no shim of libc functions sees. So a seccomp filter
 * hands every call of that name to this process (SECCOMP_RET_USER_NOTIF), which counts it and says
 * whether the kernel shall carry it out. The filter is inherited: calls of all descendants count.
 *
 * --library    is preloaded, and only calls made by its own code count (the instruction pointer
 *              lies in its mapping); with --everybody those of libc and the loader count as well.
 * --nth        which call, counted from 1; 0, the default, refuses none and only counts.
 * --reservations  only mappings without access, of at least so many bytes.
 * --report     gets the line "calls=N refused=M" at the end.
 *
 * Ends as the program ends, by the same signal if by one. Status 77: this kernel cannot do it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct word {
    const char *name;
    int value;
};

static const struct word calls[] = {
    {"mmap", SYS_mmap},       {"munmap", SYS_munmap},
    {"mprotect", SYS_mprotect}, {"madvise", SYS_madvise},
    {"mremap", SYS_mremap},   {"openat", SYS_openat},
#ifdef SYS_open
    {"open", SYS_open},
#endif
};
static const struct word errors[] = {
    {"ENOMEM", ENOMEM}, {"EAGAIN", EAGAIN}, {"EPERM", EPERM}, {"ENOSYS", ENOSYS},
    {"EINVAL", EINVAL}, {"ENOENT", ENOENT},
};

enum { CALLS = sizeof calls / sizeof *calls, ERRORS = sizeof errors / sizeof *errors };

static struct {
    int call, error, onwards, everybody;
    unsigned long nth, reservations;
    const char *preload, *report;
    char **program;
} chosen;

static unsigned long counted, refused;

static void __attribute__((noreturn)) stop(int status, const char *what) {
    fprintf(stderr, "refuse: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    _exit(status);
}

static int value_of(const struct word *words, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i].name, name) == 0) return words[i].value;
    errno = 0;
    fprintf(stderr, "refuse: unknown name '%s'\n", name);
    _exit(2);
}

static unsigned long number_of(const char *text) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    errno = 0;
    if (*text == 0 || *end != 0) stop(2, "a number is no number");
    return number;
}

static void read_options(int argc, char **argv) {
    static const struct option options[] = {
        {"call", 1, NULL, 'c'},    {"errno", 1, NULL, 'e'},     {"nth", 1, NULL, 'n'},
        {"onwards", 0, NULL, 'o'}, {"library", 1, NULL, 'l'},   {"everybody", 0, NULL, 'a'},
        {"report", 1, NULL, 'r'},  {"reservations", 1, NULL, 'R'}, {NULL, 0, NULL, 0},
    };
    chosen.call = -1;
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        if (option == 'c') chosen.call = value_of(calls, CALLS, optarg);
        else if (option == 'e') chosen.error = value_of(errors, ERRORS, optarg);
        else if (option == 'n') chosen.nth = number_of(optarg);
        else if (option == 'R') chosen.reservations = number_of(optarg);
        else if (option == 'o') chosen.onwards = 1;
        else if (option == 'a') chosen.everybody = 1;
        else if (option == 'l') chosen.preload = optarg;
        else if (option == 'r') chosen.report = optarg;
        else _exit(2);
    }
    errno = 0;
    if (chosen.call < 0 || chosen.error == 0) stop(2, "--call and --errno are needed");
    if (optind == argc) stop(2, "no program");
    chosen.program = argv + optind;
}

/* Installs the filter and gives its listener away; then becomes the program. */
static void __attribute__((noreturn)) become_program(int channel) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)chosen.call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chosen.preload != NULL) setenv("LD_PRELOAD", chosen.preload, 1);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) stop(77, "no_new_privs");
    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    if (listener < 0) stop(77, "seccomp");
    char control[CMSG_SPACE(sizeof listener)] = {0};
    struct iovec nothing = {"", 1};
    struct msghdr message = {.msg_iov = &nothing, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof listener);
    memcpy(CMSG_DATA(header), &listener, sizeof listener);
    if (sendmsg(channel, &message, 0) < 0) stop(77, "sendmsg");
    close(listener);
    close(channel);
    execvp(chosen.program[0], chosen.program);
    stop(2, chosen.program[0]);
}

static int receive_listener(int channel) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec place = {&byte, 1};
    struct msghdr message = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) <= 0) return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int listener = -1;
    if (header != NULL) memcpy(&listener, CMSG_DATA(header), sizeof listener);
    return listener;
}

/* Whether an address lies in the library's mapping in that process. */
static int is_of_library(int process, unsigned long address) {
    char path[64], line[4500];
    snprintf(path, sizeof path, "/proc/%d/maps", process);
    FILE *maps = fopen(path, "re");
    int found = 0;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) != 2 || address < start) continue;
        if (address >= end) continue;
        char *file = strchr(line, '/');
        if (file == NULL) break;
        file[strcspn(file, "\n")] = 0;
        found = strcmp(file, chosen.preload) == 0;
        break;
    }
    if (maps != NULL) fclose(maps);
    return found;
}

static int is_meant(const struct seccomp_notif *call) {
    const struct seccomp_data *data = &call->data;
    if (chosen.reservations != 0 &&
        (data->args[2] != PROT_NONE || data->args[1] < chosen.reservations))
        return 0;
    if (chosen.preload == NULL || chosen.everybody) return 1;
    return is_of_library((int)call->pid, data->instruction_pointer);
}

static void answer(int listener) {
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    /* It fails when the caller was killed meanwhile. */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
    struct seccomp_notif_resp reply = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (is_meant(&call)) {
        counted++;
        int now = chosen.nth != 0 &&
                  (counted == chosen.nth || (chosen.onwards && counted > chosen.nth));
        if (now) {
            refused++;
            reply.flags = 0;
            reply.error = -chosen.error;
        }
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

/* Until no process with the filter is left. */
static void serve(int listener) {
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    while (poll(&wait, 1, -1) >= 0 || errno == EINTR) {
        if (wait.revents & POLLIN) answer(listener);
        else if (wait.revents & (POLLHUP | POLLERR)) return;
    }
}

static void report(void) {
    if (chosen.report == NULL) return;
    FILE *file = fopen(chosen.report, "we");
    if (file == NULL) stop(2, chosen.report);
    fprintf(file, "calls=%lu refused=%lu\n", counted, refused);
    fclose(file);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    int channel[2], status;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel) != 0) stop(77, "socketpair");
    pid_t child = fork();
    if (child < 0) stop(77, "fork");
    if (child == 0) {
        close(channel[0]);
        become_program(channel[1]);
    }
    close(channel[1]);
    int listener = receive_listener(channel[0]);
    if (listener >= 0) serve(listener);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    report();
    if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(WTERMSIG(status), SIG_DFL);
    kill(getpid(), WTERMSIG(status));
    return 128 + WTERMSIG(status);
}
