"""The body of one upload: exactly the bytes that were announced, since the proxy takes more of them for a call of their own."""

from __future__ import annotations

from typing import BinaryIO

from alluxio_lance.errors import InvalidArgument

__all__ = ["Body", "too_short"]


class Body:
    """So many bytes of a stream, from where it is; what lies behind them, as in a file that grew, is not sent.

    Raises
    ------
    InvalidArgument
        From `read`, when the stream ends before, or cannot be read.
    """

    def __init__(self, path: str, data: BinaryIO, length: int) -> None:
        self._path = path
        self._data = data
        self._length = self._left = length

    def read(self, size: int = -1) -> bytes:
        """Read some bytes; none at the end."""
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            found = self._data.read(wanted) if wanted else b""
        except OSError as error:
            # Told apart from a call that breaks, which would be made again.
            raise InvalidArgument(f"the bytes for {self._path} cannot be read: {error}") from error
        if wanted and not found:
            raise too_short(self._path, self._length - self._left, self._length)
        self._left -= len(found)
        return found


def too_short(path: str, found: int, wanted: int) -> InvalidArgument:
    """Say that a stream ends too early."""
    return InvalidArgument(f"there are {found} bytes for {path} and not {wanted}, as was said")
