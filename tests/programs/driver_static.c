/* A library with a jemalloc and a mimalloc inside, as far as their functions' names and signatures go: none of them can be seen from outside.
 * Makes known allocations through each, from several threads, and keeps its own books. Loaded by driver.py through ctypes, as driver.c is.
 *
 * The rules of the books are those of driver.c. What the allocators map is no block of theirs; only a mapping that is asked for past their
 * functions counts, as mmap. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HIDDEN __attribute__((visibility("hidden"), noinline, noclone, used))

enum { JEMALLOC, MIMALLOC, MMAP, ALLOCATORS };
static const char *const names[ALLOCATORS] = {"jemalloc", "mimalloc", "mmap"};
enum { THREADS = 4, SLOTS = 500, STEPS = 6000, REGION = 8 << 20, PAST = 3 << 20 };

typedef struct { int64_t allocations, allocated_bytes, live_count, live_bytes; } Book;
typedef struct { void *block; size_t size; int allocator; } Slot;
typedef struct { int is_on; uint64_t random; Book books[ALLOCATORS]; Slot slots[SLOTS]; } Worker;

static Worker workers[THREADS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char *region, *region_end;
/* How many were released: read through the instruction pointer at the head of functions. */
static volatile uint64_t released;
static void *volatile sink;

/* The compiler must know nothing of what it gets from these. */
#define OPAQUE(pointer) __asm__ volatile("" : "+r"(pointer))

HIDDEN void *pages_map(size_t size) {
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) abort();
    return start;
}

/* Gives out fresh, zeroed memory, and takes none back. */
HIDDEN void *fresh(size_t alignment, size_t size) {
    pthread_mutex_lock(&mutex);
    char *block = (char *)(((uintptr_t)region + 16 + alignment - 1) & ~(alignment - 1));
    if (region == NULL || block + size > region_end) {
        region = pages_map(REGION);
        region_end = region + REGION;
        block = (char *)(((uintptr_t)region + 16 + alignment - 1) & ~(alignment - 1));
    }
    region = block + size;
    ((size_t *)block)[-1] = size;
    pthread_mutex_unlock(&mutex);
    return block;
}

__attribute__((constructor)) static void begin(void) { sink = fresh(16, 100); }

HIDDEN void *_rjem_malloc(size_t size) { return fresh(16, size); }
HIDDEN void *_rjem_mallocx(size_t size, int flags) { return fresh((size_t)1 << (flags & 63), size); }
HIDDEN void *_rjem_calloc(size_t count, size_t size) { return count > 1000000 ? NULL : fresh(16, count * size); }
HIDDEN int _rjem_posix_memalign(void **result, size_t alignment, size_t size) {
    if (alignment & (alignment - 1)) return 22;
    *result = fresh(alignment, size);
    return 0;
}
HIDDEN void _rjem_sdallocx(void *block, size_t size, int flags) {
    if (((size_t *)block)[-1] != size || flags) abort();
    released++;
}
HIDDEN void _rjem_free(void *block) { released += block != NULL; }
HIDDEN void *_rjem_rallocx(void *block, size_t size, int flags) {
    void *moved = _rjem_mallocx(size, flags);
    size_t old = ((size_t *)block)[-1];
    memcpy(moved, block, old < size ? old : size);
    _rjem_free(block);
    return moved;
}

