"""An open file of Alluxio: seekable, with read-ahead over the network for those who read on and on."""

from __future__ import annotations

import io
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from alluxio_lance.files.namespace import FileStatus

if TYPE_CHECKING:
    from alluxio_lance.files.files import AlluxioFiles

__all__ = ["open_reader"]

_BUFFER: Final = 128 << 10
"""Bytes that a reader of a few bytes gets at once."""
_FIRST: Final = 256 << 10
"""Bytes of the first request over the network, and of each that follows a jump."""
_LARGEST: Final = 8 << 20
"""Bytes up to which the requests of somebody who reads on double."""


def open_reader(files: AlluxioFiles, file: FileStatus) -> BinaryIO:
    """Open a file whose status is known."""
    return io.BufferedReader(_Reader(files, file), _BUFFER)


class _Reader(io.RawIOBase):
    """Near bytes are read where they lie, and the kernel reads ahead; far ones come in windows, the next one ahead."""

    def __init__(self, files: AlluxioFiles, file: FileStatus) -> None:
        self.name = file.path
        self._files = files
        self._file = file
        self._at = 0
        self._start, self._window = 0, b""
        self._step = _FIRST
        self._ahead: tuple[int, Future[bytes]] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.length}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: byte {base + offset} is before the file's first one")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read some bytes: those that are at hand, or else the next ones."""
        target = memoryview(buffer).cast("B")
        if not target or self._at >= self._file.length:
            return 0
        if self._files.is_near(self._file):
            done = self._files.read_into(self._file, target, self._at)
        else:
            if not self._start <= self._at < self._start + len(self._window):
                self._move(len(target))
            part = memoryview(self._window)[self._at - self._start :][: len(target)]
            done = len(part)
            target[:done] = part
        self._at += done
        return done

    def readall(self) -> bytes:
        """Read the rest with as few requests as can be."""
        data = self._files.read(self._file, self._at)
        self._at += len(data)
        return data

    def _move(self, wanted: int) -> None:
        """Bring the window to where the reader is, and send for the next one if the reader reads on."""
        ahead, self._ahead = self._ahead, None
        goes_on = self._at == self._start + len(self._window)
        self._step = min(_LARGEST, 2 * self._step) if goes_on and self._window else _FIRST
        if ahead is not None and ahead[0] == self._at:
            self._window = ahead[1].result()
        else:
            if ahead is not None:
                ahead[1].cancel()
            self._window = self._files.read(self._file, self._at, max(wanted, self._step))
        self._start = self._at
        following = self._start + len(self._window)
        if goes_on and following < self._file.length:
            self._ahead = following, self._files.read_ahead(self._file, following, self._step)

    def close(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead[1].cancel()
        self._window = b""
        super().close()
