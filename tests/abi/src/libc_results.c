/* Blocks that libc allocates and the program frees, and the other way round. */
#include <dirent.h>
#include <netdb.h>
#include <regex.h>
#include <spawn.h>
#include <sys/wait.h>
#include <wchar.h>

#include "entries.h"

CASE(C07_strings) {
    for (size_t size = 0; size < 3000; size += 17) {
        char *text = (char *)malloc(size + 1);
        memset(text, 'x', size);
        text[size] = 0;
        char *copy = strdup(text);
        char *part = strndup(text, size / 2);
        char *printed = NULL;
        CHECK(asprintf(&printed, "%s-%zu", text, size) > 0, "asprintf");
        CHECK(strlen(copy) == size && strlen(part) == size / 2, "copies of %zu", size);
        CHECK(malloc_usable_size(copy) >= size + 1, "strdup came from another heap");
        free(text);
        free(copy);
        free(part);
        free(printed);
    }
    wchar_t *wide = wcsdup(L"wide");
    CHECK(wcslen(wide) == 4, "wcsdup");
    free(wide);
}

/* A line of any length into a buffer that the program allocated, grown by libc, freed by us. */
CASE(C07_getline_grows_the_buffer) {
    FILE *file = tmpfile();
    CHECK(file != NULL, "tmpfile");
    for (int length = 1; length <= 200000; length *= 3) fprintf(file, "%0*d\n", length, 7);
    rewind(file);
    size_t room = 10;
    char *line = (char *)malloc(room);
    int lines = 0;
    for (int length = 1; getline(&line, &room, file) > 0; length *= 3, lines++)
        CHECK(strlen(line) == (size_t)length + 1, "line %d has %zu", lines, strlen(line));
    CHECK(lines == 12, "%d lines", lines);
    free(line);
    char *fresh = NULL;
    rewind(file);
    CHECK(getdelim(&fresh, &room, '7', file) > 0, "getdelim");
    free(fresh);
    fclose(file);
}

CASE(C07_memory_streams) {
    char *buffer = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&buffer, &size);
    for (int i = 0; i < 20000; i++) fprintf(stream, "%d ", i);
    fclose(stream);
    CHECK(strlen(buffer) == size && size > 100000, "%zu", size);
    free(buffer);
}

CASE(C07_paths) {
    char *resolved = realpath("/proc/../usr/.", NULL);
    CHECK(resolved != NULL && strcmp(resolved, "/usr") == 0, "realpath");
    free(resolved);
    char *here = getcwd(NULL, 0);
    CHECK(here != NULL && here[0] == '/', "getcwd");
    free(here);
}

CASE(C07_directories) {
    struct dirent **names;
    int count = scandir("/proc/self", &names, NULL, alphasort);
    CHECK(count > 10, "%d names", count);
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL && readdir(folder) != NULL, "opendir");
    closedir(folder);
}

CASE(C07_regular_expressions) {
    regex_t compiled;
    CHECK(regcomp(&compiled, "^([a-z]+)-([0-9]{1,20})(x|y|z)*$", REG_EXTENDED) == 0, "regcomp");
    regmatch_t matches[4];
    CHECK(regexec(&compiled, "abc-123xyz", 4, matches, 0) == 0, "regexec");
    regfree(&compiled);
}

CASE(C07_addresses) {
    struct addrinfo hints, *found = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_flags = AI_NUMERICHOST;
    CHECK(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0, "getaddrinfo");
    freeaddrinfo(found);
}

CASE(C07_processes) {
    FILE *pipe = popen("echo hello", "r");
    char text[16] = "";
    CHECK(pipe != NULL && fgets(text, sizeof text, pipe) != NULL, "popen");
    CHECK(pclose(pipe) == 0 && strcmp(text, "hello\n") == 0, "%s", text);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 5, "/dev/null", 0, 0);
    char *const arguments[] = {(char *)"true", NULL};
    pid_t child;
    int status;
    CHECK(posix_spawn(&child, "/bin/true", &actions, NULL, arguments, environ) == 0, "spawn");
    CHECK(waitpid(child, &status, 0) == child && status == 0, "status %d", status);
    posix_spawn_file_actions_destroy(&actions);
}

CASE(C07_dynamic_loader) {
    for (int turn = 0; turn < 50; turn++) {
        CHECK(dlopen("no-such-library.so", RTLD_NOW) == NULL, "dlopen");
        CHECK(dlerror() != NULL, "dlerror allocates its text");
        CHECK(dlsym(RTLD_DEFAULT, "no_such_symbol") == NULL && dlerror() != NULL, "dlsym");
    }
}

static int by_value(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

CASE(C07_sorting_with_a_buffer) {
    int *numbers = (int *)malloc(100000 * sizeof *numbers);
    for (int i = 0; i < 100000; i++) numbers[i] = i * 7919 % 100003;
    qsort(numbers, 100000, sizeof *numbers, by_value);
    for (int i = 1; i < 100000; i++) CHECK(numbers[i - 1] <= numbers[i], "position %d", i);
    free(numbers);
}
