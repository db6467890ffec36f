"""The fsspec file system ``alluxio``, so that pandas, pyarrow and others open ``alluxio:///FOLDER/FILE``."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from typing import Any, BinaryIO, Final, TypeVar, cast

from fsspec.spec import AbstractFileSystem
from fsspec.utils import tokenize

from alluxio_lance.errors import AlreadyExists, NoSpace, NotFound, PermissionDenied
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.files.namespace import FileStatus
from alluxio_lance.files.paths import absolute
from alluxio_lance.files.streams import open_reader
from alluxio_lance.files.writing import SpooledWriter, move_over

__all__ = ["AlluxioFileSystem"]

F = TypeVar("F", bound=Callable[..., Any])

_THREADS: Final = 8


class _NoFile(NotFound, FileNotFoundError):
    """There is no such file, in the words of both worlds."""


class _FileThere(AlreadyExists, FileExistsError):
    """There is such a file, in the words of both worlds."""


class _NoRight(PermissionDenied, PermissionError):
    """The file may not be used, in the words of both worlds."""


class _NoRoom(NoSpace, OSError):
    """There is no room, in the words of both worlds."""


_BOTH: Final = {NotFound: _NoFile, AlreadyExists: _FileThere, PermissionDenied: _NoRight, NoSpace: _NoRoom}
"""Callers of fsspec ask for Python's own errors, such as FileNotFoundError: these are both."""


@contextmanager
def _pythonic() -> Iterator[None]:
    try:
        yield
    except (NotFound, AlreadyExists, PermissionDenied, NoSpace) as error:
        both = _BOTH.get(type(error))
        if both is None:
            raise
        raise both(error.message, **error.details) from error


def _with_pythons_errors(method: F) -> F:
    @wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _pythonic():
            return method(*args, **kwargs)

    return cast("F", called)


class AlluxioFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec carries no type information
    """Files of one Alluxio, read by the nearest way.

    Parameters
    ----------
    address
        ``alluxio://HOST:19998/?proxy=39999&worker=30000``; by default what `AlluxioFiles.connect` finds. In pandas:
        ``storage_options={"address": …}``.
    """

    protocol = "alluxio"
    root_marker = "/"

    def __init__(self, address: str | None = None, **options: Any) -> None:
        super().__init__(address=address, **options)
        self.files = AlluxioFiles.connect(address)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = str(path)
        return absolute(text if text.startswith(("alluxio:", "/")) else f"/{text}")

    # -- looking -------------------------------------------------------------------------------------------------------

    @_with_pythons_errors
    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Look at a file or folder."""
        return _record(self._status(path))

    @_with_pythons_errors
    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """List a folder, or the file itself."""
        found = self._status(path)
        entries = self.files.list(found.path) if found.is_folder else [found]
        return [_record(each) if detail else each.path for each in entries]

    def ukey(self, path: str) -> str:
        """Return what changes with the bytes of a file: Alluxio gives new blocks to new bytes."""
        with _pythonic():
            found = self._status(path)
        return str(tokenize(found.path, found.length, found.blocks))

    def _status(self, path: str) -> FileStatus:
        return self.files.status(self._strip_protocol(path))

    # -- reading -------------------------------------------------------------------------------------------------------

    @_with_pythons_errors
    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **options: Any) -> BinaryIO:
        if mode == "rb":
            return self.files.open(path)
        if mode not in ("wb", "xb"):
            raise io.UnsupportedOperation(
                f"{path} cannot be opened with {mode!r}: files of Alluxio are written once, whole"
            )
        if mode == "xb" and self.exists(path):
            raise _FileThere(f"{path} is there in Alluxio already")
        return _Writer(self.files, path, autocommit=autocommit)

    @_with_pythons_errors
    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Read a file, or a slice of it, as Python slices bytes."""
        return self._slice(self._status(path), start, end)

    @_with_pythons_errors
    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **options: Any,
    ) -> list[Any]:
        """Read many ranges at once; ``max_gap`` says nothing here, since no two requests are joined."""
        starts, ends = (each if isinstance(each, list) else [each] * len(paths) for each in (starts, ends))
        if not len(paths) == len(starts) == len(ends):
            raise ValueError(f"{len(paths)} paths, {len(starts)} starts and {len(ends)} ends do not belong together")

        def one(path: str, start: int | None, end: int | None) -> Any:
            try:
                with _pythonic():
                    return self._slice(seen(path), start, end)
            except Exception as error:
                if on_error == "return":
                    return error
                raise

        known: dict[str, FileStatus] = {}

        def seen(path: str) -> FileStatus:
            if path not in known:
                known[path] = self._status(path)
            return known[path]

        with ThreadPoolExecutor(min(_THREADS, len(paths) or 1)) as pool:
            return [*pool.map(one, paths, starts, ends)]

    def _slice(self, file: FileStatus, start: int | None, end: int | None) -> bytes:
        first, last, _ = slice(start, end).indices(file.length)
        return self.files.read(file, first, max(0, last - first))

    # -- writing -------------------------------------------------------------------------------------------------------

    @_with_pythons_errors
    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy a file; a folder is made."""
        source = self._status(path1)
        if source.is_folder:
            self.makedirs(path2, exist_ok=True)
            return
        with open_reader(self.files, source) as data:
            self.files.write_from(self._strip_protocol(path2), data, source.length)

    @_with_pythons_errors
    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:
        """Give a file or folder another place, in one step of Alluxio; patterns and lists are copied and removed."""
        if not isinstance(path1, str) or not isinstance(path2, str) or self._is_pattern(path1):
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)
            return
        source, target = self._status(path1), self._strip_protocol(path2)
        if path2.endswith("/") or self.isdir(target):
            target = f"{target.rstrip('/')}/{source.path.rpartition('/')[2]}"
        if target == source.path:
            return
        if source.is_folder and self.exists(target):
            raise _FileThere(f"{target} is there in Alluxio already: a folder replaces nothing")
        self.files.namespace.make_folder(target.rpartition("/")[0] or "/")
        move_over(self.files.namespace, source.path, target)

    @_with_pythons_errors
    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and folders with all that is in them if ``recursive`` says so; patterns too."""
        if maxdepth is not None:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for each in self.expand_path(path):
            if recursive:
                self._status(each)
                self.files.namespace.remove(each)
            else:
                self._rm(each)

    @_with_pythons_errors
    def _rm(self, path: str) -> None:
        if self._status(path).is_folder:
            self.rmdir(path)
        else:
            self.files.namespace.remove(self._strip_protocol(path))

    @_with_pythons_errors
    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        found = self._status(path)
        if not found.is_folder:
            raise NotADirectoryError(errno.ENOTDIR, "no folder in Alluxio", found.path)
        if not self.files.namespace.remove_empty(found.path):
            raise OSError(errno.ENOTEMPTY, "the folder in Alluxio is not empty", found.path)

    @_with_pythons_errors
    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Make a folder."""
        target = self._strip_protocol(path)
        if self.exists(target):
            raise _FileThere(f"{target} is there in Alluxio already")
        if not create_parents:
            self._status(target.rpartition("/")[0] or "/")
        self.files.namespace.make_folder(target)

    @_with_pythons_errors
    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder with its parents."""
        if not (exist_ok and self.isdir(path)):
            self.mkdir(path)

    @staticmethod
    def _is_pattern(path: str) -> bool:
        return any(each in path for each in "*?[")


class _Writer(SpooledWriter):
    """A file being written, with what transactions of fsspec ask for."""

    def __init__(self, files: AlluxioFiles, path: str, *, autocommit: bool) -> None:
        super().__init__(files, path)
        self._autocommit = autocommit

    def close(self) -> None:
        if self.closed or self._autocommit:
            with _pythonic():
                super().close()

    def commit(self) -> None:
        """Write it to Alluxio, at the end of a transaction."""
        with _pythonic():
            super().close()


def _record(file: FileStatus) -> dict[str, Any]:
    return {
        "name": file.path,
        "size": file.length,
        "type": "directory" if file.is_folder else "file",
        "cached_percent": file.cached_percent,
        "pinned": file.pinned,
    }
