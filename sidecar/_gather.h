/* Copies of rows of one width from anywhere in a source, one after another, into a target.

   A gather of rows that are a page or more waits for memory at the beginning of each page: the processor's own prefetch
   starts there anew. So three rows are copied in turns, a few lines of each: three streams of loads are under way at any
   time. More than four lose, since rows of whole pages share their sets of the first cache (8 ways, a load and a store
   each). Beside that, one line of each page of the rows after the next three is asked for, so that its address is
   translated by then. Measured on an AMD Zen 3 with 4 KiB and 2 MiB pages; stores that go around the cache were tried,
   too, and mostly lose.

   On an Intel Xeon (Sapphire Rapids or later, AVX-512) turns lose: rows of 3 KiB and more come fastest by the C library's
   memcpy, one after another, with one line of each page of the next row asked for; shorter ones are fetched as a whole
   while the eight before them are copied. So only AMD's processors take turns. */
#ifndef ALLUXIO_LANCE_GATHER_H
#define ALLUXIO_LANCE_GATHER_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    GATHER_LINE = 64,
    GATHER_PAGE = 4096,
    GATHER_TURN = 2 * GATHER_LINE,
    /* Below this rows are so short that the next ones are fetched as a whole. */
    GATHER_SHORT = 256,
    GATHER_SHORT_BY_COPY = 3 << 10,
    GATHER_AHEAD = 8,
    /* Each thread has so many bytes to copy at least: below that waking it takes longer. They take parts of them. */
    GATHER_SHARE = 1 << 20,
    GATHER_PART = 256 << 10,
    GATHER_THREADS = 64,
    GATHER_MOST_LATE = 10,
};

typedef struct {
    const uint8_t *source;
    ptrdiff_t rows;
    size_t width;
    const int64_t *indices;
    ptrdiff_t count;
    uint8_t *target;
} GatherJob;

#define GATHER_INLINE static inline __attribute__((always_inline))

GATHER_INLINE const uint8_t *gather_row(const GatherJob *job, ptrdiff_t at) {
    int64_t index = job->indices[at];
    return job->source + (size_t)(index < 0 ? index + job->rows : index) * job->width;
}

/* -- short rows ---------------------------------------------------------------------------------------------------- */

#define GATHER_WORDS(type)                                                                                             \
    static void gather_##type(const GatherJob *job, ptrdiff_t from, ptrdiff_t to) {                                    \
        type *target = (type *)job->target;                                                                            \
        ptrdiff_t at = from;                                                                                           \
        for (; at < to - 2 * GATHER_AHEAD; at++) {                                                                     \
            __builtin_prefetch(gather_row(job, at + 2 * GATHER_AHEAD), 0, 1);                                          \
            target[at] = *(const type *)gather_row(job, at);                                                           \
        }                                                                                                              \
        for (; at < to; at++) target[at] = *(const type *)gather_row(job, at);                                         \
    }

GATHER_WORDS(uint8_t)
GATHER_WORDS(uint16_t)
GATHER_WORDS(uint32_t)
GATHER_WORDS(uint64_t)

static void gather_short(const GatherJob *job, ptrdiff_t from, ptrdiff_t to) {
    size_t width = job->width;
    for (ptrdiff_t at = from; at < to; at++) {
        if (at + GATHER_AHEAD < to) {
            const uint8_t *coming = gather_row(job, at + GATHER_AHEAD);
            for (size_t line = 0; line < width; line += GATHER_LINE) __builtin_prefetch(coming + line, 0, 1);
        }
        memcpy(job->target + (size_t)at * width, gather_row(job, at), width);
    }
}

/* -- long rows ----------------------------------------------------------------------------------------------------- */

/* One row after another, by the C library's memcpy. */
static void gather_plain(const GatherJob *job, ptrdiff_t from, ptrdiff_t to) {
    size_t width = job->width;
    for (ptrdiff_t at = from; at < to; at++) {
        if (at + 1 < to) {
            const uint8_t *coming = gather_row(job, at + 1);
            for (size_t page = 0; page < width; page += GATHER_PAGE) __builtin_prefetch(coming + page, 0, 3);
        }
        memcpy(job->target + (size_t)at * width, gather_row(job, at), width);
    }
}

