/* A small C program that uses most of the allocating functions: lists, strings, files, qsort. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    struct node *next;
    char *text;
};

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(void) {
    struct node *list = NULL;
    size_t count = 0, capacity = 0, total = 0;
    char **texts = NULL;
    for (int i = 0; i < 20000; i++) {
        struct node *node = calloc(1, sizeof *node);
        if (!node || asprintf(&node->text, "entry %d of the list", i * 7919 % 20011) < 0) return 1;
        node->next = list;
        list = node;
    }
    for (struct node *node = list; node; node = node->next) {
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            texts = realloc(texts, capacity * sizeof *texts);
            if (!texts) return 1;
        }
        texts[count++] = node->text;
    }
    qsort(texts, count, sizeof *texts, by_text);
    for (size_t i = 0; i < count; i++) total += i * strlen(texts[i]);
    printf("%zu %zu %s %s\n", count, total, texts[0], texts[count - 1]);
    char *buffer = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&buffer, &size);
    for (size_t i = 0; i < count; i++) fprintf(stream, "%s\n", texts[i]);
    fclose(stream);
    printf("%zu\n", size);
    free(buffer);
    free(texts);
    while (list) {
        struct node *next = list->next;
        free(list->text);
        free(list);
        list = next;
    }
    return 0;
}
