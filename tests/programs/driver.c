/* Makes known allocations through every function that memlens hooks, from several threads, and keeps its own books.
 *
 * Loaded by driver.py through ctypes. driver_run(0, …) starts and joins the same threads but allocates nothing, so that the
 * difference of two recordings is exactly what driver_run(1, …) did. It writes its books to standard output as JSON with
 * write(2), for stdio would allocate.
 *
 * The rules of the books (PRODUCT.md): bytes are the bytes asked for; a realloc takes the old block from the books of the
 * allocator that made it and puts the new one into those of `realloc`; realloc(p, 0) is a release; a call that fails is
 * nothing; an mremap is to mappings what a realloc is to blocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MALLOC, CALLOC, REALLOC, REALLOCARRAY, POSIX_MEMALIGN, ALIGNED_ALLOC, MEMALIGN, VALLOC, PVALLOC, MMAP, MREMAP, BRK,
    MMAP_FILE, MMAP_SHARED, ALLOCATORS
};

static const char *const names[ALLOCATORS] = {
    "malloc", "calloc", "realloc", "reallocarray", "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc",
    "mmap", "mremap", "brk", "mmap_file", "mmap_shared",
};

enum { THREADS = 4, SLOTS = 600, ROUNDS = 12, PAGE = 4096 };

typedef struct { int64_t allocations, allocated_bytes, live_count, live_bytes; } Book;
typedef struct { void *block; size_t size; int allocator; } Slot;
typedef struct { int number, is_on; uint64_t random; Book books[ALLOCATORS]; } Worker;

static Slot slots[THREADS][SLOTS];
static Worker workers[THREADS];
static Book single_books[ALLOCATORS];
static pthread_barrier_t barrier;

/* The compiler must not see through these calls and drop a malloc whose block is unused. */
static void *volatile sink;

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void book_allocation(Book *books, int allocator, size_t size) {
    books[allocator].allocations++;
    books[allocator].allocated_bytes += (int64_t)size;
    books[allocator].live_count++;
    books[allocator].live_bytes += (int64_t)size;
}

static void book_release(Book *books, int allocator, size_t size) {
    books[allocator].live_count--;
    books[allocator].live_bytes -= (int64_t)size;
}

static void *allocate(int allocator, size_t size, uint32_t random) {
    size_t alignment = (size_t)16 << (random % 8);
    void *block = NULL;
    switch (allocator) {
    case MALLOC: return malloc(size);
    case CALLOC: return size % 3 ? calloc(1, size) : calloc(3, size / 3);
    case REALLOC: return realloc(NULL, size);
    case REALLOCARRAY: return reallocarray(NULL, 1, size);
    case POSIX_MEMALIGN: return posix_memalign(&block, alignment, size) ? NULL : block;
    case ALIGNED_ALLOC: return aligned_alloc(alignment, size);
    case MEMALIGN: return memalign(alignment, size);
    case VALLOC: return valloc(size);
    case PVALLOC: return pvalloc(size);
    default: return NULL;
    }
}

static size_t random_size(uint64_t *state) {
    uint32_t kind = next_random(state) % 16, random = next_random(state);
    if (kind == 0) return 0;
    if (kind == 1) return 100000 + random % 300000; /* beyond the mmap threshold of malloc */
    if (kind < 5) return 512 + random % 8000;
    return 1 + random % 511;
}

static void fill(Worker *worker, Slot *slot) {
    slot->allocator = (int)(next_random(&worker->random) % (PVALLOC + 1));
    slot->size = random_size(&worker->random);
    if (slot->allocator == REALLOC && slot->size == 0) slot->size = 1;
    slot->block = allocate(slot->allocator, slot->size, next_random(&worker->random));
    sink = slot->block;
    book_allocation(worker->books, slot->allocator, slot->size);
}