#ifdef __x86_64__
typedef long long GatherVector __attribute__((vector_size(32), aligned(1), may_alias));

GATHER_INLINE void gather_turn(uint8_t *target, const uint8_t *source) {
    const GatherVector *from = (const GatherVector *)source;
    GatherVector *to = (GatherVector *)target;
    for (int line = 0; line < GATHER_TURN / 32; line += 2) {
        GatherVector one = from[line], two = from[line + 1];
        to[line] = one;
        to[line + 1] = two;
    }
}

__attribute__((target("avx2"))) static void gather_three(const GatherJob *job, ptrdiff_t from, ptrdiff_t to) {
    size_t width = job->width;
    size_t whole = width / GATHER_TURN * GATHER_TURN;
    ptrdiff_t at = from;
    for (; at + 3 <= to; at += 3) {
        const uint8_t *a = gather_row(job, at), *b = gather_row(job, at + 1), *c = gather_row(job, at + 2);
        ptrdiff_t then = at + 9 <= to ? at + 6 : at;
        const uint8_t *then_a = gather_row(job, then), *then_b = gather_row(job, then + 1);
        const uint8_t *then_c = gather_row(job, then + 2);
        uint8_t *target = job->target + (size_t)at * width;
        size_t done = 0;
        while (done < whole) {
            size_t end = whole - done < GATHER_PAGE ? whole : done + GATHER_PAGE;
            __builtin_prefetch(then_a + done, 0, 3);
            __builtin_prefetch(then_b + done, 0, 3);
            __builtin_prefetch(then_c + done, 0, 3);
            for (; done < end; done += GATHER_TURN) {
                gather_turn(target + done, a + done);
                gather_turn(target + width + done, b + done);
                gather_turn(target + 2 * width + done, c + done);
            }
        }
        memcpy(target + whole, a + whole, width - whole);
        memcpy(target + width + whole, b + whole, width - whole);
        memcpy(target + 2 * width + whole, c + whole, width - whole);
    }
    gather_plain(job, at, to);
}
#endif

typedef void (*GatherWay)(const GatherJob *job, ptrdiff_t from, ptrdiff_t to);

static GatherWay gather_way(const GatherJob *job) {
    /* Words want their own alignment at both ends; a caller's odd slice takes the general way. */
    uintptr_t both = (uintptr_t)job->source | (uintptr_t)job->target;
    switch (job->width) {
        case 1: return gather_uint8_t;
        case 2: if (both % 2 == 0) return gather_uint16_t; break;
        case 4: if (both % 4 == 0) return gather_uint32_t; break;
        case 8: if (both % 8 == 0) return gather_uint64_t; break;
    }
    if (job->width < GATHER_SHORT) return gather_short;
#ifdef __x86_64__
    if (__builtin_cpu_is("amd") && __builtin_cpu_supports("avx2")) return gather_three;
#endif
    return job->width < GATHER_SHORT_BY_COPY ? gather_short : gather_plain;
}

/* -- several threads ----------------------------------------------------------------------------------------------- */

/* Threads that wait for a gather to help with. They belong to one process: a forked child makes its own. Whoever asks
   copies too, and waits only for helpers that have begun, so a helper that the kernel lets wait costs nothing. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    const GatherJob *job;
    GatherWay way;
    ptrdiff_t part;     /* rows */
    ptrdiff_t next;     /* the first row that nobody has taken */
    uint64_t number;    /* of the gather */
    int places;         /* helpers that may still join */
    int helping;
    int helpers;
    int busy;
    int late;           /* gathers in a row that were waited for longer than they took */
    int alone;          /* gathers that are still done without helpers, for that */
} GatherTeam;

