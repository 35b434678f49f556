/* An auditor (LD_AUDIT): it lives in a namespace with a libc of its own, and allocates there. */
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned int la_version(unsigned int version) {
    free(memset(malloc(1000), 1, 1000));
    return version;
}

unsigned int la_objopen(struct link_map *map, Lmid_t list, uintptr_t *cookie) {
    free(memset(malloc(1000), 1, 1000));
    if (map->l_name != NULL && strstr(map->l_name, "liballoc") != NULL && list == LM_ID_BASE)
        if (write(2, "audited\n", 8) < 0) _exit(9);
    (void)cookie;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
