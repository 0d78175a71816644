/* An allocator of its own, without a name that anybody knows: it maps regions and serves what it likes out of them. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Maps `size` bytes and uses the first `used` of them. */
void *region_map(size_t size, size_t used) {
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    /* Pages of 2 MiB would be resident as a whole. */
    if (start == MAP_FAILED || madvise(start, size, MADV_NOHUGEPAGE)) abort();
    memset(start, 1, used);
    return start;
}

void region_unmap(void *start, size_t size) { munmap(start, size); }
