# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What Python cannot do fast or at all: joined mappings of memory files, gathers, and memory blocks that are reused.

A leaf: it imports nothing of ours, and the client shares it. The face is in ``_shm.pyi``.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from libc.errno cimport EINVAL, errno
from libc.stdint cimport int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from posix.unistd cimport getpid

import os
from dataclasses import dataclass

cdef extern from * nogil:
    """
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/vfs.h>
    #include <unistd.h>

    #ifndef MADV_POPULATE_READ
    #define MADV_POPULATE_READ 22
    #endif
    #ifndef MADV_POPULATE_WRITE
    #define MADV_POPULATE_WRITE 23
    #endif
    #define SHM_HUGETLBFS 0x958458f6

    /* Bytes of a page of the file: 2 MiB and the like on hugetlbfs, else the system's; -1 with errno set. */
    static long shm_page_bytes(int descriptor) {
        struct statfs about;
        if (fstatfs(descriptor, &about) != 0) return -1;
        return (unsigned int)about.f_type == SHM_HUGETLBFS ? (long)about.f_bsize : sysconf(_SC_PAGESIZE);
    }

    static long long shm_file_bytes(int descriptor) {
        struct stat about;
        return fstat(descriptor, &about) != 0 ? -1 : (long long)about.st_size;
    }

    #define shm_fetch(place) __builtin_prefetch((place), 0, 1)
    """
    int PROT_NONE, PROT_READ, PROT_WRITE
    int MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE
    void *MAP_FAILED
    int MADV_HUGEPAGE, MADV_POPULATE_READ, MADV_POPULATE_WRITE
    void *mmap(void *address, size_t length, int protection, int flags, int descriptor, long offset)
    int munmap(void *address, size_t length)
    int madvise(void *address, size_t length, int advice)
    long shm_page_bytes(int descriptor)
    long long shm_file_bytes(int descriptor)
    void shm_fetch(const void *place)

cdef enum:
    HUGE = 2 << 20
    SMALL = 4096
    LINE = 64
    # Rows that are asked for before their turn.
    AHEAD = 8
    # Four classes of sizes for each power of two, from 4 KiB (class 0) to 2^60.
    CLASSES = 4 * 49

cdef uint8_t nothing = 0


cdef inline size_t round_up(size_t value, size_t unit) noexcept nogil:
    return (value + unit - 1) // unit * unit


cdef object os_error(int code, str what):
    return OSError(code, f"{os.strerror(code)}: {what}")


# -- joined mappings ---------------------------------------------------------------------------------------------------

@cython.final
@cython.no_gc
cdef class Mapping:
    """Pieces of files, mapped back to back into one range of addresses; a buffer of bytes."""

    cdef uint8_t *start
    cdef size_t length      # what the buffer shows
    cdef size_t mapped      # what munmap takes: whole pages
    cdef bint writable

    def __cinit__(self, pieces, *, bint writable_copy=False, bint huge_pages=False):
        self.start = &nothing
        self.writable = writable_copy
        pieces = [(descriptor, offset, length) for descriptor, offset, length in pieces if length]
        if not pieces:
            return
        cdef size_t total = 0
        cdef size_t page = SMALL
        cdef size_t largest = SMALL
        for place, (descriptor, offset, length) in enumerate(pieces):
            page = self._check(descriptor, offset, length, place == len(pieces) - 1)
            if total % page:
                raise ValueError(f"piece {place} would begin within a page of {page} bytes")
            largest = max(largest, page)
            total += <size_t>length
        self._map(pieces, total, round_up(total, page), largest)
        if huge_pages:
            # Advice: a kernel without transparent huge pages says EINVAL, and small ones do.
            madvise(self.start, self.mapped, MADV_HUGEPAGE)

    cdef size_t _check(self, int descriptor, long long offset, long long length, bint last) except 0:
        cdef long page = shm_page_bytes(descriptor)
        cdef long long size = shm_file_bytes(descriptor)
        if page < 0 or size < 0:
            raise os_error(errno, f"descriptor {descriptor}")
        cdef long long end = <long long>round_up(size, page)
        if offset < 0 or length < 0 or offset > end or length > end - offset:
            # Touching a page beyond the end of a file would end the process with SIGBUS; the rest of its last page
            # reads as zeros.
            raise ValueError(f"{length} bytes at {offset} are not within the {size} of descriptor {descriptor}")
        if offset % page or (length % page and not last):
            raise ValueError(f"{length} bytes at {offset} of descriptor {descriptor} are no whole pages of {page}")
        return <size_t>page

    cdef int _map(self, list pieces, size_t total, size_t mapped, size_t alignment) except -1:
        cdef uint8_t *start = NULL
        cdef uint8_t *place
        cdef int fixed = 0
        if len(pieces) > 1:
            start = self._reserve(mapped, alignment, <size_t>pieces[0][1])
            fixed = MAP_FIXED
        cdef int protection = PROT_READ | PROT_WRITE if self.writable else PROT_READ
        cdef int flags = MAP_PRIVATE | MAP_NORESERVE if self.writable else MAP_SHARED
        cdef size_t done = 0
        cdef int code
        for descriptor, offset, length in pieces:
            place = start + done if fixed else NULL
            place = <uint8_t *>mmap(place, length, protection, flags | fixed, descriptor, offset)
            if <void *>place == MAP_FAILED:
                code = errno
                if fixed:
                    munmap(start, mapped)
                raise os_error(code, f"cannot map {length} bytes of descriptor {descriptor}")
            if not fixed:
                start = place
            done += <size_t>length
        self.start, self.length, self.mapped = start, total, mapped
        return 0

    cdef uint8_t *_reserve(self, size_t mapped, size_t alignment, size_t offset) except NULL:
        # Address and file offset agree modulo 2 MiB, or the kernel could not put a huge page there.
        cdef size_t unit = max(alignment, <size_t>HUGE) if mapped >= HUGE else alignment
        cdef uint8_t *start = <uint8_t *>mmap(
            NULL, mapped + unit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
        )
        if <void *>start == MAP_FAILED:
            raise os_error(errno, f"cannot reserve {mapped} bytes of addresses")
        cdef size_t ahead = (offset % unit + unit - <uintptr_t>start % unit) % unit
        if ahead:
            munmap(start, ahead)
        munmap(start + ahead + mapped, unit - ahead)
        return start + ahead

    @property
    def address(self):
        return <uintptr_t>self.start

    @property
    def readonly(self):
        return not self.writable

    def __len__(self):
        return self.length

    def populate(self, size_t start=0, stop=None):
        cdef int failed = 0
        cdef size_t end = self.length if stop is None else <size_t>min(<size_t>stop, self.length)
        if start >= end:
            return
        start -= start % SMALL
        cdef size_t size = min(round_up(end, SMALL), self.mapped) - start
        with nogil:
            if madvise(self.start + start, size, MADV_POPULATE_READ) != 0:
                failed = errno
                if failed == EINVAL:
                    self._touch(start, end)
        if failed and failed != EINVAL:
            raise os_error(failed, f"cannot read {size} bytes in")

    cdef void _touch(self, size_t at, size_t end) noexcept nogil:
        # Kernels before 5.14 have no MADV_POPULATE_READ.
        cdef const volatile uint8_t *place = self.start
        while at < end:
            place[at]
            at += SMALL

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.length, not self.writable, flags)

    def __dealloc__(self):
        # Not before: every view keeps the object. An explicit close would be a trap, since numpy's own constructor
        # takes the address and gives the buffer back at once.
        if self.mapped:
            munmap(self.start, self.mapped)