HIDDEN void *mi_malloc_aligned(size_t size, size_t alignment) {
    return alignment == 0 || alignment > 1 << 16 ? NULL : fresh(alignment, size);
}
HIDDEN void *mi_zalloc_aligned(size_t size, size_t alignment) { return mi_malloc_aligned(size, alignment); }
HIDDEN void mi_free(void *block) {
    released++;
    OPAQUE(block);
}
HIDDEN void *mi_realloc_aligned(void *block, size_t size, size_t alignment) {
    if (block == NULL) return mi_malloc_aligned(size, alignment);
    void *moved = mi_malloc_aligned(size, alignment);
    size_t old = ((size_t *)block)[-1];
    if (moved) memcpy(moved, block, old < size ? old : size);
    if (moved) mi_free(block);
    return moved;
}

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void *allocate(int kind, size_t size) {
    void *block = NULL;
    switch (kind) {
    case 0: return _rjem_malloc(size);
    case 1: return _rjem_mallocx(size, 6);
    case 2: return _rjem_calloc(1, size);
    case 3: return _rjem_posix_memalign(&block, 64, size) ? NULL : block;
    case 4: return mi_malloc_aligned(size, 64);
    case 5: return mi_zalloc_aligned(size, 16);
    default: return mi_realloc_aligned(NULL, size, 32);
    }
}

static void release(Slot *slot, Book *books, uint32_t random) {
    Book *book = &books[slot->allocator];
    book->live_count--;
    book->live_bytes -= (int64_t)slot->size;
    if (slot->allocator == MIMALLOC) mi_free(slot->block);
    else if (random % 2) _rjem_free(slot->block);
    else _rjem_sdallocx(slot->block, slot->size, 0);
    slot->block = NULL;
}

static void enter(Slot *slot, Book *books, void *block, size_t size, int allocator) {
    *slot = (Slot){block, size, allocator};
    Book *book = &books[allocator];
    book->allocations++;
    book->allocated_bytes += (int64_t)size;
    book->live_count++;
    book->live_bytes += (int64_t)size;
}

/* A block grows or shrinks: it leaves the books and comes back. One that fails stays what it was. */
static void resize(Slot *slot, Book *books, size_t size) {
    Slot old = *slot;
    void *block = old.allocator == JEMALLOC ? _rjem_rallocx(old.block, size, 4) : mi_realloc_aligned(old.block, size, 16);
    if (mi_realloc_aligned(block, 5, (size_t)1 << 40)) abort();
    books[old.allocator].live_count--;
    books[old.allocator].live_bytes -= (int64_t)old.size;
    enter(slot, books, block, size, old.allocator);
}

static void *work(void *argument) {
    Worker *worker = argument;
    for (int step = 0; worker->is_on && step < STEPS; step++) {
        uint32_t random = next_random(&worker->random);
        Slot *slot = &worker->slots[random % SLOTS];
        uint32_t kind = random / SLOTS % 7;
        size_t size = 1 + next_random(&worker->random) % (step % 100 ? 400 : 100000);
        if (slot->block == NULL) {
            enter(slot, worker->books, allocate((int)kind, size), size, kind < 4 ? JEMALLOC : MIMALLOC);
        } else if (kind < 3) {
            resize(slot, worker->books, size);
        } else {
            release(slot, worker->books, random >> 20);
        }
        if (kind == 6 && (_rjem_calloc(2000000, 8) || mi_malloc_aligned(9, 0))) abort();
    }
    return NULL;
}

void driver_run(int is_on, uint64_t seed) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (Worker){.is_on = is_on, .random = seed + (uint64_t)i};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    if (is_on) {
        sink = pages_map(PAST);
        workers[0].books[MMAP] = (Book){1, PAST, 1, PAST};
    }
    char text[1024];
    size_t used = 0;
    for (int i = 0; i < ALLOCATORS; i++) {
        Book sum = {0};
        for (int j = 0; j < THREADS; j++) {
            sum.allocations += workers[j].books[i].allocations;
            sum.allocated_bytes += workers[j].books[i].allocated_bytes;
            sum.live_count += workers[j].books[i].live_count;
            sum.live_bytes += workers[j].books[i].live_bytes;
        }
        used += (size_t)snprintf(text + used, sizeof text - used,
            "%c\"%s\":{\"allocations\":%ld,\"allocated_bytes\":%ld,\"live_count\":%ld,\"live_bytes\":%ld}", i ? ',' : '{',
            names[i], sum.allocations, sum.allocated_bytes, sum.live_count, sum.live_bytes);
    }
    printf("%s}\n", text);
    fflush(stdout);
}
