"""Plain files of Alluxio under the paths of a FUSE mount, for libraries that want a path or a file descriptor."""

from __future__ import annotations

import errno
import io
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.mounts import Mount, mounts
from alluxio_lance.files.paths import absolute, as_uri
from alluxio_lance.files.settings import find_address

__all__ = ["PosixFsAdapter"]

_PATIENCE: Final = 60.0
"""Seconds in which a closed file must have become complete."""
_PAUSE: Final = 0.02


class PosixFsAdapter:
    """``alluxio:///models/resnet50.params`` as a path of the file system, and back. It may be pickled.

    Parameters
    ----------
    mount
        Where Alluxio is mounted.
    root
        The folder of the namespace that the mount shows.

    Notes
    -----
    A mount writes files once, from the first byte to the last, and completes them a moment after they were closed:
    until then a reader may see fewer bytes, and a rename fails with EIO. `open` waits for it; whoever writes under
    `path` waits by `settle`.
    """

    def __init__(self, mount: Path, root: str = "/") -> None:
        self.mount = mount
        self.root = absolute(root)

    @classmethod
    def find(
        cls, mount: str | os.PathLike[str] | None = None, *, root: str | None = None, address: str | None = None
    ) -> Self:
        """Find a living mount.

        Parameters
        ----------
        mount
            Where it is; by default the newest one of the Alluxio that is meant.
        root
            The folder of the namespace that it shows; by default what the command line of its process says.
        address
            Which Alluxio is meant, as for `AlluxioFiles.connect`.

        Raises
        ------
        NotFound
            When there is none; the sentence names the command that makes one.
        InvalidArgument
            When it cannot be found out what the mount shows.
        """
        place = None if mount is None else Path(os.path.abspath(Path(mount).expanduser()))  # noqa: PTH100 - a resolved path would ask a dead mount
        found = [each for each in mounts() if place in (None, each.path) and not each.is_stale]
        wanted = find_address(address)
        unknown = None
        for each in reversed(found):
            folder = root or _root(each, wanted, explicit=place is not None and address is None)
            if folder is not None:
                return cls(each.path, folder)
            if each.shown() is None:
                unknown = each
        if unknown is not None:
            raise InvalidArgument(
                f"Alluxio is mounted at {unknown.path}, by a process that is not seen from here: "
                "say which folder it shows, root='/'"
            )
        where = f" at {place}" if place is not None else ""
        raise NotFound(
            f"the Alluxio at {wanted.host}:{wanted.master} is not mounted{where}: `alluxio-lance mount FOLDER` mounts it"
        )

    # -- names ---------------------------------------------------------------------------------------------------------

    def path(self, uri: str) -> Path:
        """Return the path of a file, which need not be there.

        Raises
        ------
        InvalidURI
            When it names a resource, or no file.
        NotFound
            When it lies outside what the mount shows.
        """
        wanted = absolute(uri)
        within = wanted if self.root == "/" else wanted.removeprefix(self.root)
        if self.root != "/" and (not wanted.startswith(self.root) or within[:1] not in ("", "/")):
            raise NotFound(
                f"{as_uri(wanted)} is not below {as_uri(self.root)}, which is mounted at {self.mount}: "
                f"`alluxio-lance mount FOLDER` mounts all of it"
            )
        return self.mount / within.lstrip("/")

    def uri(self, path: str | os.PathLike[str]) -> str:
        """Return ``alluxio:///PATH`` for a path below the mount.

        Raises
        ------
        InvalidArgument
            When it lies outside.
        """
        full = Path(os.path.abspath(path))  # noqa: PTH100 - a resolved path would ask a dead mount
        if not full.is_relative_to(self.mount):
            raise InvalidArgument(f"{full} is not below {self.mount}, where Alluxio is mounted: give a path there")
        within = full.relative_to(self.mount).as_posix()
        return as_uri(absolute(f"{self.root}/{within}"))

    # -- files ---------------------------------------------------------------------------------------------------------

    def open(self, uri: str, mode: str = "rb") -> BinaryIO:
        """Open a file.

        Parameters
        ----------
        mode
            ``rb``; ``wb`` to write one, in place of one of that name; ``xb`` to write one of a name that is free. What
            is written is there when ``close`` returns, whole; a ``with`` that an error ends writes nothing.

        Raises
        ------
        NotFound
            When there is no such file.
        AlreadyExists
            When there is one, with ``xb``.
        InvalidArgument
            When the mode is another.
        Unavailable
            When it is to be written, and nothing is mounted any more.
        """
        path = self.path(uri)
        if mode == "rb":
            try:
                return path.open("rb")
            except FileNotFoundError:
                raise NotFound(f"there is no {as_uri(absolute(uri))} in the mount at {self.mount}") from None
        if mode not in ("wb", "xb"):
            raise InvalidArgument(
                f"a file of Alluxio is opened with 'rb', 'wb' or 'xb', not {mode!r}: it is written whole"
            )
        if mode == "xb" and path.exists():
            raise AlreadyExists(f"{as_uri(absolute(uri))} is there already: give another name, or 'wb'")
        self._check_mounted()
        path.parent.mkdir(parents=True, exist_ok=True)
        return _Whole(path)

    def _check_mounted(self) -> None:
        """Refuse to write into the folder that is left when a mount is gone: what is there would be hidden by the next."""
        place = Path(os.path.realpath(self.mount))
        if not any(place.is_relative_to(each.path) for each in mounts()):
            raise Unavailable(
                f"Alluxio is not mounted at {self.mount} any more: `alluxio-lance mount {self.mount}` mounts it",
                what="fuse",
            )

    def settle(self, path: Path) -> None:
        """Wait until a file that was written under its path, and closed, is complete.

        Raises
        ------
        Unavailable
            When it does not become so within a minute.
        """
        # The mount's process lets nobody read a file that is not complete: it waits a while, then fails.
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with path.open("rb"):
                    return
            except FileNotFoundError:
                raise NotFound(f"there is no {path} in the mount at {self.mount}: was it written?") from None
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{path} was closed and did not become complete within {_PATIENCE:.0f} s ({error}): "
                        "see the log of the mount's process",
                        what="fuse",
                    ) from error
                time.sleep(_PAUSE)


class _Whole(io.BufferedWriter):
    """A file under another name, which it gets when all of it is in Alluxio."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = _part(path)
        super().__init__(io.FileIO(self._part, "w"))

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # Writers of zip files ask, and write forwards only.
        raise io.UnsupportedOperation(
            f"{self._path} is written from its first byte to its last: a mount cannot go back"
        )

    def close(self) -> None:
        if self.closed:
            return
        try:
            super().close()
        except BaseException:
            self._remove()
            raise
        _rename(self._part, self._path)

    def discard(self) -> None:
        """Close it, and leave nothing."""
        with suppress(OSError):
            super().close()
        self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            self._part.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def _root(mount: Mount, wanted: AlluxioAddress, *, explicit: bool) -> str | None:
    """Return what a mount shows, if it is of the Alluxio that is wanted."""
    shown = mount.shown()
    if shown is None:
        return None
    ours = shown.port in (None, wanted.master) and shown.host in (None, wanted.host)
    return shown.root if ours or explicit else None


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")


def _rename(source: Path, target: Path) -> None:
    """Rename a file as soon as it is complete: until then the mount answers EIO."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{target} was closed and did not become complete within {_PATIENCE:.0f} s, the bytes are in "
                    f"{source}: see the log of the mount's process",
                    what="fuse",
                ) from error
            time.sleep(_PAUSE)
        else:
            return