# -- gathers -----------------------------------------------------------------------------------------------------------

cdef size_t product(size_t count, size_t each, str name) except? 0:
    if each and count > (<size_t>-1) // each:
        raise ValueError(f"{name} cannot have {count} times {each} bytes")
    return count * each


cdef int open_buffer(object thing, Py_buffer *view, bint writable, size_t need, str name) except -1:
    PyObject_GetBuffer(thing, view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
    if <size_t>view.len < need:
        PyBuffer_Release(view)
        raise ValueError(f"{name} has {view.len} bytes, {need} are needed")
    return 0


cdef Py_ssize_t first_outside(const int64_t *indices, Py_ssize_t count, Py_ssize_t rows) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(count):
        if indices[at] < -rows or indices[at] >= rows:
            return at
    return -1


cdef int open_indices(object thing, Py_buffer *view, bint writable) except -1:
    # A typed memoryview would be an object more, and cost as much as the rest of a small gather.
    PyObject_GetBuffer(thing, view, PyBUF_ND | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    if view.ndim == 1 and view.itemsize == sizeof(int64_t) and view.format[0] in b"lq" and view.format[1] == 0:
        return 0
    PyBuffer_Release(view)
    raise ValueError("indices are one row of 64-bit integers")


cdef int outside(int64_t index, Py_ssize_t rows) except -1:
    raise IndexError(f"index {index} is out of range for {rows} rows")


cdef int check_indices(const int64_t[::1] indices, Py_ssize_t rows) except -1:
    if indices.shape[0] == 0:
        return 0
    cdef Py_ssize_t bad
    with nogil:
        bad = first_outside(&indices[0], indices.shape[0], rows)
    if bad >= 0:
        outside(indices[bad], rows)
    return 0


cdef inline Py_ssize_t row_of(int64_t index, Py_ssize_t rows) noexcept nogil:
    return index + rows if index < 0 else index


cdef bint resolve_all(const int64_t *indices, Py_ssize_t count, Py_ssize_t rows, int64_t *target) noexcept nogil:
    # Whether the rows follow each other.
    cdef Py_ssize_t at
    cdef bint contiguous = True
    for at in range(count):
        target[at] = row_of(indices[at], rows)
        contiguous &= target[at] == target[0] + at
    return contiguous


def resolve(indices, Py_ssize_t rows, target):
    cdef Py_buffer origin
    cdef Py_buffer goal
    cdef Py_ssize_t count, bad
    cdef bint contiguous = True
    open_indices(indices, &origin, False)
    try:
        open_indices(target, &goal, True)
        try:
            count = origin.shape[0]
            if goal.shape[0] != count:
                raise ValueError(f"{count} rows need as many places, there are {goal.shape[0]}")
            if count:
                bad = first_outside(<const int64_t *>origin.buf, count, rows)
                if bad >= 0:
                    outside((<const int64_t *>origin.buf)[bad], rows)
                contiguous = resolve_all(<const int64_t *>origin.buf, count, rows, <int64_t *>goal.buf)
        finally:
            PyBuffer_Release(&goal)
    finally:
        PyBuffer_Release(&origin)
    return contiguous


def read_indices(list indices, int64_t[::1] target):
    cdef Py_ssize_t at = 0
    cdef int overflow = 0
    if target.shape[0] != len(indices):
        raise ValueError(f"{len(indices)} rows need as many places, there are {target.shape[0]}")
    for index in indices:
        # A bool is no row, and what else counts as a number is for numpy to say.
        if not PyLong_CheckExact(index):
            return False
        target[at] = PyLong_AsLongLongAndOverflow(index, &overflow)
        if overflow:
            return False
        at += 1
    return True


cdef extern from "_gather.h" nogil:
    ctypedef struct GatherJob:
        const uint8_t *source
        Py_ssize_t rows
        size_t width
        const int64_t *indices
        Py_ssize_t count
        uint8_t *target

    ctypedef struct GatherTeam:
        pass

    enum:
        GATHER_SHARE
        GATHER_THREADS

    GatherTeam *gather_team(int helpers)
    void gather_rows(const GatherJob *job, GatherTeam *team, int helpers)


def gather(source, Py_ssize_t rows, Py_ssize_t item_bytes, indices, target, *, Py_ssize_t threads=1):
    if rows < 0 or item_bytes < 0:
        raise ValueError(f"{rows} rows of {item_bytes} bytes cannot be")
    if threads < 1:
        raise ValueError(f"a gather with {threads} threads cannot be")
    cdef Py_buffer order
    open_indices(indices, &order, False)
    try:
        gather_all(source, rows, item_bytes, <const int64_t *>order.buf, order.shape[0], target, threads)
    finally:
        PyBuffer_Release(&order)


cdef int gather_all(
    object source, Py_ssize_t rows, size_t width, const int64_t *indices, Py_ssize_t count, object target,
    Py_ssize_t threads,
) except -1:
    cdef size_t needed = product(rows, width, "the source")
    cdef size_t wanted = product(count, width, "the target")
    cdef int helpers = <int>min(<size_t>threads, wanted // GATHER_SHARE, <size_t>GATHER_THREADS) - 1
    cdef GatherJob job = GatherJob(NULL, rows, width, indices, count, NULL)
    cdef GatherTeam *team = NULL
    cdef Py_ssize_t bad
    cdef Py_buffer origin
    cdef Py_buffer goal
    open_buffer(source, &origin, False, needed, "the source")
    try:
        open_buffer(target, &goal, True, wanted, "the target")
        try:
            job.source, job.target = <const uint8_t *>origin.buf, <uint8_t *>goal.buf
            if helpers > 0:
                team = gather_team(helpers)
            with nogil:
                bad = first_outside(indices, count, rows)
                if bad < 0 and wanted:
                    gather_rows(&job, team, helpers)
            if bad >= 0:
                outside(indices[bad], rows)
        finally:
            PyBuffer_Release(&goal)
    finally:
        PyBuffer_Release(&origin)
    return 0


# -- gathers over shards -----------------------------------------------------------------------------------------------

cdef class _Shards:
    """Buffers of a column's shards, held open: `each` per shard, one after another."""

    cdef Py_buffer *buffers
    cdef Py_ssize_t opened
    cdef readonly Py_ssize_t rows
    cdef Py_ssize_t shard_rows

    cdef int _open(self, list things, Py_ssize_t each, Py_ssize_t shard_rows, Py_ssize_t rows) except -1:
        if rows < 0 or (rows and shard_rows <= 0):
            raise ValueError(f"{rows} rows in shards of {shard_rows} cannot be")
        cdef Py_ssize_t shards = (rows - 1) // shard_rows + 1 if rows else 0
        if len(things) // each < shards:
            raise ValueError(f"{rows} rows in shards of {shard_rows} need {shards} shards, {len(things) // each} came")
        self.rows, self.shard_rows = rows, shard_rows
        self.buffers = <Py_buffer *>calloc(max(shards * each, 1), sizeof(Py_buffer))
        if self.buffers == NULL:
            raise MemoryError
        for thing in things[:shards * each]:
            if thing is not None:
                PyObject_GetBuffer(thing, &self.buffers[self.opened], PyBUF_SIMPLE)
            self.opened += 1
        return 0

    cdef Py_ssize_t _rows_of(self, Py_ssize_t shard) noexcept nogil:
        return min(self.shard_rows, self.rows - shard * self.shard_rows)

    cdef int _need(self, Py_ssize_t buffer, size_t bytes, str what) except -1:
        if <size_t>self.buffers[buffer].len < bytes:
            raise ValueError(f"{what} have {self.buffers[buffer].len} bytes, {bytes} are needed")
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t at
        for at in range(self.opened):
            PyBuffer_Release(&self.buffers[at])
        free(self.buffers)


@cython.final
cdef class Ragged(_Shards):
    """Rows of different lengths: per shard 64-bit offsets and the values that they point into."""

    cdef readonly Py_ssize_t item_bytes

    def __cinit__(self, shards, Py_ssize_t shard_rows, Py_ssize_t rows, Py_ssize_t item_bytes):
        if item_bytes <= 0:
            raise ValueError(f"items of {item_bytes} bytes cannot be")
        self.item_bytes = item_bytes
        self._open([part for pair in shards for part in pair], 2, shard_rows, rows)
        cdef Py_ssize_t at
        for at in range(self.opened // 2):
            self._need(2 * at, product(<size_t>self._rows_of(at) + 1, sizeof(int64_t), "the offsets"), "the offsets")

    cdef inline const int64_t *_place(self, int64_t index) noexcept nogil:
        cdef Py_ssize_t row = row_of(index, self.rows)
        return <const int64_t *>self.buffers[2 * (row // self.shard_rows)].buf + row % self.shard_rows

    cdef inline const int64_t *_span(self, int64_t index) noexcept nogil:
        # The two offsets of a row; NULL when they are out of order or beyond the values.
        cdef Py_ssize_t shard = row_of(index, self.rows) // self.shard_rows
        cdef const int64_t *span = self._place(index)
        cdef bint sane = 0 <= span[0] <= span[1] <= self.buffers[2 * shard + 1].len // self.item_bytes
        return span if sane else NULL

    cdef int64_t _measure(self, const int64_t *indices, Py_ssize_t count, int64_t *offsets) noexcept nogil:
        cdef Py_ssize_t at
        cdef const int64_t *span
        cdef int64_t total = 0
        offsets[0] = 0
        for at in range(count):
            if at + AHEAD < count:
                shm_fetch(self._place(indices[at + AHEAD]))
            span = self._span(indices[at])
            if span == NULL:
                return -1
            total += span[1] - span[0]
            offsets[at + 1] = total
        return total

    cdef inline void _fetch(self, int64_t index) noexcept nogil:
        # The beginning of a row's values: what follows the processor fetches by itself.
        cdef const int64_t *span = self._span(index)
        cdef const uint8_t *place
        cdef size_t bytes
        cdef size_t line = 0
        if span == NULL:
            return
        bytes = min(<size_t>(span[1] - span[0]) * self.item_bytes, <size_t>4 * LINE)
        place = <const uint8_t *>self.buffers[2 * (row_of(index, self.rows) // self.shard_rows) + 1].buf
        place += <size_t>span[0] * self.item_bytes
        while line < bytes:
            shm_fetch(place + line)
            line += LINE

    cdef void _copy(self, const int64_t *indices, Py_ssize_t count, uint8_t *target, size_t room) noexcept nogil:
        cdef Py_ssize_t at
        cdef const int64_t *span
        cdef const uint8_t *values
        cdef size_t bytes
        cdef size_t done = 0
        for at in range(count):
            if at + AHEAD < count:
                self._fetch(indices[at + AHEAD])
            span = self._span(indices[at])
            bytes = <size_t>(span[1] - span[0]) * self.item_bytes if span != NULL else 0
            if done + bytes > room:
                return
            if bytes:
                values = <const uint8_t *>self.buffers[2 * (row_of(indices[at], self.rows) // self.shard_rows) + 1].buf
                memcpy(target + done, values + <size_t>span[0] * self.item_bytes, bytes)
            done += bytes

    def measure(self, const int64_t[::1] indices, int64_t[::1] offsets):
        check_indices(indices, self.rows)
        cdef Py_ssize_t count = indices.shape[0]
        if offsets.shape[0] != count + 1:
            raise ValueError(f"{count} rows need {count + 1} offsets, there is room for {offsets.shape[0]}")
        cdef int64_t total
        with nogil:
            total = self._measure(&indices[0] if count else NULL, count, &offsets[0])
        if total < 0:
            raise ValueError("the offsets of a shard are out of order, or point beyond its values")
        return total

    def gather(self, const int64_t[::1] indices, target):
        check_indices(indices, self.rows)
        cdef Py_ssize_t count = indices.shape[0]
        cdef Py_buffer goal
        PyObject_GetBuffer(target, &goal, PyBUF_WRITABLE)
        try:
            if count:
                with nogil:
                    self._copy(&indices[0], count, <uint8_t *>goal.buf, goal.len)
        finally:
            PyBuffer_Release(&goal)


@cython.final
cdef class Bitmap(_Shards):
    """Which rows are present: per shard a bitmap, least significant bit first, or None where all are."""

    def __cinit__(self, shards, Py_ssize_t shard_rows, Py_ssize_t rows):
        self._open(list(shards), 1, shard_rows, rows)
        cdef Py_ssize_t at
        for at in range(self.opened):
            if self.buffers[at].buf != NULL:
                self._need(at, (<size_t>self._rows_of(at) + 7) // 8, "the bits")

    cdef void _gather(self, const int64_t *indices, Py_ssize_t count, uint8_t *target) noexcept nogil:
        cdef Py_ssize_t at
        cdef Py_ssize_t row
        cdef const uint8_t *bits
        for at in range(count):
            row = row_of(indices[at], self.rows)
            bits = <const uint8_t *>self.buffers[row // self.shard_rows].buf
            row %= self.shard_rows
            target[at] = 1 if bits == NULL else (bits[row >> 3] >> (row & 7)) & 1

    def gather(self, const int64_t[::1] indices, target):
        check_indices(indices, self.rows)
        cdef Py_ssize_t count = indices.shape[0]
        cdef Py_buffer goal
        open_buffer(target, &goal, True, count, "the target")
        try:
            if count:
                with nogil:
                    self._gather(&indices[0], count, <uint8_t *>goal.buf)
        finally:
            PyBuffer_Release(&goal)


# -- memory that is reused ---------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """What a pool holds and has done, in this process."""

    live_blocks: int
    live_bytes: int
    cached_blocks: int
    cached_bytes: int
    fresh: int
    reused: int


cdef struct Shelf:
    void **places
    Py_ssize_t count
    Py_ssize_t room


cdef int class_of(size_t bytes) noexcept nogil:
    cdef int power = 0
    cdef size_t quarter
    while bytes > <size_t>SMALL << (power + 1):
        power += 1
    cdef size_t base = <size_t>SMALL << power
    if bytes <= base:
        return 4 * power
    quarter = base // 4
    return 4 * power + <int>((bytes - base + quarter - 1) // quarter)


cdef size_t class_bytes(int index) noexcept nogil:
    cdef size_t base = <size_t>SMALL << (index // 4)
    return round_up(base + base // 4 * (index % 4), SMALL)


@cython.final
@cython.no_gc
cdef class BlockPool:
    """Memory blocks that come back when their last view dies, so that no batch pays for fresh pages.

    After a fork the child drops what it inherited: writing into it would copy every page.
    """

    cdef Shelf shelves[CLASSES]
    cdef size_t limit
    cdef size_t cached_bytes, live_bytes
    cdef Py_ssize_t cached_blocks, live_blocks, fresh, reused
    cdef int owner

    def __cinit__(self, size_t limit_bytes):
        self.limit = limit_bytes
        self.owner = getpid()

    def block(self, size_t length):
        self._after_fork()
        if length > <size_t>1 << 50:
            raise MemoryError(f"a block of {length} bytes")
        cdef int index = class_of(length)
        cdef size_t bytes = class_bytes(index)
        cdef Block block = Block.__new__(Block)
        block.place = self._take(index, bytes)
        block.length, block.index, block.pool, block.owner = length, index, self, self.owner
        self.live_blocks += 1
        self.live_bytes += bytes
        return block

    cdef void *_take(self, int index, size_t bytes) except NULL:
        cdef Shelf *shelf = &self.shelves[index]
        if shelf.count:
            shelf.count -= 1
            self.cached_blocks -= 1
            self.cached_bytes -= bytes
            self.reused += 1
            return shelf.places[shelf.count]
        cdef void *place = fresh_memory(bytes)
        if place == NULL:
            raise MemoryError(f"a block of {bytes} bytes")
        self.fresh += 1
        return place

    cdef void _give(self, int index, void *place, int owner) noexcept:
        cdef size_t bytes = class_bytes(index)
        self._after_fork()
        if owner != self.owner:
            munmap(place, bytes)
            return
        self.live_blocks -= 1
        self.live_bytes -= bytes
        if self.cached_bytes + bytes > self.limit or not self._shelve(&self.shelves[index], place):
            munmap(place, bytes)
            return
        self.cached_blocks += 1
        self.cached_bytes += bytes

    cdef bint _shelve(self, Shelf *shelf, void *place) noexcept:
        cdef Py_ssize_t room
        cdef void **places
        if shelf.count == shelf.room:
            room = max(8, 2 * shelf.room)
            places = <void **>realloc(shelf.places, room * sizeof(void *))
            if places == NULL:
                return False
            shelf.places, shelf.room = places, room
        shelf.places[shelf.count] = place
        shelf.count += 1
        return True

    cdef void _after_fork(self) noexcept:
        cdef int here = getpid()
        if here != self.owner:
            self._drop()
            self.owner = here
            self.live_bytes = self.live_blocks = self.fresh = self.reused = 0

    cdef void _drop(self) noexcept:
        cdef int index
        cdef Shelf *shelf
        for index in range(CLASSES):
            shelf = &self.shelves[index]
            while shelf.count:
                shelf.count -= 1
                munmap(shelf.places[shelf.count], class_bytes(index))
        self.cached_bytes = self.cached_blocks = 0

    def clear(self):
        self._after_fork()
        self._drop()

    def statistics(self):
        self._after_fork()
        return PoolStatistics(
            live_blocks=self.live_blocks,
            live_bytes=self.live_bytes,
            cached_blocks=self.cached_blocks,
            cached_bytes=self.cached_bytes,
            fresh=self.fresh,
            reused=self.reused,
        )

    def __dealloc__(self):
        cdef int index
        self._drop()
        for index in range(CLASSES):
            free(self.shelves[index].places)


cdef void *fresh_memory(size_t bytes) noexcept:
    """Map whole pages, on huge ones where the size allows, filled in one go; NULL when there is none."""
    cdef size_t slack = HUGE if bytes >= HUGE else 0
    cdef uint8_t *start = <uint8_t *>mmap(
        NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
    )
    cdef size_t ahead
    if <void *>start == MAP_FAILED:
        return NULL
    with nogil:
        if slack:
            ahead = (HUGE - <uintptr_t>start % HUGE) % HUGE
            if ahead:
                munmap(start, ahead)
            munmap(start + ahead + bytes, slack - ahead)
            start += ahead
            madvise(start, bytes, MADV_HUGEPAGE)
        # Advice as well: where the kernel cannot, the pages come one by one at first use.
        madvise(start, bytes, MADV_POPULATE_WRITE)
    return start


@cython.final
@cython.no_gc
cdef class Block:
    """Writable bytes from a `BlockPool`; they go back when the last view of them dies."""

    cdef void *place
    cdef Py_ssize_t length
    cdef int index
    cdef int owner
    cdef BlockPool pool

    def __init__(self):
        raise TypeError("blocks come from BlockPool.block")

    @property
    def address(self):
        return <uintptr_t>self.place

    def __len__(self):
        return self.length

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.place, self.length, False, flags)

    def __dealloc__(self):
        if self.place != NULL:
            self.pool._give(self.index, self.place, self.owner)


# -- arenas: memory that a worker fills and another process reads ------------------------------------------------------

cdef extern from * nogil:
    """
    #include <fcntl.h>

    #ifndef FALLOC_FL_PUNCH_HOLE
    #define FALLOC_FL_KEEP_SIZE 1
    #define FALLOC_FL_PUNCH_HOLE 2
    #endif

    /* fallocate is declared for _GNU_SOURCE only, which Python.h asks for before anything else is included. */
    static int shm_allocate(int descriptor, long long offset, long long length) {
        int failed;
        do failed = fallocate(descriptor, 0, offset, length); while (failed && errno == EINTR);
        return failed ? errno : 0;
    }

    static void shm_punch(int descriptor, long long offset, long long length) {
        while (fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) && errno == EINTR);
    }

    static inline uint64_t shm_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static inline void shm_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static inline int shm_swap(uint64_t *word, uint64_t before, uint64_t after) {
        return __atomic_compare_exchange_n(word, &before, after, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline void shm_clear(uint64_t *word, uint64_t bits) { __atomic_fetch_and(word, ~bits, __ATOMIC_ACQ_REL); }
    static inline void shm_count(uint64_t *word) { __atomic_fetch_add(word, 1, __ATOMIC_RELAXED); }
    """
    int shm_allocate(int descriptor, long long offset, long long length)
    void shm_punch(int descriptor, long long offset, long long length)
    uint64_t shm_load(const uint64_t *word)
    void shm_store(uint64_t *word, uint64_t value)
    bint shm_swap(uint64_t *word, uint64_t before, uint64_t after)
    void shm_clear(uint64_t *word, uint64_t bits)
    void shm_count(uint64_t *word)

# A slot's word, from its low end: who holds it (3 bits), how often it was claimed (19), which process claimed it last
# (22, as many as Linux gives a pid) and when that one was born (20). All in one word, so that no reader ever sees the
# pid of one process with the birth of another. A word of 0 was never claimed, and neither was any after it.
cdef enum:
    FILLING = 1     # the process that claimed it still has tensors of it
    SENT = 2        # its descriptor is on its way
    HELD = 4        # the process that received it still has tensors of it
    BUSY = FILLING | SENT | HELD
    TICKET_AT = 3
    TICKETS = (1 << 19) - 1
    PID_AT = 22
    PIDS = (1 << 22) - 1
    BORN_AT = 44
    BIRTHS = (1 << 20) - 1
    # A slot's room is its bytes of memory, whole pages; the lowest bit says that they are huge ones.
    ON_HUGE = 1
    # Below this a huge page would be wasted.
    WORTH_HUGE = 1 << 20

cdef struct SlotEntry:
    uint64_t word
    uint64_t room
    uint64_t unused[6]

cdef struct Table:
    uint64_t handed
    uint64_t refused
    uint64_t unused[6]
    SlotEntry slots[1]


cdef object birth_of(pid):
    """When a process was born, cut to what a word has room for; None when it has ended, zombies included."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2:].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19]) & BIRTHS


@cython.final
@cython.no_gc
cdef class Window:
    """The memory of one slot in this process."""

    cdef uint8_t *place
    cdef size_t length
    cdef bint huge

    def __dealloc__(self):
        if self.length:
            munmap(self.place, self.length)


cdef Window map_window(int descriptor, long long offset, size_t length, bint huge, bint advise, int *failed):
    """Map a slot where huge pages can lie, and fill its pages; None with the error when there is no memory."""
    cdef Window window = Window.__new__(Window)
    cdef size_t slack = HUGE if length >= HUGE else 0
    cdef uint8_t *start
    cdef size_t ahead
    failed[0] = 0
    with nogil:
        start = <uint8_t *>mmap(NULL, length + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if <void *>start == MAP_FAILED:
            failed[0] = errno
        else:
            if slack:
                ahead = (HUGE - <uintptr_t>start % HUGE) % HUGE
                if ahead:
                    munmap(start, ahead)
                munmap(start + ahead + length, slack - ahead)
                start += ahead
            # Without a reservation: the pages of a huge slot are there already, and none is to be set aside twice.
            if <void *>mmap(
                start, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, descriptor, offset
            ) == MAP_FAILED:
                failed[0] = errno
                munmap(start, length)
    if failed[0]:
        return None
    window.place, window.length, window.huge = start, length, huge
    with nogil:
        if advise:
            madvise(start, length, MADV_HUGEPAGE)
        if madvise(start, length, MADV_POPULATE_WRITE) != 0:
            failed[0] = errno
            if failed[0] == EINVAL:
                # Kernels before 5.14. Allocating first means that a later touch cannot end the process.
                failed[0] = shm_allocate(descriptor, offset, length)
    return None if failed[0] else window


@cython.final
cdef class Arena:
    """Slots of memory in files that several processes map; a word per slot says who has it, and nobody ever waits."""

    cdef Mapping table_memory
    cdef Table *table
    cdef int small, huge
    cdef readonly Py_ssize_t slots
    cdef readonly size_t stride
    cdef readonly size_t limit
    cdef bint transparent
    cdef list windows
    cdef int mapper
    cdef uint64_t birth
    # Of this process: how many objects it has of each slot, which children were forked while it had some, which forks
    # are under way, and what it cannot give back before those children have ended.
    cdef list objects
    cdef dict witnesses
    cdef list forks
    cdef list lingering

    @staticmethod
    def table_bytes(Py_ssize_t slots):
        return round_up(sizeof(Table) + slots * sizeof(SlotEntry), SMALL)

    def __cinit__(
        self, int table, int small, int huge, *, Py_ssize_t slots, size_t stride, size_t limit, bint transparent
    ):
        if slots <= 0 or stride == 0 or stride % HUGE:
            raise ValueError(f"{slots} slots of {stride} bytes cannot be: at least one, of whole huge pages")
        cdef long long wanted = <long long>product(slots, stride, "the files of an arena")
        for descriptor in (small, huge):
            if descriptor >= 0 and shm_file_bytes(descriptor) < wanted:
                raise ValueError(f"descriptor {descriptor} is shorter than {slots} slots of {stride} bytes")
        self.slots, self.stride, self.limit, self.transparent = slots, stride, limit, transparent
        self.small, self.huge = small, huge
        self.table_memory = shared_table(table, self.table_bytes(slots))
        self.table = <Table *>self.table_memory.start
        self._start()

    cdef int _start(self) except -1:
        cdef int mapper = getpid()
        # First, since it can fail: a child that went on with its parent's birth and objects would free what is not its
        # own, and would be taken for dead.
        self.birth = birth_of(mapper)
        self.windows = [None] * self.slots
        self.objects = [0] * self.slots
        self.witnesses = {}
        self.forks = []
        self.lingering = []
        self.mapper = mapper
        return 0

    cdef int _own(self) except -1:
        # A forked child writes through mappings of its own, which it fills in one go.
        if self.mapper != getpid():
            self._start()
        return 0

    cdef int _here(self) except -1:
        self._own()
        if self.lingering:
            self._sweep()
        return 0

    # -- children that inherited a slot --------------------------------------------------------------------------------

    # Other threads receive and let go while one of them forks. What they let go between `forking` and `forked` may be
    # in the child or not, and is kept; what they have at the end may be, too. Neither function runs code of Python's.

    def forking(self, witness):
        self._own()
        self.forks.append(witness)

    def forked(self, witness):
        self._own()
        cdef Py_ssize_t at
        for at in range(self.slots):
            if self.objects[at]:
                self.witnesses[at] = (*self.witnesses.get(at, ()), witness)
        if witness in self.forks:
            self.forks.remove(witness)

    cdef int _sweep(self) except -1:
        # To ask a witness is to run Python: another thread may come by here meanwhile, or the handler of a signal
        # raise. So each entry leaves the list before it is looked at: cleared twice, the slot could be somebody else's.
        cdef Py_ssize_t left = len(self.lingering)
        while left > 0 and self.lingering:
            left -= 1
            entry = self.lingering.pop(0)
            ended = False
            try:
                ended = all([over() for over in entry[2]])
            finally:
                if not ended:
                    self.lingering.append(entry)
            if ended:
                shm_clear(&self._entry(entry[0]).word, entry[1])
        return 0

    cdef void _came(self, Py_ssize_t at):
        self.objects[at] += 1

    cdef void _went(self, Py_ssize_t at, uint64_t holds):
        witnesses = (*self.witnesses.get(at, ()), *self.forks)
        self.objects[at] -= 1
        if self.objects[at] == 0:
            self.witnesses.pop(at, None)
        if witnesses:
            self.lingering.append((at, holds, witnesses))
        else:
            shm_clear(&self._entry(at).word, holds)

    cdef SlotEntry *_entry(self, Py_ssize_t at) noexcept nogil:
        return &self.table.slots[at]

    # -- claiming ------------------------------------------------------------------------------------------------------

    def claim(self, size_t length):
        self._here()
        cdef Slot slot = self._claim_ready(length)
        if slot is None and self.reclaim():
            slot = self._claim_ready(length)
        if slot is None:
            slot = self._claim_growing(length)
        shm_count(&self.table.refused if slot is None else &self.table.handed)
        return slot

    cdef Slot _claim_ready(self, size_t length):
        # The lowest one that is large enough: so few slots are in use, and they are warm.
        cdef Py_ssize_t at
        cdef uint64_t word
        for at in range(self.slots):
            word = shm_load(&self._entry(at).word)
            if word == 0:
                return None
            if word & BUSY or shm_load(&self._entry(at).room) < length:
                continue
            if self._take(at, word):
                return self._filling(at, length)
        return None

    cdef Slot _claim_growing(self, size_t length):
        cdef Py_ssize_t at
        cdef uint64_t word
        for at in range(self.slots):
            word = shm_load(&self._entry(at).word)
            if not word & BUSY and self._take(at, word):
                return self._filling(at, length)
        return None

    cdef bint _take(self, Py_ssize_t at, uint64_t word):
        cdef uint64_t ticket = ((word >> TICKET_AT) + 1) & TICKETS
        cdef uint64_t after = (
            FILLING | ticket << TICKET_AT | <uint64_t>(self.mapper & PIDS) << PID_AT | self.birth << BORN_AT
        )
        return shm_swap(&self._entry(at).word, word, after)

    cdef Slot _filling(self, Py_ssize_t at, size_t length):
        cdef Slot slot = Slot.__new__(Slot)
        # From here on the slot goes back when the object dies, whatever fails below.
        slot.arena, slot.at, slot.holds, slot.owner, slot.length = self, at, FILLING, self.mapper, length
        self._came(at)
        slot.ticket = (shm_load(&self._entry(at).word) >> TICKET_AT) & TICKETS
        slot.window = self._window(at, length)
        if slot.window is None:
            slot.window = self._grown(at, length)
        return None if slot.window is None else slot

    cdef Window _window(self, Py_ssize_t at, size_t length):
        """The memory of a slot that has enough; None when it has not, or cannot be mapped."""
        cdef uint64_t room = shm_load(&self._entry(at).room)
        cdef size_t bytes = room & ~<uint64_t>ON_HUGE
        cdef bint huge = room & ON_HUGE
        cdef Window window = self.windows[at]
        cdef int failed
        if bytes < max(length, <size_t>1):
            return None
        if window is None or window.length != bytes or window.huge != huge:
            window = map_window(
                self.huge if huge else self.small, at * self.stride, bytes, huge, self.transparent and not huge, &failed
            )
            self.windows[at] = window
        return window

    cdef Window _grown(self, Py_ssize_t at, size_t length):
        cdef Window window = None
        if length >= WORTH_HUGE and self.huge >= 0:
            window = self._allocated(at, length, True)
        return self._allocated(at, length, False) if window is None else window

    cdef Window _allocated(self, Py_ssize_t at, size_t length, bint huge):
        cdef SlotEntry *entry = self._entry(at)
        cdef size_t before = entry.room & ~<uint64_t>ON_HUGE
        cdef bint was_huge = entry.room & ON_HUGE
        cdef int descriptor = self.huge if huge else self.small
        cdef int failed = 0
        cdef Window window
        if length > self.stride:
            return None
        cdef size_t bytes = round_up(class_bytes(class_of(length)), HUGE if huge else SMALL)
        if bytes > self.stride or self._bytes() - before + bytes > self.limit:
            return None
        if before and was_huge != huge:
            # In this order: whoever finds the slot after a kill must not believe in memory that is gone.
            shm_store(&entry.room, 0)
            shm_punch(self.huge if was_huge else self.small, at * self.stride, before)
            before = 0
        if huge:
            failed = shm_allocate(descriptor, at * self.stride, bytes)
            if failed:
                shm_punch(descriptor, at * self.stride + before, bytes - before)
                return None
        window = map_window(descriptor, at * self.stride, bytes, huge, self.transparent and not huge, &failed)
        if window is None:
            shm_punch(descriptor, at * self.stride + before, bytes - before)
            return None
        shm_store(&entry.room, bytes | (ON_HUGE if huge else 0))
        self.windows[at] = window
        return window

    cdef size_t _bytes(self) noexcept nogil:
        cdef Py_ssize_t at
        cdef size_t total = 0
        for at in range(self.slots):
            total += shm_load(&self._entry(at).room) & ~<uint64_t>ON_HUGE
        return total

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, Py_ssize_t at, uint64_t ticket, size_t length):
        self._here()
        if not 0 <= at < self.slots:
            raise LookupError(f"there is no slot {at}")
        cdef uint64_t word
        while True:
            word = shm_load(&self._entry(at).word)
            if not word & SENT or ((word >> TICKET_AT) & TICKETS) != ticket:
                raise LookupError(f"slot {at} was taken back: the process that filled it has ended")
            if shm_swap(&self._entry(at).word, word, word & ~<uint64_t>SENT | HELD):
                break
        cdef Slot slot = Slot.__new__(Slot)
        slot.arena, slot.at, slot.holds, slot.owner = self, at, HELD, self.mapper
        self._came(at)
        slot.ticket, slot.length, slot.sent = ticket, length, True
        slot.window = self._window(at, length)
        if slot.window is None:
            raise MemoryError(f"slot {at} with {length} bytes cannot be mapped")
        return slot

    # -- looking after it ----------------------------------------------------------------------------------------------

    def reclaim(self):
        self._here()
        cdef Py_ssize_t at
        cdef uint64_t word
        cdef Py_ssize_t found = 0
        # By pid and birth, both: the dead stay so, but a pid may come back before the last slot is seen.
        living = {}
        for at in range(self.slots):
            word = shm_load(&self._entry(at).word)
            if word == 0:
                break
            if not word & (FILLING | SENT):
                continue
            process = word >> PID_AT
            if process not in living:
                living[process] = birth_of(process & PIDS) == word >> BORN_AT
            if living[process]:
                continue
            # If somebody else was quicker the word has changed, and so has what is to be done.
            found += shm_swap(&self._entry(at).word, word, word & ~<uint64_t>(FILLING | SENT))
        return found

    def counts(self):
        self._here()
        cdef Py_ssize_t at
        cdef uint64_t word, room
        cdef Py_ssize_t used = 0, filling = 0, sent = 0, held = 0
        cdef size_t bytes = 0, huge = 0
        for at in range(self.slots):
            word, room = shm_load(&self._entry(at).word), shm_load(&self._entry(at).room)
            used += room != 0
            filling += word & FILLING != 0
            sent += word & SENT != 0
            held += word & HELD != 0
            bytes += room & ~<uint64_t>ON_HUGE
            huge += room & ~<uint64_t>ON_HUGE if room & ON_HUGE else 0
        return ArenaCounts(
            slots=used,
            bytes=bytes,
            huge_bytes=huge,
            filling=filling,
            sent=sent,
            held=held,
            handed=shm_load(&self.table.handed),
            refused=shm_load(&self.table.refused),
        )


cdef Mapping shared_table(int descriptor, size_t length):
    cdef long long size = shm_file_bytes(descriptor)
    if size < <long long>length:
        raise ValueError(f"the table of an arena has {size} bytes, {length} are needed")
    cdef uint8_t *start = <uint8_t *>mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    if <void *>start == MAP_FAILED:
        raise os_error(errno, f"cannot map {length} bytes of descriptor {descriptor}")
    cdef Mapping mapping = Mapping([])
    mapping.start, mapping.length, mapping.mapped, mapping.writable = start, length, length, True
    return mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaCounts:
    """What the slots of an arena are doing at this moment."""

    slots: int
    bytes: int
    huge_bytes: int
    filling: int
    sent: int
    held: int
    handed: int
    refused: int


@cython.final
@cython.no_gc
cdef class Slot:
    """Writable bytes of an arena; what this process holds of it goes back when the last view dies."""

    cdef Arena arena
    cdef Window window
    cdef Py_ssize_t at
    cdef uint64_t holds
    cdef readonly uint64_t ticket
    cdef size_t length
    cdef int owner
    cdef readonly bint sent

    def __init__(self):
        raise TypeError("slots come from Arena.claim and Arena.receive")

    @property
    def index(self):
        return self.at

    @property
    def address(self):
        return <uintptr_t>self.window.place

    @property
    def mapped_bytes(self):
        return self.window.length

    def send(self):
        cdef uint64_t *word = &self.arena._entry(self.at).word
        cdef uint64_t before = shm_load(word)
        if self.sent or self.owner != getpid():
            return False
        # Nobody else changes the word of a slot that is being filled.
        self.sent = shm_swap(word, before, before | SENT)
        return self.sent

    def __len__(self):
        return self.length

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.window.place, self.length, False, flags)

    def __dealloc__(self):
        # A forked child has inherited the object, not the slot.
        if self.arena is not None and self.owner == getpid():
            self.arena._went(self.at, self.holds)
