"""Anonymous shared memory on the best pages of the host: preallocated, written once, sealed for ever.

Writing goes through ``pwrite`` wherever the kernel has it: against a copy through a mapping it saves the page faults and
the zeroing of pages that are overwritten at once (0.18 against 0.30 seconds for 512 MiB on 4 KiB pages). Huge pages of
hugetlbfs know no ``write`` and are copied through a mapping that never leaves this file.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from alluxio_lance.errors import Internal, NoSpace, Unavailable
from alluxio_lance.layout import PAGE, Pages
from alluxio_lance.sidecar.cgroups import ROOT, limiting

__all__ = [
    "HUGE_PAGE",
    "LARGE",
    "Memfd",
    "choose_pages",
    "free_huge_bytes",
    "huge_allowance",
    "memory_faults",
    "page_bytes",
    "round_up",
]

HUGE_PAGE: Final = 2 << 20
LARGE: Final = 8 << 20
"""Bytes of data from which huge pages pay: below, the rounding of head and tail wastes too much."""

_HUGE_POOL: Final = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
_HUGE_LIMITS: Final = (
    ("hugetlb.2MB.max", "hugetlb.2MB.current"),
    ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.usage_in_bytes"),
)
"""What version 2 of cgroups calls limit and usage, and what version 1 calls them."""
_SHMEM_THP: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_THP_ALLOWED: Final = frozenset({"always", "within_size", "advise", "force"})
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE (Linux 5.14), which mmap does not name: allocate now and fail with an error, not by SIGBUS."""
_STEP: Final = 16 << 20
"""Bytes populated in one call, which may hold the interpreter's lock."""
_LONGEST_NAME: Final = 249
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_NO_MEMORY: Final = frozenset({errno.ENOSPC, errno.ENOMEM, errno.EFAULT, errno.EFBIG})
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_SEAL_ATTEMPTS: Final = 50