static void resize(Worker *worker, Slot *slot) {
    int by_array = next_random(&worker->random) % 2;
    size_t size = next_random(&worker->random) % 10 ? random_size(&worker->random) : slot->size;
    void *block = by_array ? reallocarray(slot->block, size, 1) : realloc(slot->block, size);
    book_release(worker->books, slot->allocator, slot->size);
    slot->block = block;
    if (block == NULL) return; /* size 0: glibc has released it */
    slot->allocator = by_array ? REALLOCARRAY : REALLOC;
    slot->size = size;
    book_allocation(worker->books, slot->allocator, slot->size);
}

static void empty(Worker *worker, Slot *slot) {
    book_release(worker->books, slot->allocator, slot->size);
    free(slot->block);
    slot->block = NULL;
}

static void change(Worker *worker, Slot *slot) {
    uint32_t choice = next_random(&worker->random) % 4;
    if (slot->block == NULL) fill(worker, slot);
    else if (choice == 0) resize(worker, slot);
    else if (choice < 3) empty(worker, slot);
}

/* In round r a worker changes the slots of the worker r places on: blocks are released by other threads than made them. */
static void *work(void *argument) {
    Worker *worker = argument;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        if (!worker->is_on) continue;
        Slot *row = slots[(worker->number + round) % THREADS];
        for (int i = 0; i < SLOTS; i++) change(worker, &row[i]);
    }
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void run_threads(int is_on, uint64_t seed) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (Worker){.number = i, .is_on = is_on, .random = seed + (uint64_t)i};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static char *map(size_t size) {
    book_allocation(single_books, MMAP, size);
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void unmap(char *address, size_t size, int allocator, int is_whole) {
    munmap(address, size);
    single_books[allocator].live_bytes -= (int64_t)size;
    single_books[allocator].live_count -= is_whole;
}

static void run_mappings(void) {
    for (int i = 1; i <= 20; i++) {
        char *whole = map((size_t)i * PAGE);
        if (i % 2) unmap(whole, (size_t)i * PAGE, MMAP, 1);
    }
    map(10001); /* not a multiple of a page; stays */

    char *parts = map(16 * PAGE); /* front, back and middle go, 8 pages stay */
    unmap(parts, 2 * PAGE, MMAP, 0);
    unmap(parts + 14 * PAGE, 2 * PAGE, MMAP, 0);
    unmap(parts + 6 * PAGE, 4 * PAGE, MMAP, 0);

    char *both = map(8 * PAGE); /* one munmap over all that is left of it, in two goes */
    unmap(both, 3 * PAGE, MMAP, 0);
    unmap(both + 3 * PAGE, 5 * PAGE, MMAP, 1);

    book_allocation(single_books, MMAP, 5 * PAGE);
    sink = mmap64(NULL, 5 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) abort();
}

static void *remap(void *mapping, int old_pages, int new_pages, int flags, void *target) {
    book_release(single_books, MMAP, old_pages * PAGE);
    book_allocation(single_books, MREMAP, new_pages * PAGE);
    return mremap(mapping, old_pages * PAGE, new_pages * PAGE, flags, target);
}

static void run_remappings(void) {
    sink = remap(map(4 * PAGE), 4, 64, MREMAP_MAYMOVE, NULL);
    sink = remap(map(32 * PAGE), 32, 7, 0, NULL);
    char *moved = map(6 * PAGE), *target = map(6 * PAGE); /* onto another mapping, which goes */
    sink = remap(moved, 6, 6, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    book_release(single_books, MMAP, 6 * PAGE);
}

static void run_file_mappings(void) {
    int file = open("/proc/self/exe", O_RDONLY);
    for (int i = 0; i < 3; i++) {
        book_allocation(single_books, MMAP_FILE, 3 * PAGE);
        char *mapping = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE, file, 0);
        if (i == 0) unmap(mapping, 3 * PAGE, MMAP_FILE, 1);
    }
    close(file);
}

/* Memory that has a descriptor: shared it is a class of its own, a private copy is one of a file. */
static void run_shared_mappings(void) {
    int memory = memfd_create("shared", 0);
    if (memory < 0 || ftruncate(memory, 64 * PAGE)) abort();
    for (int i = 1; i <= 3; i++) {
        book_allocation(single_books, MMAP_SHARED, (size_t)(7 * i * PAGE));
        char *mapping = mmap(NULL, (size_t)(7 * i * PAGE), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
        if (i == 1) unmap(mapping, 7 * PAGE, MMAP_SHARED, 1);
    }
    book_allocation(single_books, MMAP_FILE, 9 * PAGE);
    sink = mmap(NULL, 9 * PAGE, PROT_READ, MAP_PRIVATE, memory, 0);
    close(memory);
}

static void run_break(void) {
    sbrk(0);
    book_allocation(single_books, BRK, 40 * PAGE);
    sbrk(40 * PAGE);
    single_books[BRK].live_bytes -= 15 * PAGE; /* at once: a malloc in between could have moved the break */
    sbrk(-15 * PAGE);
}

/* Calls that fail, and calls that are nothing: none of them may be counted. */
static void run_failures(void) {
    volatile size_t huge = SIZE_MAX / 2;
    void *block = malloc(100);
    book_allocation(single_books, MALLOC, 100);
    if (malloc(huge) || calloc(huge, 4) || realloc(block, huge) || reallocarray(block, huge, 4)) abort();
    if (aligned_alloc(64, huge) || memalign(64, huge) || posix_memalign((void **)&sink, 64, huge) != ENOMEM) abort();
    if (posix_memalign((void **)&sink, 3, 8) != EINVAL) abort();
    free(NULL);
    errno = EBADF;
    sink = malloc(8);
    book_allocation(single_books, MALLOC, 8);
    if (errno != EBADF) abort();
    errno = ERANGE;
    free(sink);
    book_release(single_books, MALLOC, 8);
    if (errno != ERANGE) abort();
}

/* C library functions that allocate for their caller. */
static void run_library(void) {
    sink = strdup("twenty bytes of text");
    book_allocation(single_books, MALLOC, 21);
    sink = strndup("twenty bytes of text", 6);
    book_allocation(single_books, MALLOC, 7);
}

static char text[8192];
static size_t used;

static void put(const char *piece) {
    while (*piece && used < sizeof text) text[used++] = *piece++;
}

static void put_number(int64_t number) {
    char digits[24], *start = digits + sizeof digits - 1;
    uint64_t rest = number < 0 ? (uint64_t)-number : (uint64_t)number;
    *start = 0;
    do *--start = (char)('0' + rest % 10); while (rest /= 10);
    if (number < 0) *--start = '-';
    put(start);
}

static void put_field(const char *name, int64_t number) {
    put(name);
    put_number(number);
}

static void write_books(void) {
    for (int i = 0; i < ALLOCATORS; i++) {
        Book sum = single_books[i];
        for (int j = 0; j < THREADS; j++) {
            sum.allocations += workers[j].books[i].allocations;
            sum.allocated_bytes += workers[j].books[i].allocated_bytes;
            sum.live_count += workers[j].books[i].live_count;
            sum.live_bytes += workers[j].books[i].live_bytes;
        }
        put(i ? ",\"" : "{\"");
        put(names[i]);
        put_field("\":{\"allocations\":", sum.allocations);
        put_field(",\"allocated_bytes\":", sum.allocated_bytes);
        put_field(",\"live_count\":", sum.live_count);
        put_field(",\"live_bytes\":", sum.live_bytes);
        put("}");
    }
    put("}\n");
    for (size_t done = 0; done < used;) {
        ssize_t written = write(1, text + done, used - done);
        if (written < 0) abort();
        done += (size_t)written;
    }
}

void driver_run(int is_on, uint64_t seed) {
    run_threads(is_on, seed);
    if (is_on) {
        run_mappings();
        run_remappings();
        run_file_mappings();
        run_shared_mappings();
        run_break();
        run_failures();
        run_library();
    }
    write_books();
}
