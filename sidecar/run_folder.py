"""The run folder: a private place for the sidecar's sockets, and the lock that makes it the only sidecar there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from alluxio_lance.address import Address
from alluxio_lance.errors import AlreadyExists, InvalidArgument, PermissionDenied, Unavailable
from alluxio_lance.sidecar.locking import take_lock

__all__ = ["RunFolder"]

_LONGEST_SOCKET: Final = 107
"""Bytes that ``sockaddr_un`` has for a path."""


class RunFolder:
    """A run folder that this process owns for as long as it is open.

    The lock is the kernel's (flock): after ``kill -9`` it is free at once, and what lies in the folder is stale.
    """

    def __init__(self, path: Path, descriptor: int, lock: int) -> None:
        self.address = Address(path)
        self._descriptor = descriptor
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, shared: bool = False) -> RunFolder:
        """Make the folder if it is missing, check whose it is, and lock it.

        Parameters
        ----------
        path
            Where the sockets shall be.
        shared
            Let other users of the node reach the sockets; the door decides who of them may speak.

        Raises
        ------
        AlreadyExists
            When another sidecar runs there; the message names its process.
        PermissionDenied
            When the folder is a link, or belongs to somebody else.
        InvalidArgument
            When the path is too long for a socket.
        Unavailable
            When the folder cannot be made.
        """
        path = path.absolute()
        _check_length(Address(path))
        descriptor = _open_private(path, 0o711 if shared else 0o700)
        try:
            lock = take_lock(descriptor, lambda pid: _taken(path, pid))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, lock)

    def exchange(self, name: str, text: str) -> str | None:
        """Write a small file and return what was in it before; None when there was none."""
        before = self._read(name)
        new = f"{name}.new"
        with os.fdopen(self._create(new), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(new, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        return before

    def remove(self, name: str) -> None:
        """Remove a file or socket, if it is there."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return

    def close(self) -> None:
        """Give the lock free; a second call does nothing."""
        if self._lock < 0:
            return
        os.close(self._lock)
        os.close(self._descriptor)
        self._lock = self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self, name: str) -> int:
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self._descriptor)

    def _read(self, name: str) -> str | None:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            return file.read()


def _check_length(address: Address) -> None:
    if len(os.fsencode(address.door)) > _LONGEST_SOCKET:
        raise InvalidArgument(
            f"{address.run_folder} is too long for a run folder: the path of a Unix socket has at most "
            f"{_LONGEST_SOCKET} bytes - set run_dir (ALLUXIO_LANCE_RUN_DIR) to a shorter one"
        )


def _open_private(path: Path, mode: int) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise _not_private(path, "is a link or no folder") from error
    except FileExistsError as error:
        raise _not_private(path, "is no folder") from error
    except OSError as error:
        raise Unavailable(
            f"the run folder {path} cannot be made ({error.strerror}) - set run_dir (ALLUXIO_LANCE_RUN_DIR) to a "
            "folder that this user can write",
            what="run folder",
        ) from error
    try:
        _make_private(path, descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_private(path: Path, descriptor: int, mode: int) -> None:
    facts = os.fstat(descriptor)
    if facts.st_uid != os.geteuid():
        raise _not_private(path, f"belongs to uid {facts.st_uid} and not to this user (uid {os.geteuid()})")
    if stat.S_IMODE(facts.st_mode) != mode:
        os.fchmod(descriptor, mode)


def _not_private(path: Path, why: str) -> PermissionDenied:
    return PermissionDenied(
        f"the run folder {path} {why}; somebody else could pose as the sidecar there - remove it, or set run_dir "
        "(ALLUXIO_LANCE_RUN_DIR) to another one"
    )


def _taken(path: Path, pid: str) -> AlreadyExists:
    return AlreadyExists(
        f"a sidecar (process {pid}) runs in {path} already - use it, stop it, or give this one another run_dir "
        "(ALLUXIO_LANCE_RUN_DIR)",
        pid=pid,
    )
