"""The folder of a demo: fresh for each run, never somebody else's."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alluxio_lance.errors import AlreadyExists, Conflict

__all__ = ["workplace"]

_MARK: Final = "made-by-alluxio-lance-demo"


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Make the folder, in place of what an earlier demo left there; the caller removes it, or not.

    Raises
    ------
    AlreadyExists
        When it is there and was made by something else.
    Conflict
        When another demo works there now.
    """
    mark = folder / _MARK
    if folder.exists() and not mark.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"{folder} is there already and was not made by a demo: name another one with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(mark, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, folder)
        _clear(folder)
        yield folder
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"another demo works in {folder}: wait for its end, or name another one with --folder") from None


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != _MARK:
            left.unlink()
