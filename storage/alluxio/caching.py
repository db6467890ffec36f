"""The workers of Alluxio as the cache of tables: what they hold, what they are to bring in, keep and let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from alluxio_lance.errors import NotFound
from alluxio_lance.files.namespace import FileStatus, Namespace
from alluxio_lance.storage.alluxio.warming import Warming
from alluxio_lance.storage.place import CachedFile
from alluxio_lance.storage.s3 import S3Bucket

__all__ = ["AlluxioCache"]

_CALLS: Final = 8
"""Calls at the same time: a version may have thousands of files, and each is a call of its own."""
_PATIENCE: Final = 10.0


class AlluxioCache:
    """The cache of one Alluxio. Threads may share it.

    Parameters
    ----------
    namespace, bucket
        The same folder, by REST and by the S3 service.
    folder_of
        Tells where a table lies in the namespace.
    patience
        Seconds without any progress after which a block is read in full, and after as many more given up.
    """

    def __init__(
        self,
        namespace: Namespace,
        bucket: S3Bucket,
        folder_of: Callable[[str], str],
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._namespace = namespace
        self._bucket = bucket
        self._folder_of = folder_of
        self.patience = patience

    def look(self, location: str) -> dict[str, CachedFile]:
        """Tell how all files of a table stand, with one listing."""
        return {
            path: CachedFile(bytes=file.length, percent=file.cached_percent, pinned=file.pinned)
            for path, file in self.statuses(location).items()
        }

    def statuses(self, location: str) -> dict[str, FileStatus]:
        """List the files of a table as Alluxio knows them; empty when there is none."""
        top = f"{self._folder_of(location)}/"
        try:
            found = self._namespace.list(top.rstrip("/"), recursive=True)
        except NotFound:
            return {}
        return {each.path.removeprefix(top): each for each in found if not each.is_folder}

    def warm(
        self, location: str, paths: Sequence[str], on_bytes: Callable[[int], None], go_on: Callable[[], bool]
    ) -> None:
        """Have the workers bring files in, see `Warming`."""
        with ThreadPoolExecutor(_CALLS, "warm") as pool:
            Warming(
                paths,
                look=lambda: self.statuses(location),
                read=lambda path, offset, length: self._bucket.stream(location, path, offset, length),
                run=pool.map,
                patience=self.patience,
            ).run(on_bytes, go_on)

    def pin(self, location: str, paths: Iterable[str], *, pinned: bool) -> None:
        """Keep files from eviction, or let them go again."""
        self._each(location, paths, lambda path: self._namespace.pin(path, pinned=pinned))

    def drop(self, location: str, paths: Iterable[str]) -> int:
        """Have the workers drop files; a pin, without which Alluxio would refuse, is taken off before."""
        found = self.statuses(location)
        going = [path for path in paths if path in found]
        self.pin(location, [path for path in going if found[path].pinned], pinned=False)
        self._each(location, going, self._namespace.free)
        return sum(found[path].length for path in going)

    def renew(self, location: str, path: str) -> None:
        """Have Alluxio forget a file, and find it in the under-store again; a pin is put on again.

        To free it would not do: workers of 2.9.6 do not always drop what they have read since the last time.
        """
        full = f"{self._folder_of(location)}/{path}"
        pinned = self._namespace.status(full).pinned
        self._namespace.forget(full)
        if pinned:
            self._namespace.pin(full, pinned=True)

    def _each(self, location: str, paths: Iterable[str], call: Callable[[str], None]) -> None:
        """Make a call for each file; one that was removed meanwhile needs none."""

        def attempt(path: str) -> None:
            try:
                call(f"{self._folder_of(location)}/{path}")
            except NotFound:
                return

        listed = list(paths)
        if not listed:
            return
        with ThreadPoolExecutor(min(_CALLS, len(listed)), "cache") as pool:
            for _ in pool.map(attempt, listed):
                pass
