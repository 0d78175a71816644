/* Calls an allocator that it looks up by name, or that it is linked with: three blocks of 1000 bytes, of which one grows and all go, and one of 6000
 * that stays. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

static void *volatile sink;

static void run(void *(*allocate)(size_t), void *(*resize)(void *, size_t), void *(*zeroed)(size_t, size_t),
                void (*release)(void *)) {
    void *blocks[3];
    for (int i = 0; i < 3; i++) blocks[i] = allocate(1000);
    blocks[1] = resize(blocks[1], 40000);
    for (int i = 0; i < 3; i++) release(blocks[i]);
    sink = zeroed(2, 3000);
}

void through_dlsym(void) {
    run((void *(*)(size_t))dlsym(RTLD_DEFAULT, "malloc"), (void *(*)(void *, size_t))dlsym(RTLD_DEFAULT, "realloc"),
        (void *(*)(size_t, size_t))dlsym(RTLD_DEFAULT, "calloc"), (void (*)(void *))dlsym(RTLD_DEFAULT, "free"));
}

void linked(void) { run(malloc, realloc, calloc, free); }
