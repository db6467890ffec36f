"""Reading plain files of Alluxio's namespace by the nearest way: a worker's block files on this node, else the S3 service."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import BinaryIO, Self

from alluxio_lance.files.namespace import FileStatus

__all__ = ["AlluxioFiles"]


class AlluxioFiles:
    """The files of one Alluxio. It may be pickled, forked and used from any thread.

    Paths are absolute in the namespace (``/images/a.jpg``) or URIs with three slashes (``alluxio:///images/a.jpg``).
    """

    @classmethod
    def connect(cls, address: str | None = None) -> Self:
        """Connect to an Alluxio.

        Parameters
        ----------
        address
            ``alluxio://HOST:19998/?proxy=39999&worker=30000``. By default ``ALLUXIO_LANCE_FILES``, else the key
            ``files`` in ``alluxio-lance.toml``, else the Alluxio of the key ``store``, else the one on this node.

        Raises
        ------
        InvalidArgument
            When the address is none.
        """
        raise NotImplementedError

    def status(self, path: str) -> FileStatus:
        """Look at one file or folder; `NotFound` when there is none."""
        raise NotImplementedError

    def list(self, path: str, *, recursive: bool = False) -> builtins.list[FileStatus]:
        """List what a folder holds, sorted by path."""
        raise NotImplementedError

    def glob(self, pattern: str) -> builtins.list[FileStatus]:
        """List the files that match a pattern with ``*``, ``?``, ``[…]`` and ``**``, sorted by path."""
        raise NotImplementedError

    def read(self, file: FileStatus, offset: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file; all from ``offset`` on by default.

        Raises
        ------
        NotFound
            When it is gone.
        Corrupt
            When it is shorter than its status says.
        Unavailable
            When no way answers.
        """
        raise NotImplementedError

    def read_many(self, files: Sequence[FileStatus], *, threads: int = 8) -> builtins.list[bytes]:
        """Read whole files at once, in parallel; they come in the order asked for."""
        raise NotImplementedError

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading: seekable, buffered, with read-ahead for sequential readers."""
        raise NotImplementedError

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file, through the cache to the under-store; parents are made; one of that name is replaced."""
        raise NotImplementedError
