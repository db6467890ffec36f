"""The versions in the store as loads need them: warmed, opened, and known to be still what was meant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from alluxio_lance.errors import AlluxioLanceError, NotFound, Restoring, Unavailable
from alluxio_lance.lifecycle.ports import Catalog, Store, TableReader
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import State, Version
from alluxio_lance.ways import CacheShare

__all__ = ["SharedReader", "StoredVersions", "Versions"]

_log = structlog.get_logger(__name__)


class Versions(Protocol):
    """Where loads get versions from."""

    def check(self, version: Version) -> None:
        """Raise `NotFound` or `Restoring` when a version is not served any more."""
        ...

    def warm(self, version: Version, on_progress: OnProgress | None, go_on: Callable[[], bool]) -> CacheShare | None:
        """Bring a version into the cache before the store where that is wanted; None when it was not. Never fails."""
        ...

    def share(self, version: Version) -> CacheShare | None:
        """Tell how much of a version lies in the cache before the store; None: none, or it does not say."""
        ...

    def open(self, version: Version) -> TableReader:
        """Open a version for reading."""
        ...


class SharedReader:
    """One version in the store, opened when it is first needed and kept open for many reads, from any thread.

    To open it again for each few rows would check the files of this node again each time, too.

    Parameters
    ----------
    opened
        Opens it.
    """

    def __init__(self, opened: Callable[[], TableReader]) -> None:
        self._open = opened
        self._current: _Shared | None = None
        self._closed = False
        self._turn = threading.Lock()
        """Held by who opens it, which may take as long as the store lets it wait."""
        self._lock = threading.Lock()
        """Held for a moment only: nobody who closes this waits for the store."""

    @contextmanager
    def reading(self) -> Iterator[TableReader]:
        """Give the reader for a while; after an error the next one is opened anew.

        Raises
        ------
        Unavailable
            When this was closed.
        """
        shared = self._use()
        try:
            yield shared.reader
        except BaseException:
            with self._lock:
                shared.over = True
                self._current = None if self._current is shared else self._current
            raise
        finally:
            with self._lock:
                shared.users -= 1
                shared.close_if_unused()

    def _use(self) -> _Shared:
        with self._turn:
            return self._opened() or self._adopt(self._open())

    def _opened(self) -> _Shared | None:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._current is not None:
                self._current.users += 1
            return self._current

    def _adopt(self, reader: TableReader) -> _Shared:
        with self._lock:
            if not self._closed:
                self._current = _Shared(reader, users=1)
                return self._current
        reader.close()
        raise _closed()

    def close(self) -> None:
        """Close it as soon as nobody reads from it, without waiting for that; a second call does nothing."""
        with self._lock:
            self._closed = True
            shared, self._current = self._current, None
            if shared is not None:
                shared.over = True
                shared.close_if_unused()


@dataclass(slots=True, eq=False)
class _Shared:
    reader: TableReader
    users: int = 0
    over: bool = False

    def close_if_unused(self) -> None:
        if self.over and not self.users:
            self.reader.close()


class StoredVersions:
    """The versions of a catalog in a store.

    Parameters
    ----------
    catalog, store
        Where they are.
    warms
        Tells whether a version shall be brought into the store's cache before it is read.
    """

    def __init__(self, catalog: Catalog, store: Store, warms: Callable[[Version], bool]) -> None:
        self._catalog = catalog
        self._store = store
        self._warms = warms

    def check(self, version: Version) -> None:
        """Look whether a version is still served.

        Raises
        ------
        NotFound
            When it is deleted.
        Restoring
            When it is in the cold tier.
        """
        try:
            now = self._catalog.find(ResourceName(version.type, version.name, parse_selector(version.semver)))
        except NotFound:
            raise _deleted(version) from None
        if now.operation != version.operation:
            raise _deleted(version)
        if now.state is State.ARCHIVED:
            raise Restoring(f"{version.uri} was archived before it could be loaded - open it again", progress=0.0)

    def warm(self, version: Version, on_progress: OnProgress | None, go_on: Callable[[], bool]) -> CacheShare | None:
        """Bring a version into the store's cache, if it has one and the rules say so.

        A failure is logged: what is not cached is read all the same, only slower.
        """
        if not self._store.has_cache():
            return None
        try:
            if not self._warms(version):
                return None
            return self._store.warm(self._location(version), version.version, on_progress, go_on)
        except AlluxioLanceError as error:
            _log.warning("a version could not be brought into the cache", uri=version.uri, error=error.message)
            return None

    def share(self, version: Version) -> CacheShare | None:
        """Ask the store how much of a version it has cached; a failure is logged, since it is only for the statistics."""
        if not self._store.has_cache():
            return None
        try:
            return self._store.share(self._location(version), version.version)
        except AlluxioLanceError as error:
            _log.warning("the cache does not say what it has of a version", uri=version.uri, error=error.message)
            return None

    def open(self, version: Version) -> TableReader:
        """Open a version for reading, by the nearest way.

        Raises
        ------
        NotFound
            When it is deleted.
        Restoring
            When it is in the cold tier.
        Corrupt, Unavailable
            When it cannot be read.
        """
        location = self._location(version)
        try:
            reader = self._store.open(location, version.version, self._catalog.known_files(version.type, version.name))
        except AlluxioLanceError:
            # That it is gone says more than that a file of it is.
            self.check(version)
            raise
        # After the open, not before: a table may be deleted and another one made in its place at any time.
        try:
            self.check(version)
        except BaseException:
            reader.close()
            raise
        return reader

    def _location(self, version: Version) -> str:
        location = self._catalog.location(version.type, version.name)
        if location is None:
            raise _deleted(version)
        return self._store.branch_location(location, version.branch)


def _closed() -> Unavailable:
    return Unavailable("the version was closed before it was read - open it again", what="lease")


def _deleted(version: Version) -> NotFound:
    return NotFound(f"{version.uri} was deleted before it could be loaded")
