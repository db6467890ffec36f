"""A folder of Alluxio's namespace as the place of tables: bytes through the proxy's S3 service, the rest through REST."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final, Self

from alluxio_lance.errors import NotFound
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.storage.place import CommitLock, LanceAddress, Patch, check_location
from alluxio_lance.storage.s3 import S3Bucket

__all__ = ["AlluxioPlace"]

_MANIFESTS: Final = "_versions"


class AlluxioPlace:
    """Tables in folders of Alluxio's namespace.

    The S3 service takes no condition on a PUT: two writers of one table would overwrite each other's commits. Writers
    therefore hold the catalog's commit lock, and tell Lance so.
    """

    def __init__(self, address: AlluxioAddress) -> None:
        self.where = address
        self._guard: Callable[[str], None] = _nobody
        self.namespace = Namespace(address.host, address.proxy)
        bucket, _, prefix = address.folder.strip("/").partition("/")
        self._bucket = S3Bucket(
            bucket,
            prefix,
            {
                "endpoint": address.s3,
                "region": "us-east-1",
                "access_key_id": address.user,
                # The service reads the user out of the signature and does not verify it.
                "secret_access_key": "unused",
                "allow_http": "true",
                "virtual_hosted_style_request": "false",
            },
        )

    @classmethod
    def open(cls, text: str) -> Self:
        """Open ``alluxio://HOST:19998/FOLDER?proxy=39999``; the folder is made when it is missing.

        Raises
        ------
        InvalidArgument
            When the text is something else.
        Unavailable
            When the proxy does not answer.
        """
        place = cls(AlluxioAddress.parse(text))
        place.namespace.make_folder(place.where.folder)
        return place

    def path(self, location: str, path: str = "") -> str:
        """Return where a table, or a file of it, lies in the namespace."""
        check_location(location)
        return "/".join(filter(None, (self.where.folder, location, path)))

    def address(self, location: str) -> LanceAddress:
        """Return the table's URI and what Lance has to know of the endpoint."""
        found = self._bucket.address(location)
        # One request per object: the service answers a bulk delete with a list that Lance cannot read when it is empty.
        return LanceAddress(found.uri, {**found.storage_options, "aws_disable_bulk_delete": "true"})

    def commit_lock(self, location: str) -> CommitLock:
        """Return what asks, before a commit becomes visible, whether the writer still has the resource."""

        @contextmanager
        def lock(_: int) -> Iterator[None]:
            self._guard(location)
            yield

        return lock

    def guard_commits(self, guard: Callable[[str], None]) -> None:
        """Have ``guard`` asked before each commit."""
        self._guard = guard

    def files(self, location: str) -> dict[str, int]:
        """List the table's files, and what uploads that were cut off have left."""
        top = f"{self.path(location)}/"
        try:
            found = self.namespace.list(top.rstrip("/"), recursive=True)
        except NotFound:
            return {}
        return {each.path.removeprefix(top): each.length for each in found if not each.is_folder}

    def read(self, location: str, path: str, offset: int, length: int) -> bytes:
        """Read bytes with one request."""
        return self._bucket.read(location, path, offset, length)

    def hash(self, location: str, path: str, patch: Patch | None, on_bytes: Callable[[int], None]) -> str:
        """Hash what the proxy returns now."""
        return self._bucket.hash(location, path, patch, on_bytes)

    def chunks(self, location: str, path: str) -> Iterator[bytes]:
        """Read in requests of 16 MiB."""
        return self._bucket.chunks(location, path)

    def put(self, location: str, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file, through the cache to the under-store."""
        self._bucket.put(location, path, chunks)

    def harden(self, location: str, paths: Iterable[str]) -> None:
        """Do nothing: a write is acknowledged when the under-store has it."""

    def remove(self, location: str, paths: Iterable[str]) -> None:
        """Remove files, and the folders within the table that are empty afterwards."""
        folders = set()
        for path in paths:
            self.namespace.remove(self.path(location, path))
            folders.add(path.rpartition("/")[0])
        for folder in sorted(filter(None, folders), key=len, reverse=True):
            self.namespace.remove_empty(self.path(location, folder))

    def drop(self, location: str) -> None:
        """Remove the table, its manifests first, and the folders above that are empty afterwards."""
        top = self.path(location)
        for path in (f"{top}/{_MANIFESTS}", top):
            self.namespace.remove(path)
        parent = top.rpartition("/")[0]
        while parent != self.where.folder and self.namespace.remove_empty(parent):
            parent = parent.rpartition("/")[0]

    def has_cache(self) -> bool:
        """Return True: the workers keep what was written or read."""
        return True

    def cool(self, location: str, paths: Iterable[str]) -> int:
        """Let the workers drop files; a pinned one stays until its pin is taken off."""
        freed = 0
        for path in paths:
            full = self.path(location, path)
            try:
                freed += self.namespace.status(full).length
                self.namespace.free(full)
            except NotFound:
                # Removed in between: nothing of it is cached.
                continue
        return freed

    def spool(self) -> IO[bytes]:
        """Open a file without a name on the local disk."""
        return tempfile.TemporaryFile()

    def free_bytes(self) -> int | None:
        """Return None: the under-store does not tell."""
        return None


def _nobody(location: str) -> None:
    """Ask nobody: as long as no manager is over the store, its caller is the only writer."""
