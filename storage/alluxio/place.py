"""A folder of Alluxio's namespace as the place of tables: bytes through the proxy's S3 service, the rest through REST."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final, Self

import structlog

from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.storage.alluxio.caching import AlluxioCache
from alluxio_lance.storage.alluxio.leftovers import Uploads, is_part
from alluxio_lance.storage.alluxio.nearness import Looking, block_bytes
from alluxio_lance.storage.alluxio.probing import WRITE_TYPE, honours_conditions
from alluxio_lance.storage.place import CommitLock, LanceAddress, Look, Patch, check_location
from alluxio_lance.storage.s3 import S3Bucket
from alluxio_lance.ways import Way

__all__ = ["AlluxioPlace"]

_log = structlog.get_logger(__name__)

_MANIFESTS: Final = "_versions"
_ARRIVAL: Final = 60.0
"""Seconds: the proxy ends a write of which nothing has come for 30."""
_PAUSE: Final = 0.1


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
                # A proxy whose worker or master is down holds each request until it times out: once more is enough.
                "retry_timeout": "20",
            },
        )
        self._uploads = Uploads(address)
        self._cache = AlluxioCache(self.namespace, self._bucket, self.path)
        self._made = False

    @classmethod
    def open(cls, text: str, *, patient: bool = False) -> Self:
        """Open ``alluxio://HOST:19998/FOLDER?proxy=39999``; the folder is made when it is missing.

        Parameters
        ----------
        text
            The address.
        patient
            Open it also while the proxy does not answer: whatever needs a table says so then.

        Raises
        ------
        InvalidArgument
            When the text is something else.
        Unavailable
            When the proxy does not answer.
        """
        place = cls(AlluxioAddress.parse(text))
        try:
            place._make_folder()
        except Unavailable as error:
            if not patient:
                raise
            _log.warning("Alluxio does not answer; tables can be opened when it does", error=error.message)
        return place

    def _make_folder(self) -> None:
        if not self._made:
            self.namespace.make_folder(self.where.folder)
            self._made = True

    def path(self, location: str, path: str = "") -> str:
        """Return where a table, or a file of it, lies in the namespace."""
        check_location(location)
        return "/".join(filter(None, (self.where.folder, location, path)))

    def uri(self, location: str) -> str:
        """Return what names the table in the S3 service."""
        return self._bucket.uri(location)

    def address(self, location: str) -> LanceAddress:
        """Return the table's URI and what Lance has to know of the endpoint.

        `Unavailable` when nothing has answered since a patient `open`.
        """
        self._make_folder()
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

    def honours_conditions(self) -> bool:
        """Find out whether the S3 service refuses to create an object that is there; the folder must be there.

        Commits are made under the catalog's lock either way. `Unavailable` when the service takes no object at all.
        """
        return honours_conditions(self._bucket.client, self.namespace, self.where.folder)

    def files(self, location: str) -> dict[str, int]:
        """List the table's files; parts of uploads, which are files of nobody yet, are left out."""
        return {path: each.length for path, each in self._cache.statuses(location).items() if not is_part(path)}

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

    def await_arrival(self, location: str, path: str) -> None:
        """Wait until the proxy has completed a file, which it also does when its writer has gone, or sends nothing any more."""
        deadline = time.monotonic() + _ARRIVAL
        with suppress(NotFound):
            while not self.namespace.status(self.path(location, path)).completed and time.monotonic() < deadline:
                time.sleep(_PAUSE)

    def harden(self, location: str, paths: Iterable[str]) -> None:
        """See that the under-store has them: it has before a write is acknowledged, unless the proxy is told otherwise.

        Raises
        ------
        Unavailable
            When only the memory of a worker has one, and would take it along.
        """
        found = self._cache.statuses(location)
        loose = next((path for path in paths if path in found and not found[path].persisted), None)
        if loose is not None:
            raise Unavailable(
                f"{self.path(location, loose)} is in the memory of a worker of Alluxio only, and would be lost with it: "
                f"start the proxy with {WRITE_TYPE}=CACHE_THROUGH, then try again",
                what="alluxio",
            )

    def remove(self, location: str, paths: Iterable[str]) -> None:
        """Remove files, and the folders within the table that are empty afterwards."""
        folders = set()
        for path in paths:
            self.namespace.remove(self.path(location, path))
            folders.add(path.rpartition("/")[0])
        for folder in sorted(filter(None, folders), key=len, reverse=True):
            self.namespace.remove_empty(self.path(location, folder))

    def clear(self, location: str, owned: Callable[[str], bool]) -> int:
        """Abort uploads: what a writer or a proxy that was killed has left."""
        top = f"{self.path(location)}/"
        freed = 0
        for upload in self._uploads.open_below(top.rstrip("/")):
            if owned(upload.path.removeprefix(top)):
                freed += self._uploads.bytes_of(upload, self.namespace)
                self._uploads.abort(upload)
        return freed

    def drop(self, location: str) -> None:
        """Remove the table, its manifests first, and the folders above that are empty afterwards."""
        top = self.path(location)
        self.clear(location, lambda _: True)
        for path in (f"{top}/{_MANIFESTS}", top):
            self.namespace.remove(path)
        parent = top.rpartition("/")[0]
        while parent != self.where.folder and self.namespace.remove_empty(parent):
            parent = parent.rpartition("/")[0]

    def way(self) -> Way:
        """Return that the proxy's S3 service has them."""
        return Way.ENDPOINT

    def look(self, location: str, folder: str) -> Look:
        """Look for the blocks that the worker of this node has."""
        return Looking(self.where, self.namespace, self.path(location), folder)

    def file_bytes(self) -> int | None:
        """Return the size of a block."""
        return block_bytes(self.where)

    def cache(self) -> AlluxioCache:
        """Return the workers, which keep what was written or read."""
        return self._cache

    def spool(self) -> IO[bytes]:
        """Open a file without a name on the local disk."""
        return tempfile.TemporaryFile()

    def free_bytes(self) -> int | None:
        """Return None: the under-store does not tell."""
        return None


def _nobody(location: str) -> None:
    """Ask nobody: as long as no manager is over the store, its caller is the only writer."""
