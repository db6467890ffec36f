"""A private folder that looks like a table and holds none of its bytes: links to descriptors of this process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from blake3 import blake3

from alluxio_lance.storage.local import LocalRoot

__all__ = ["TABLE", "View"]

TABLE: Final = "table"
"""The location of the table in the view's `root`."""
_ATTEMPTS: Final = 10
_NAME: Final = "view-"
"""How the names of our folders begin: nothing else below ``above`` is ever removed."""


class View:
    """A folder with files of a table, made below ``above`` and removed by `close`.

    It is locked while its process lives. The next view in the same place removes those whose processes were killed:
    some links and a manifest, no data.

    Parameters
    ----------
    above
        Where it is made.
    hash_threads
        As of `LocalRoot`.

    Raises
    ------
    OSError
        When it cannot be made.
    """

    def __init__(self, above: Path, *, hash_threads: int = blake3.AUTO) -> None:
        above.mkdir(parents=True, exist_ok=True, mode=0o700)
        _clear_leftovers(above)
        self._folder, self._lock = _make(above)
        self.root = LocalRoot(self._folder, hash_threads=hash_threads)

    @property
    def uri(self) -> str:
        """What to give to ``lance.dataset``."""
        return self.root.address(TABLE).uri

    def find(self, path: str) -> Path:
        """Tell where a file of the table is to be read."""
        return self._folder / TABLE / path

    def put(self, path: str, data: bytes) -> None:
        """Write a file, the table's manifest."""
        self._named(path).write_bytes(data)

    def link(self, path: str, descriptor: int) -> None:
        """Name a descriptor, which the caller keeps open for as long as anybody reads it here.

        The link is one of this process: it needs no right to write where the file lies, works across file systems and
        for files without a name, and keeps nothing on a disk when the process is killed.
        """
        named = self._named(path)
        named.unlink(missing_ok=True)
        named.symlink_to(f"/proc/self/fd/{descriptor}")

    def unlink(self, path: str) -> None:
        """Take a name away again."""
        self.find(path).unlink(missing_ok=True)

    def _named(self, path: str) -> Path:
        named = self.find(path)
        named.parent.mkdir(parents=True, exist_ok=True)
        return named

    def close(self) -> None:
        """Remove it; a second call does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make(above: Path) -> tuple[Path, int]:
    """Make a folder and lock it, before somebody who clears up takes it for a leftover."""
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=_NAME, dir=above))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _take(lock) and folder.exists():
                return folder, lock
            os.close(lock)
    raise OSError(f"no folder could be made and locked in {above}")


def _clear_leftovers(above: Path) -> None:
    for folder in above.glob(f"{_NAME}*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _take(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _take(descriptor: int) -> bool:
    """Lock a folder, if nobody has it locked: the kernel lets go of the lock when the last who holds it dies."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
