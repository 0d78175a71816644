/* Threads that allocate at full speed: of Python without the GIL, and of their own. The last of these has no name. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static long rounds_of_each;

/* Every fourth block stays. */
void allocate(long rounds) {
    for (long i = 0; i < rounds; i++) {
        void *volatile block = aligned_alloc(64, 64 * (size_t)(1 + i % 4));
        if (!block) abort();
        if (i % 4 != 3) free(block);
    }
}

static void *run(void *name) {
    if (name && pthread_setname_np(pthread_self(), name)) abort();
    allocate(rounds_of_each);
    return NULL;
}

void native_threads(int count, long rounds) {
    pthread_t threads[64];
    char names[64][16];
    rounds_of_each = rounds;
    if (count > 64) abort();
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "worker-%d", i);
        if (pthread_create(&threads[i], NULL, run, i + 1 < count ? names[i] : NULL)) abort();
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static pthread_barrier_t meeting;
static int arrived;

void expect(int callers) {
    if (pthread_barrier_init(&meeting, NULL, callers)) abort();
}

/* Returns to none of its callers before the threads of all are done. */
void native_threads_together(int count, long rounds) {
    pthread_barrier_wait(&meeting);
    native_threads(count, rounds);
    pthread_barrier_wait(&meeting);
}

int count_arrived(void) {
    return __atomic_load_n(&arrived, __ATOMIC_SEQ_CST);
}

void meet(void) {
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    pthread_barrier_wait(&meeting);
}