def round_up(number: int, unit: int) -> int:
    """Return the smallest multiple of ``unit`` that is not below ``number``."""
    return -(-number // unit) * unit


def page_bytes(pages: Pages) -> int:
    """Return the size that heads and lengths of a segment on such pages are multiples of."""
    return PAGE if pages is Pages.SMALL else HUGE_PAGE


def free_huge_bytes(pool: Path = _HUGE_POOL) -> int:
    """Return the bytes of reserved 2 MiB pages that this process may take; 0 where there are none.

    Nobody uses these pages or has a claim on them, and no limit of a container forbids to take them.
    """
    try:
        free, claimed = (int((pool / name).read_text()) for name in ("free_hugepages", "resv_hugepages"))
    except FileNotFoundError:
        return 0
    return max(0, min((free - claimed) * HUGE_PAGE, huge_allowance()))


def huge_allowance(root: Path = ROOT) -> int:
    """Return what the limits for huge pages of this process' cgroup and those above leave, in bytes."""
    left = [sys.maxsize]
    for folder, first in limiting("hugetlb", root):
        # Normal: not every level has the controller, and "max" is no number.
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
            most, used = (int((folder / name).read_text()) for name in _HUGE_LIMITS[first])
            left.append(most - used)
    return max(0, min(left))


def _transparent_allowed(switch: Path = _SHMEM_THP) -> bool:
    try:
        text = switch.read_text()
    except FileNotFoundError:
        return False
    return text.partition("[")[2].partition("]")[0] in _THP_ALLOWED


def choose_pages(data: int, prefer: Pages = Pages.HUGE, *, wanted: int | None = None, pool: int | None = None) -> Pages:
    """Choose the pages for segments.

    Parameters
    ----------
    data
        Bytes of data in one segment; small ones stay on 4 KiB pages.
    prefer
        The best pages to consider: ``HUGE`` considers all, ``TRANSPARENT`` no reserved ones, ``SMALL`` 4 KiB only.
    wanted
        Bytes that must fit into the free reserved pages together; by default one segment with its head and tail.
    pool
        Bytes of free reserved pages; looked up by default.
    """
    if data < LARGE or prefer is Pages.SMALL:
        return Pages.SMALL
    wanted = round_up(data, HUGE_PAGE) + 2 * HUGE_PAGE if wanted is None else wanted
    if prefer is Pages.HUGE and wanted <= (free_huge_bytes() if pool is None else pool):
        return Pages.HUGE
    return Pages.TRANSPARENT if _transparent_allowed() else Pages.SMALL


class Memfd:
    """One memfd while it is written; `seal` makes it read-only for everybody, this process included.

    Parameters
    ----------
    name
        What ``/proc/PID/maps`` shows, such as ``alluxio-lance:datasets/x@v3:image:0``; cut to 249 bytes.
    length
        Bytes to preallocate at once.
    pages
        The pages to use.
    claimed
        Only claim reserved huge pages, so that nobody else can take them. To clear them takes as long as to fill them: call
        `clear` before the first `write`. Other pages are preallocated whatever it says.

    Raises
    ------
    NoSpace
        When the kernel has no memory; nothing stays allocated.
    """

    def __init__(self, name: str, length: int, pages: Pages = Pages.SMALL, *, claimed: bool = False) -> None:
        self.name = _fitting(name)
        self.pages = pages
        self._unit = page_bytes(pages)
        self._allocated = 0
        self._mapping: mmap.mmap | None = None
        self._clearing: list[Future[None]] = []
        """Steps of `clear`, in order."""
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        if pages is Pages.HUGE:
            flags |= os.MFD_HUGETLB | os.MFD_HUGE_2MB
        with memory_faults(self.name, length):
            self._fd: int | None = os.memfd_create(self.name, flags)
        try:
            if claimed and pages is Pages.HUGE:
                self._claim(length)
            else:
                self.ensure(length)
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """The descriptor; it belongs to this object until `detach`."""
        if self._fd is None:
            raise Internal(f"{self.name} is closed already - this is a fault of alluxio-lance, please report it")
        return self._fd

    def ensure(self, length: int) -> None:
        """Preallocate up to ``length`` bytes.

        Raises
        ------
        NoSpace
            When the kernel has no memory for it.
        """
        length = round_up(length, self._unit)
        if length <= self._allocated:
            return
        with memory_faults(self.name, length):
            if self.pages is Pages.TRANSPARENT:
                self._populate(length)
            else:
                os.posix_fallocate(self.fd, self._allocated, length - self._allocated)
            if self.pages is Pages.HUGE:
                self._remap(length)
        self._allocated = length

    def _claim(self, length: int) -> None:
        length = round_up(length, self._unit)
        with memory_faults(self.name, length):
            os.ftruncate(self.fd, length)
            # To map them is to have them set aside.
            self._remap(length)
        self._allocated = length

    def clear(self, taker: Executor) -> None:
        """Have another thread, the only one of ``taker``, clear what is only claimed; `write` waits for what it needs of it."""
        # By fallocate, and not by touching it: where the limit of a container forbids it, that is an error and not SIGBUS.
        self._clearing = [
            taker.submit(os.posix_fallocate, self.fd, start, min(_STEP, self._allocated - start))
            for start in range(0, self._allocated, _STEP)
        ]

    def _await_cleared(self, end: int) -> None:
        """Wait until there is memory up to ``end``."""
        if self._clearing and end:
            with memory_faults(self.name, end):
                self._clearing[min((end - 1) // _STEP, len(self._clearing) - 1)].result()

    def _populate(self, length: int) -> None:
        # fallocate gives huge pages only where shmem_enabled is "always"; "advise" wants an advised mapping.
        os.ftruncate(self.fd, length)
        with mmap.mmap(self.fd, length) as mapping:
            mapping.madvise(mmap.MADV_HUGEPAGE)
            for start in range(self._allocated, length, _STEP):
                mapping.madvise(_POPULATE_WRITE, start, min(_STEP, length - start))

    def _remap(self, length: int) -> None:
        self._unmap()
        self._mapping = mmap.mmap(self.fd, length)

    def _unmap(self) -> None:
        mapping, self._mapping = self._mapping, None
        if mapping is not None:
            # Somebody may still have `room` in it, after an error: then it goes with that.
            with suppress(BufferError):
                mapping.close()

    def write(self, offset: int, data: Any) -> int:
        """Copy a contiguous buffer to ``offset`` and return its number of bytes; the GIL is free meanwhile.

        Raises
        ------
        NoSpace
            When it reaches beyond what is preallocated and the kernel has no memory.
        """
        source = np.frombuffer(data, np.uint8)
        self.ensure(offset + source.size)
        if self._mapping is not None:
            self._await_cleared(offset + source.size)
            target = np.frombuffer(self._mapping, np.uint8, source.size, offset)
            # What was read into `room` is there.
            if target.ctypes.data != source.ctypes.data:
                np.copyto(target, source)
            return source.size
        with memory_faults(self.name, offset + source.size):
            done = 0
            while done < source.size:  # one call takes at most 2 GiB
                done += os.pwrite(self.fd, source[done:].data, offset + done)
        return source.size

    def room(self, offset: int, length: int) -> memoryview | None:
        """Give out preallocated memory to be written in place, where it is mapped; it must have died before `seal`.

        Raises
        ------
        NoSpace
            As of `write`.
        """
        if self._mapping is None or offset + length > self._allocated:
            return None
        self._await_cleared(offset + length)
        return memoryview(self._mapping)[offset : offset + length]

    def seal(self, length: int) -> None:
        """Cut to ``length`` bytes and seal: no write, no growth, no shrinking, no further seal, by nobody.

        The descriptor reads only from then on.

        Raises
        ------
        Internal
            When the length is not whole pages, or a writable mapping of it does not go away.
        Unavailable
            When this process may not open one file more.
        """
        if self.pages is Pages.HUGE and length % HUGE_PAGE:
            raise Internal(f"{self.name}: {length} bytes are no whole huge pages - please report it")
        self._await_cleared(self._allocated)
        self._unmap()
        os.ftruncate(self.fd, length)
        for attempt in range(_SEAL_ATTEMPTS):
            try:
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # Pages under direct I/O or vmsplice by somebody else count as writers until they are let go.
                time.sleep(0.001 * attempt)
            else:
                self._reopen()
                return
        raise Internal(f"{self.name} cannot be sealed: something keeps a writable mapping of it - please report it")

    def _reopen(self) -> None:
        """Go on with a descriptor for reading only: kernels before 6.7 map nothing sealed through one that may write."""
        with memory_faults(self.name, 0):
            reading = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.dup2(reading, self.fd, inheritable=False)
        finally:
            os.close(reading)

    @property
    def allocated(self) -> int:
        """Bytes that are preallocated."""
        return self._allocated

    def detach(self) -> int:
        """Give the descriptor away: the caller closes it, `close` does not."""
        fd = self.fd
        self._unmap()
        self._fd = None
        return fd

    def close(self) -> None:
        """Free the memory, unless the descriptor was given away; a second call does nothing."""
        # The last first: what waits must be gone before what runs is waited for.
        for clearing in reversed(self._clearing):
            if not clearing.cancel():
                clearing.exception()
        self._clearing = []
        self._unmap()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fitting(name: str) -> str:
    """Cut the middle out of a name that is too long: both ends tell more."""
    data = name.replace("\0", "").encode()
    if len(data) <= _LONGEST_NAME:
        return data.decode()
    half = (_LONGEST_NAME - 3) // 2
    return (data[:half] + b"..." + data[-half:]).decode(errors="ignore")


@contextmanager
def memory_faults(name: str, length: int) -> Iterator[None]:
    """Turn the kernel's refusals to give memory into `NoSpace`, and those to give descriptors into `Unavailable`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_FILES:
            raise Unavailable(
                f"no file descriptor is left for {name}: {os.strerror(error.errno)} - raise the limit of open files "
                "of the sidecar (LimitNOFILE, ulimit -n)",
                what="file descriptors",
            ) from error
        if error.errno not in _NO_MEMORY:
            raise
        raise NoSpace(
            f"the kernel has no memory for {name} ({length:,} bytes): {os.strerror(error.errno)} - free memory, or "
            "evict a version with `alluxio-lance cache evict`",
            need=length,
        ) from error
