"""Files of Alluxio as paths that a native reader opens by itself: a block file where it lies, or an unnamed local copy."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Final

from alluxio_lance.errors import InvalidArgument, NoSpace
from alluxio_lance.files.blocks import NotHere
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.files.namespace import FileStatus

__all__ = ["Ahead", "NearFile", "bring_near"]

_PIECE: Final = 8 << 20
"""Bytes that are asked for at once over the network."""
_THREADS: Final = 4
"""Pieces of one file that are under way at once: more gain nothing from one proxy."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class NearFile:
    """An open file without a name that others can open by ``path``, for as long as this object is open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.path = f"/proc/self/fd/{descriptor}"

    def close(self) -> None:
        """Give the file up: who has opened it by its path keeps it. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def bring_near(files: AlluxioFiles, name: str, wanted: Callable[[], bool] = lambda: True) -> NearFile:
    """Open a file of one block where the worker of this node keeps it; copy any other one into an unnamed file.

    Parameters
    ----------
    wanted
        Asked before each piece of a copy: whether to go on. If not, the copy is not whole, and nobody may read it.

    Raises
    ------
    NotFound, Corrupt, Unavailable
        As `AlluxioFiles.read`.
    InvalidArgument
        When it is a folder.
    NoSpace
        When the folder for temporary files has no room for the copy.
    """
    file = files.status(name)
    if file.is_folder:
        raise InvalidArgument(f"{name} is a folder in Alluxio: name its files, as in {name.rstrip('/')}/*.tfrecord")
    if len(file.blocks) == 1:
        try:
            return NearFile(files.open_blocks(file)[0])
        except NotHere:
            pass  # It has a copy then, like all the far ones.
    return _copied(files, file, wanted)


def _copied(files: AlluxioFiles, file: FileStatus, wanted: Callable[[], bool]) -> NearFile:
    # Without a name from the start: nothing is left of it after kill -9. On disk, so that the kernel may write it back
    # when memory is short; a memfd of the size of a large file could not go anywhere.
    with tempfile.TemporaryFile(buffering=0) as room:
        descriptor = room.fileno()

        def copy(offset: int) -> None:
            if wanted():
                _write(descriptor, memoryview(files.read(file, offset, _PIECE)), offset)

        try:
            if file.length:
                os.posix_fallocate(descriptor, 0, file.length)
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="alluxio-records") as pool:
                for _ in pool.map(copy, range(0, file.length, _PIECE)):
                    pass
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise NoSpace(
                f"{tempfile.gettempdir()} has no room for the {file.length} bytes of {file.path}, which is not on this "
                "node: point TMPDIR to a larger one, or write the records into files of one block",
                need=file.length,
            ) from error
        return NearFile(os.dup(descriptor))


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


class Ahead:
    """At most one file that is brought near before somebody asks for it.

    Several iterators may share it; they only take each other's turn, and never a file that they did not ask for.
    """

    def __init__(self, files: AlluxioFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._slot: _Pending | None = None

    def start(self, name: str) -> None:
        """Bring a file near in the background; the one before, if nobody took it, is given up."""
        self._swap(_Pending(self._files, name))

    def take(self, name: str) -> NearFile:
        """Return a file that is near, now or as soon as it is; raises the errors of `bring_near`."""
        with self._lock:
            found = self._slot if self._slot is not None and self._slot.name == name else None
            if found is not None:
                self._slot = None
        if found is None or found.future.exception() is not None:
            # What failed a while ago may work now; if not, the error is of now.
            return bring_near(self._files, name)
        return found.future.result()

    def drop(self) -> None:
        """Give up the one that nobody took."""
        self._swap(None)

    def _swap(self, new: _Pending | None) -> None:
        with self._lock:
            old, self._slot = self._slot, new
        if old is not None:
            old.give_up()

    def __del__(self) -> None:
        self.drop()


class _Pending:
    def __init__(self, files: AlluxioFiles, name: str) -> None:
        self.name = name
        self.future: Future[NearFile] = Future()
        self._unwanted = threading.Event()
        # A daemon: the end of the process waits for no file that nobody reads.
        threading.Thread(target=self._run, args=(files,), name="alluxio-ahead", daemon=True).start()

    def _run(self, files: AlluxioFiles) -> None:
        try:
            found = bring_near(files, self.name, lambda: not self._unwanted.is_set())
        except Exception as error:  # noqa: BLE001 - whoever takes the file gets it
            self.future.set_exception(error)
        else:
            self.future.set_result(found)

    def give_up(self) -> None:
        self._unwanted.set()
        self.future.add_done_callback(_close)


def _close(done: Future[NearFile]) -> None:
    if done.exception() is None:
        with closing(done.result()):
            pass
