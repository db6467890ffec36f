"""Writes one column from its sealed segments into the disk tier, whole or not at all."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from blake3 import blake3

from alluxio_lance.layout import Column
from alluxio_lance.sidecar.disk.entry import Entry, Kept, Key
from alluxio_lance.sidecar.disk.folder import INDEX, flush, segment_file

__all__ = ["Abandoned", "write_column"]

_STEP: Final = 4 << 20
"""Bytes between two questions whether to go on."""


class Abandoned(Exception):
    """The write was ended early; nothing is left of it."""


def write_column(
    root: Path,
    key: Key,
    owner: tuple[str, str],
    column: Column,
    descriptors: Sequence[int],
    *,
    go_on: Callable[[], bool] = lambda: True,
    copied: Callable[[], None] = lambda: None,
    flushed: bool = True,
) -> Entry:
    """Write a column and return its entry.

    Parameters
    ----------
    root
        The folder of the disk tier.
    key, owner
        See `Entry`.
    column, descriptors
        The hot column.
    go_on
        Asked every few megabytes while there is something to copy.
    copied
        Called when the descriptors are needed no longer; what is slow, the flush to the disk, comes after it.
    flushed
        Whether a failure of the machine's power must leave all of it or nothing. Otherwise it may leave bytes that are
        wrong, which show when they are read.

    Raises
    ------
    Abandoned
        When ``go_on`` says no.
    OSError
        When the disk is full or fails. Nothing is left then, either.
    """
    folder = root / f"new-{key.digest}"
    try:
        folder.mkdir(mode=0o700)
        kept = []
        for number, (segment, descriptor) in enumerate(zip(column.segments, descriptors, strict=True)):
            hash = _copy(descriptor, segment.length, folder / segment_file(number), go_on)
            # Ids are those of one run.
            kept.append(Kept(replace(segment, id=0), hash))
        copied()
        entry = Entry(key=key, owner=owner, kind=column.kind, null_count=column.null_count, segments=tuple(kept))
        if flushed:
            for number in range(len(kept)):
                flush(folder / segment_file(number))
        with _fresh(folder / INDEX) as file:
            file.write(entry.to_bytes())
        if flushed:
            flush(folder / INDEX)
            flush(folder)
        folder.rename(root / key.digest)
        if flushed:
            flush(root)
    except BaseException:
        for left in (folder, root / key.digest):
            shutil.rmtree(left, ignore_errors=True)
        raise
    return entry


def _copy(descriptor: int, length: int, path: Path, go_on: Callable[[], bool]) -> str:
    """Copy a sealed memfd into a new file and return its BLAKE3."""
    hasher = blake3()
    with (
        _fresh(path) as file,
        mmap.mmap(descriptor, length, prot=mmap.PROT_READ) as mapping,
        memoryview(mapping) as view,
    ):
        for start in range(0, length, _STEP):
            if not go_on():
                raise Abandoned
            with view[start : start + _STEP] as piece:
                hasher.update(piece)
                file.write(piece)
    return hasher.hexdigest()


def _fresh(path: Path) -> IO[bytes]:
    """Open a file that must not be there."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    # Readers may get the file itself: nobody, this user included, opens it for writing again by mistake.
    return os.fdopen(os.open(path, flags, 0o400), "wb")
