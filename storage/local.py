"""A local folder as the place of tables."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from blake3 import blake3

from alluxio_lance.errors import Corrupt
from alluxio_lance.storage.faults import translate
from alluxio_lance.storage.mounted import refuse_mount
from alluxio_lance.storage.place import INCOMING, CommitLock, LanceAddress, Look, Near, Patch, check_location
from alluxio_lance.ways import Way

__all__ = ["LocalRoot"]

_CHUNK: Final = 8 << 20
"""Bytes per read."""
_HASH_CHUNK: Final = 1 << 20
"""Bytes per read of the hash: they are still in the processor's cache when they are hashed, and enough for many cores."""
_MANIFESTS: Final = "_versions"


class LocalRoot:
    """Tables in folders below ``root``, which is created when it is missing: at once, or with the first file.

    Parameters
    ----------
    root
        The folder.
    lazy
        Whether it is created with the first file only.
    hash_threads
        Threads for the hash of one file; by default as many as there are processors. One takes the least time of
        processors in all, for those who hash several files at once.

    Raises
    ------
    InvalidArgument
        When it lies in a FUSE mount of Alluxio.
    """

    def __init__(self, root: Path, *, lazy: bool = False, hash_threads: int = blake3.AUTO) -> None:
        self.root = root.absolute()
        self._hash_threads = hash_threads
        refuse_mount(self.root)
        if not lazy:
            with _faults_of(str(self.root)):
                self.root.mkdir(parents=True, exist_ok=True)

    def _folder(self, location: str) -> Path:
        check_location(location)
        return self.root.joinpath(*location.split("/"))

    def uri(self, location: str) -> str:
        """Return the absolute path of the table's folder."""
        return str(self._folder(location))

    def address(self, location: str) -> LanceAddress:
        """Return the absolute path of the table's folder."""
        return LanceAddress(self.uri(location))

    def commit_lock(self, location: str) -> CommitLock | None:
        """Return None: a hard link is made once."""
        return None

    def guard_commits(self, guard: Callable[[str], None]) -> None:
        """Do nothing: of two commits the second is refused."""

    def files(self, location: str) -> dict[str, int]:
        """Walk the table's folder; a file that goes away meanwhile is left out."""
        folder = self._folder(location)
        found: dict[str, int] = {}
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                try:
                    found[path.relative_to(folder).as_posix()] = path.lstat().st_size
                except FileNotFoundError:
                    continue
        return found

    def read(self, location: str, path: str, offset: int, length: int) -> bytes:
        """Read bytes of a file with one system call."""
        with _faults_of(str(self._folder(location) / path)), self._open(location, path) as file:
            data = os.pread(file.fileno(), length, offset)
        if len(data) != length:
            raise Corrupt(
                f"{self._folder(location) / path} ends before byte {offset + length}; roll back to an earlier version",
                expected=offset + length,
                found=offset + len(data),
            )
        return data

    def hash(self, location: str, path: str, patch: Patch | None, on_bytes: Callable[[int], None]) -> str:
        """Hash by plain reads: a disk error is an exception here, where a mapping would end the process."""
        digest = blake3(max_threads=self._hash_threads)
        buffer = bytearray(_HASH_CHUNK)
        view = memoryview(buffer)
        offset = 0
        with self._open(location, path) as file:
            while count := _fill(file, buffer):
                if patch is not None:
                    _apply(patch, view[:count], offset)
                digest.update(view[:count])
                offset += count
                on_bytes(count)
        return digest.hexdigest()

    def _open(self, location: str, path: str) -> IO[bytes]:
        full = self._folder(location) / path
        try:
            return full.open("rb", buffering=0)
        except FileNotFoundError as missing:
            raise Corrupt(
                f"the file {full} is missing; roll back to an earlier version", expected=str(full), found=None
            ) from missing

    def chunks(self, location: str, path: str) -> Iterator[bytes]:
        """Read by plain calls, 8 MiB each."""
        with self._open(location, path) as file:
            while chunk := _read(file):
                yield chunk

    def put(self, location: str, path: str, chunks: Iterable[bytes]) -> None:
        """Write under another name, in a folder that a sweep removes, then rename."""
        folder = self._folder(location)
        arriving, final = folder / INCOMING / uuid.uuid4().hex, folder / path
        with _faults_of(str(final)):
            for parent in (arriving.parent, final.parent):
                parent.mkdir(parents=True, exist_ok=True)
            try:
                with arriving.open("xb", buffering=0) as file:
                    for chunk in chunks:
                        _write(file, chunk)
                    os.fsync(file.fileno())
                arriving.replace(final)
            finally:
                arriving.unlink(missing_ok=True)
                _remove_empty(arriving.parent)
        self.harden(location, [path])

    def await_arrival(self, location: str, path: str) -> None:
        """Do nothing: nobody else's bytes are on their way."""

    def harden(self, location: str, paths: Iterable[str]) -> None:
        """Flush files and the folders that name them, up to the root."""
        folder = self._folder(location)
        files = [folder / path for path in paths]
        folders = {parent for file in files for parent in file.parents if parent.is_relative_to(self.root)}
        with _faults_of(str(folder)):
            for path in (*files, *sorted(folders, reverse=True)):
                _flush(path)

    def remove(self, location: str, paths: Iterable[str]) -> None:
        """Remove files, and the folders within the table that are empty afterwards."""
        folder = self._folder(location)
        with _faults_of(str(folder)):
            for path in paths:
                (folder / path).unlink(missing_ok=True)
                for parent in PurePosixPath(path).parents[:-1]:
                    if not _remove_empty(folder / parent):
                        break

    def clear(self, location: str, owned: Callable[[str], bool]) -> int:
        """Return 0: files that arrive are files of the table."""
        return 0

    def drop(self, location: str) -> None:
        """Remove the folder, and its parents below the root that are empty afterwards."""
        folder = self._folder(location)
        with _faults_of(str(folder)):
            for path in (folder / _MANIFESTS, folder):
                if path.exists():
                    shutil.rmtree(path)
        for parent in folder.parents:
            if parent == self.root or not _remove_empty(parent):
                break

    def way(self) -> Way:
        """Return that they lie here."""
        return Way.LOCAL

    def look(self, location: str, folder: str) -> Look:
        """Find all where they are."""
        found = Near(way=Way.LOCAL, why=f"it lies in {self._folder(location)}")
        return lambda paths: dict.fromkeys(paths, found)

    def file_bytes(self) -> None:
        """Return None: any size is read the same way."""

    def cache(self) -> None:
        """Return None: files are read where they are kept."""

    def spool(self) -> IO[bytes]:
        """Open a file without a name on the root's own disk."""
        with _faults_of(str(self.root)):
            return tempfile.TemporaryFile(dir=self.root)

    def free_bytes(self) -> int | None:
        """Return what is free for this user on the root's disk."""
        return shutil.disk_usage(self.root).free


@contextmanager
def _faults_of(path: str) -> Iterator[None]:
    """Make ours of the disk's errors."""
    try:
        yield
    except OSError as error:
        raise translate(error, path) from error


def _fill(file: IO[bytes], buffer: bytearray) -> int:
    with _faults_of(file.name):
        count: int = file.readinto(buffer)  # type: ignore[attr-defined]  # an unbuffered binary file is a FileIO
    return count


def _read(file: IO[bytes]) -> bytes:
    with _faults_of(file.name):
        return file.read(_CHUNK)


def _write(file: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _apply(patch: Patch, chunk: memoryview, offset: int) -> None:
    start = max(patch.offset, offset)
    stop = min(patch.offset + len(patch.data), offset + len(chunk))
    if start < stop:
        chunk[start - offset : stop - offset] = patch.data[start - patch.offset : stop - patch.offset]


def _flush(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # Only files that Lance renews by itself, such as its version hint, may go away under a holder of the lock.
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