static int64_t gather_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whoever shares the processors may take one from a helper in the middle of its part. Where that happens, helpers cost more
   than they bring, so they are left out: for two gathers, and for twice as many each time that it happens again. */
static void gather_judge(GatherTeam *team, int64_t copied, int64_t waited) {
    if (waited <= copied) {
        team->late = 0;
        return;
    }
    if (team->late < GATHER_MOST_LATE) team->late++;
    team->alone = 1 << team->late;
}

static void gather_parts(GatherTeam *team, const GatherJob *job, GatherWay way, ptrdiff_t part) {
    for (;;) {
        ptrdiff_t from = __atomic_fetch_add(&team->next, part, __ATOMIC_RELAXED);
        if (from >= job->count) return;
        way(job, from, job->count - from < part ? job->count : from + part);
    }
}

static void *gather_help(void *argument) {
    GatherTeam *team = (GatherTeam *)argument;
    uint64_t seen = 0;
    pthread_mutex_lock(&team->lock);
    for (;;) {
        while (seen == team->number || team->places == 0) {
            seen = team->number;
            pthread_cond_wait(&team->work, &team->lock);
        }
        seen = team->number;
        team->places--;
        team->helping++;
        const GatherJob *job = team->job;
        GatherWay way = team->way;
        ptrdiff_t part = team->part;
        pthread_mutex_unlock(&team->lock);
        gather_parts(team, job, way, part);
        pthread_mutex_lock(&team->lock);
        if (--team->helping == 0) pthread_cond_signal(&team->done);
    }
    return NULL;
}

/* The team of this process with so many helpers, fewer where the kernel allows no more; NULL without memory. The caller
   holds the interpreter's lock. */
static GatherTeam *gather_team(int helpers) {
    static GatherTeam *team = NULL;
    static pid_t owner = 0;
    if (owner != getpid()) {
        /* After a fork the old one stays behind: its lock may be held by a thread that is not here. */
        GatherTeam *fresh = (GatherTeam *)calloc(1, sizeof *fresh);
        if (fresh == NULL) return NULL;
        pthread_mutex_init(&fresh->lock, NULL);
        pthread_cond_init(&fresh->work, NULL);
        pthread_cond_init(&fresh->done, NULL);
        team = fresh;
        owner = getpid();
    }
    if (team->helpers >= helpers) return team;
    /* Signals are the interpreter's business, and its main thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (team->helpers < helpers) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, gather_help, team) != 0) break;
        pthread_setname_np(thread, "alluxio-gather");
        pthread_detach(thread);
        team->helpers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return team;
}

/* Copy all rows. `team` is NULL for one thread; another thread that uses it at this moment keeps it. */
static void gather_rows(const GatherJob *job, GatherTeam *team, int helpers) {
    GatherWay way = gather_way(job);
    if (team == NULL || __atomic_exchange_n(&team->busy, 1, __ATOMIC_ACQUIRE)) {
        way(job, 0, job->count);
        return;
    }
    if (team->alone > 0) {
        team->alone--;
        way(job, 0, job->count);
        __atomic_store_n(&team->busy, 0, __ATOMIC_RELEASE);
        return;
    }
    ptrdiff_t part = (ptrdiff_t)(GATHER_PART / job->width) + 1;
    int64_t begun = gather_now();
    pthread_mutex_lock(&team->lock);
    team->job = job;
    team->way = way;
    team->part = part;
    __atomic_store_n(&team->next, 0, __ATOMIC_RELAXED);
    team->number++;
    team->places = helpers;
    pthread_cond_broadcast(&team->work);
    pthread_mutex_unlock(&team->lock);
    gather_parts(team, job, way, part);
    int64_t copied = gather_now();
    pthread_mutex_lock(&team->lock);
    team->places = 0;
    while (team->helping) pthread_cond_wait(&team->done, &team->lock);
    pthread_mutex_unlock(&team->lock);
    gather_judge(team, copied - begun, gather_now() - copied);
    __atomic_store_n(&team->busy, 0, __ATOMIC_RELEASE);
}

#endif
