"""Reading plain files of Alluxio's namespace by the nearest way: a worker's block files on this node, else the S3 service."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from types import TracebackType
from typing import Any, BinaryIO, Self

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.blocks import NotHere
from alluxio_lance.files.globbing import glob
from alluxio_lance.files.namespace import FileStatus, Namespace
from alluxio_lance.files.paths import absolute
from alluxio_lance.files.process import Process
from alluxio_lance.files.settings import find_address
from alluxio_lance.files.streams import open_reader
from alluxio_lance.files.writing import write_whole
from alluxio_lance.ways import Way

__all__ = ["AlluxioFiles"]


class AlluxioFiles:
    """The files of one Alluxio. It may be pickled, forked and used from any thread.

    Paths are absolute in the namespace (``/images/a.jpg``) or URIs with three slashes (``alluxio:///images/a.jpg``).

    Parameters
    ----------
    address
        The Alluxio; its folder says nothing here.
    """

    def __init__(self, address: AlluxioAddress) -> None:
        self.address = address
        self._processes = {os.getpid(): Process(address)}

    @classmethod
    def connect(cls, address: str | None = None) -> Self:
        """Connect to an Alluxio; nothing is asked before it is used.

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
        return cls(find_address(address))

    # -- looking -------------------------------------------------------------------------------------------------------

    def status(self, path: str) -> FileStatus:
        """Look at one file or folder; `NotFound` when there is none."""
        return self._here.namespace.status(absolute(path))

    def list(self, path: str, *, recursive: bool = False) -> builtins.list[FileStatus]:
        """List what a folder holds, sorted by path."""
        return self._here.namespace.list(absolute(path), recursive=recursive)

    def glob(self, pattern: str) -> builtins.list[FileStatus]:
        """List the files that match a pattern with ``*``, ``?``, ``[…]`` and ``**``, sorted by path."""
        return glob(absolute(pattern), lambda folder, deep: self.list(folder, recursive=deep))

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, file: FileStatus | str, offset: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file, given by its status or its path; all from ``offset`` on by default.

        Raises
        ------
        InvalidArgument
            When ``offset`` or ``length`` is negative.
        NotFound
            When it is gone.
        Corrupt
            When it is shorter than its status says.
        Unavailable
            When no way answers.
        """
        file = self.status(file) if isinstance(file, str) else file
        _check_range(file, offset, length)
        left = max(0, file.length - offset)
        length = left if length is None else min(length, left)
        if length == 0:
            return b""
        here = self._here
        if (near := here.near(file)) is not None:
            # A disk that fails, or a block that became shorter, is the worker's trouble and not the reader's.
            with suppress(OSError):
                data = near.read(offset, length)
                if len(data) == length:
                    here.count(Way.SHORT_CIRCUIT, length)
                    return data
            here.open_files.drop(file.blocks)
        data = here.endpoint.read(file.path, offset, length, size=file.length)
        here.count(Way.ENDPOINT, length)
        return data

    def read_into(self, file: FileStatus, buffer: memoryview, offset: int = 0) -> int:
        """Fill a buffer from a file, without a copy where it is near; return the bytes read, fewer at its end.

        Raises the errors of `read`.
        """
        _check_range(file, offset)
        wanted = buffer[: max(0, file.length - offset)]
        here = self._here
        near = here.near(file) if wanted else None
        if near is not None:
            with suppress(OSError):
                if near.read_into(offset, wanted) == len(wanted):
                    here.count(Way.SHORT_CIRCUIT, len(wanted))
                    return len(wanted)
        wanted[:] = self.read(file, offset, len(wanted))
        return len(wanted)

    def read_many(self, files: Sequence[FileStatus], *, threads: int = 8) -> builtins.list[bytes]:
        """Read whole files at once, in parallel; they come in the order asked for."""
        if len(files) <= 1 or threads <= 1:
            return [self.read(file) for file in files]
        with ThreadPoolExecutor(min(threads, len(files)), thread_name_prefix="alluxio-files") as pool:
            return [*pool.map(self.read, files)]

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading: seekable, buffered, with read-ahead for sequential readers.

        Raises
        ------
        NotFound
            When there is no such file.
        """
        file = self.status(path)
        if file.is_folder:
            raise NotFound(f"{file.path} is a folder in Alluxio and no file: list it")
        return open_reader(self, file)

    def is_near(self, file: FileStatus) -> bool:
        """Tell whether all blocks of a file lie on this node, so that `read_into` copies nothing."""
        return self._here.near(file) is not None

    def open_blocks(self, file: FileStatus) -> builtins.list[int]:
        """Open the block files of a file that lies on this node, in the order of the bytes; the caller closes them.

        Raises
        ------
        NotHere
            With the reason, when they are not all on this node.
        """
        return self._here.open(file)

    def read_ahead(self, file: FileStatus, offset: int, length: int) -> Future[bytes]:
        """Read bytes of a file in the background."""
        return self._here.ahead.submit(self.read, file, offset, length)

    def way(self, file: FileStatus | str) -> tuple[Way, str]:
        """Tell by which way a file, given by its status or its path, would be read now, and why."""
        file = self.status(file) if isinstance(file, str) else file
        try:
            self._here.nearest(file)
        except NotHere as reason:
            return Way.ENDPOINT, str(reason)
        return Way.SHORT_CIRCUIT, f"its {len(file.blocks)} blocks lie on this node"

    def ways(self) -> Mapping[Way, int]:
        """Count the bytes that this process has read by each way."""
        return self._here.counted()

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file, through the cache to the under-store; parents are made; one of that name is replaced."""
        self.write_from(path, BytesIO(data), len(data))

    def write_from(self, path: str, data: BinaryIO, length: int) -> None:
        """Write a whole file of ``length`` bytes from a seekable stream, as `write` does.

        The bytes go into a file beside it, ``.NAME.….part``, which takes the name when it is whole: nobody sees half a
        file, and that is all that a writer leaves who was killed. While one is replaced there is none for a moment.

        Raises
        ------
        InvalidArgument
            When there is a folder of that name, the name cannot be used, or the stream has fewer bytes.
        NoSpace
            When there is no room.
        Unavailable
            When the proxy does not answer.
        """
        write_whole(self._here, absolute(path), data, length)

    # -- what a process holds ------------------------------------------------------------------------------------------

    @property
    def namespace(self) -> Namespace:
        """What is done to files and folders other than reading and writing."""
        return self._here.namespace

    def close(self) -> None:
        """Let go of connections and open files; the next use makes new ones."""
        self._here.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _here(self) -> Process:
        pid = os.getpid()
        found = self._processes.get(pid)
        if found is None:
            # This is a forked child: the connections are its parent's, and so may be the locks.
            found = self._processes.setdefault(pid, Process(self.address))
            for other in [each for each in self._processes if each != pid]:
                self._processes.pop(other, None)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address.host}:{self.address.master})"


def _check_range(file: FileStatus, offset: int, length: int | None = None) -> None:
    if offset < 0 or (length is not None and length < 0):
        raise InvalidArgument(f"{file.path} has no bytes at offset {offset}, length {length}: give none below 0")
