"""Hands out the files of the disk tier themselves in place of memory: the kernel's page cache holds what is read of them.

A file is the segment byte by byte, so a reader maps it like a memfd. What sealing gives to memory stands here in the
file's mode, in that only the tier writes in its folder, and in the hash: a file is handed out when it was found right in
this run of the sidecar and has not changed since.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.disk.entry import Kept
from alluxio_lance.sidecar.disk.marks import Checked, mark_of
from alluxio_lance.sidecar.disk.reading import MOST_THREADS, Bad, Found, read_checked
from alluxio_lance.sidecar.fill.column import HotColumn, segment_ids
from alluxio_lance.sidecar.plan import Plan

__all__ = ["open_columns"]


def open_columns(
    columns: Sequence[Found], plan: Plan, checked: Checked, *, cancelled: Callable[[], bool] = lambda: False
) -> tuple[list[HotColumn], list[tuple[Found, Bad]]]:
    """Make columns readable through their files, and have the kernel read these ahead.

    Parameters
    ----------
    columns
        Their files become descriptors of the hot columns; all others are closed, after an error every one.
    plan
        Of the version; names it in messages.
    checked
        What need not be checked again; learns what was.
    cancelled
        Asked all the time; when it says yes, the load ends with `Unavailable`.

    Returns
    -------
    tuple
        The hot columns, which take no memory of the budget, and those that are bad, with what is wrong.
    """
    try:
        faults = _check(columns, plan, checked, cancelled)
    except BaseException:
        for found in columns:
            found.close()
        raise
    hot: list[HotColumn] = []
    bad: list[tuple[Found, Bad]] = []
    for found, fault in zip(columns, faults, strict=True):
        if fault is None:
            hot.append(_hot(found))
        else:
            found.close()
            bad.append((found, fault))
    return hot, bad


def _check(
    columns: Sequence[Found], plan: Plan, checked: Checked, cancelled: Callable[[], bool]
) -> Sequence[Bad | None]:
    marks = [[mark_of(os.fstat(file)) for file in found.files] for found in columns]
    faults: list[Bad | None] = [None] * len(columns)
    new = [at for at, found in enumerate(columns) if not checked.has(found.entry.key.digest, marks[at])]
    if not new:
        return faults
    with ThreadPoolExecutor(min(MOST_THREADS, len(new), os.cpu_count() or 1), thread_name_prefix="disk-check") as pool:
        found_out = [pool.submit(_fault, columns[at], plan, cancelled) for at in new]
        # All have ended when this block is left, whatever one of them raised.
        for at, outcome in zip(new, found_out, strict=True):
            faults[at] = outcome.result()
            if faults[at] is None:
                checked.note(columns[at].entry.key.digest, marks[at])
    return faults


def _fault(found: Found, plan: Plan, cancelled: Callable[[], bool]) -> Bad | None:
    try:
        for file, kept in zip(found.files, found.entry.segments, strict=True):
            _compare(file, kept, plan, cancelled)
    except Bad as fault:
        return fault
    return None


def _compare(file: int, kept: Kept, plan: Plan, cancelled: Callable[[], bool]) -> None:
    # Read, and not through a mapping: a disk that fails is an error here, and the end of the process there.
    length = kept.segment.length
    if (size := os.fstat(file).st_size) != length:
        raise Bad(f"it has {size} bytes instead of {length}")
    for _ in read_checked(file, length, kept.hash, plan, cancelled):
        pass


def _hot(found: Found) -> HotColumn:
    for file in found.files:
        # Advice: a file system that cannot follow it reads when the pages are touched.
        with suppress(OSError):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
    segments = [replace(kept.segment, id=next(segment_ids), pages=Pages.SMALL) for kept in found.entry.segments]
    mapped = sum(segment.length for segment in segments)
    return HotColumn(found.entry.column(found.plan, segments), found.files, 0, mapped)
