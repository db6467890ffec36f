"""The prefetcher: follows the active versions of the catalog, makes them hot, and announces those that are.

Two threads: one follows the events and never waits for a load; the other loads, one version at a time, so that a later
move of a pointer overtakes the wish for a version that nobody needs any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from alluxio_lance.errors import AlluxioLanceError, NoSpace, NotFound, Restoring, Unavailable
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.sidecar.door import Announced
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.models.planning import is_model_version
from alluxio_lance.values import Event, Resource, State, Verb, Version

__all__ = ["Followed", "Prefetcher", "Shelf"]

_log = structlog.get_logger(__name__)

_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0
"""Seconds between attempts: doubled from the first to the last."""
_AGAIN: Final = 0.5
"""Seconds between two looks at a catalog that does not answer."""

_SERVED: Final = (State.ACTIVE, State.REGISTERED)
"""The states of versions that caches keep."""

Name = tuple[str, str]
Announce = Callable[[str, str, Announced], None]
_Answer = Callable[[Announced | AlluxioLanceError], None]


class Followed(Protocol):
    """The part of the catalog that is followed."""

    def resource(self, type: str, name: str) -> Resource | None:
        """Find a resource."""
        ...

    def resources(self, type: str | None = None) -> list[Resource]:
        """List all resources."""
        ...

    def find(self, name: ResourceName) -> Version:
        """Find a version."""
        ...

    def events(
        self, *, after: int = 0, type: str | None = None, name: str | None = None, limit: int = 1000
    ) -> list[Event]:
        """List the events after one."""
        ...


class Shelf(Protocol):
    """The part of residency that is told what is wanted."""

    def prefetch(self, version: Version, *, go_on: Callable[[], bool]) -> None:
        """Make a version hot; ends with an error when ``go_on`` says that this is not wanted any more."""
        ...

    def warm(self, version: Version, *, go_on: Callable[[], bool]) -> None:
        """Bring a hot version into the cache before the store too, where it came by another way; never fails."""
        ...

    def set_active(self, type: str, name: str, semver: str | None) -> None:
        """Note where a pointer stands."""
        ...

    def forget(self, type: str, name: str) -> None:
        """Note that a resource is gone."""
        ...

    def resident(self, type: str, name: str) -> list[Version]:
        """List the versions of a resource that are here or on their way."""
        ...

    def retire(self, version: Version) -> None:
        """Let a version go as soon as nobody holds it."""
        ...

    def is_hot(self, version: Version) -> bool:
        """Say whether a version is hot."""
        ...


@dataclass(slots=True)
class _Wish:
    version: Version
    pause: float
    """Seconds until the attempt after the next one, should that fail."""
    due: float = 0.0
    """Monotonic time of the next attempt."""


class Prefetcher:
    """Keeps the active versions hot.

    Parameters
    ----------
    load
        Make active versions hot, and announce them then, or when it turns out that they never fit and are read in
        windows; otherwise they are announced as soon as the pointer moves, and loaded when somebody opens them.
    on_gone
        Told of each resource of which something was purged; may raise the catalog's errors, and is then told again.
    """

    def __init__(
        self,
        catalog: Followed,
        shelf: Shelf,
        feed: Feed,
        *,
        load: bool,
        on_gone: Callable[[str, str], None],
    ) -> None:
        self._catalog = catalog
        self._shelf = shelf
        self._feed = feed
        self._load = load
        self._on_gone = on_gone
        self._announce: Announce = _nobody_listens
        self._pointers: dict[Name, Version | None] = {}
        self._announced: dict[Name, Announced] = {}
        self._wishes: dict[Name, _Wish] = {}
        self._questions: list[tuple[Name, _Answer]] = []
        self._closed = False
        self._changed = threading.Condition(threading.RLock())
        self._seen = feed.last
        self._threads = [
            threading.Thread(target=self._follow, name="prefetch-follow", daemon=True),
            threading.Thread(target=self._fulfil, name="prefetch-load", daemon=True),
        ]

    def start(self, announce: Announce) -> None:
        """Begin to follow.

        Parameters
        ----------
        announce
            Told which version of a resource is active and hot, and of each change; does not wait.
        """
        self._announce = announce
        for resource in self._catalog.resources():
            self._moved((resource.type, resource.name), resource.active)
        for thread in self._threads:
            thread.start()

    # -- called from other threads ---------------------------------------------------------------------------------

    def ask(self, type: str, name: str, answer: _Answer) -> None:
        """Answer with what was announced last, after another look at the catalog; does not wait."""
        with self._changed:
            self._questions.append(((type, name), answer))
        self._feed.wake()

    def opened(self, version: Version) -> None:
        """Note that somebody has opened a version: if it is the active one it can be announced."""
        with self._changed:
            self._announce_if_active(version)

    def cease(self) -> None:
        """Begin nothing more; a load that is under way is residency's to end, and its end is no failure any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._feed.wake()

    def close(self) -> None:
        """Cease, and wait for what is under way. A second call does nothing."""
        self.cease()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- following -------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._closed:
            with self._changed:
                questions, self._questions = self._questions, []
            failure: AlluxioLanceError | None = None
            try:
                self._catch_up()
            except AlluxioLanceError as error:
                failure = error
                _log.warning("the catalog does not answer; looking again", error=error.message)
            for name, answer in questions:
                answer(failure or self._current(name))
            pause = _AGAIN if failure else None
            self._feed.wait(self._seen, pause, until=lambda: self._closed or bool(self._questions))

    def _catch_up(self) -> None:
        while events := self._catalog.events(after=self._seen):
            for name in dict.fromkeys((event.type, event.name) for event in events):
                self._look(name)
            for name in dict.fromkeys((event.type, event.name) for event in events if event.verb is Verb.PURGE):
                self._on_gone(*name)
            self._seen = events[-1].sequence

    def _look(self, name: Name) -> None:
        resource = self._catalog.resource(*name)
        if resource is None:
            self._shelf.forget(*name)
        self._moved(name, resource.active if resource else None)
        for version in self._shelf.resident(*name):
            if not self._is_wanted(version):
                self._shelf.retire(version)

    def _is_wanted(self, version: Version) -> bool:
        """Tell whether a version may stay: caches keep none that was deprecated, archived, deleted or purged.

        Whatever the event was: the catalog says how things stand now.
        """
        try:
            now = self._catalog.find(ResourceName(version.type, version.name, parse_selector(version.semver)))
        except NotFound:
            return False
        return now.operation == version.operation and now.state in _SERVED

    def _moved(self, name: Name, active: Version | None) -> None:
        with self._changed:
            before = self._pointers.get(name)
            if name in self._pointers and _identity(before) == _identity(active):
                return
            if before is not None and _semver(before) == _semver(active):
                # The resource was deleted and its name taken again, all since the last look.
                self._shelf.forget(*name)
                self._tell(name, (None, None))
            self._pointers[name] = active
            self._wishes.pop(name, None)
            self._shelf.set_active(*name, _semver(active))
            if active is None:
                self._tell(name, (None, None))
            elif not self._load or self._shelf.is_hot(active):
                self._tell(name, (active.semver, active.version))
            else:
                self._wishes[name] = _Wish(active, _FIRST_RETRY)
                self._changed.notify_all()

    def _current(self, name: Name) -> Announced:
        """Return what was announced last; before anything was, where the pointer stands."""
        with self._changed:
            pointer = self._pointers.get(name)
            return self._announced.get(name) or ((pointer.semver, pointer.version) if pointer else (None, None))

    def _tell(self, name: Name, announced: Announced) -> None:
        if self._announced.get(name) != announced:
            self._announced[name] = announced
            self._announce(*name, announced)

    def _announce_if_active(self, version: Version) -> None:
        name = version.type, version.name
        pointer = self._pointers.get(name)
        if pointer is not None and _identity(pointer) == _identity(version):
            self._tell(name, (pointer.semver, pointer.version))

    # -- loading ---------------------------------------------------------------------------------------------------

    def _fulfil(self) -> None:
        while (found := self._next_wish()) is not None:
            name, wish = found
            try:
                self._shelf.prefetch(wish.version, go_on=partial(self._is_wished, name, wish))
            except AlluxioLanceError as error:
                self._failed(name, wish, error)
                continue
            except Exception:  # noqa: BLE001 - a fault in one load must not end the loads of all other resources
                _log.exception("a load failed", uri=wish.version.uri)
                self._give_up(name, wish)
                continue
            with self._changed:
                self._announce_if_active(wish.version)
            self._give_up(name, wish)
            self._shelf.warm(wish.version, go_on=self._is_idle)

    def _is_idle(self) -> bool:
        """Tell whether nobody waits for a load; takes no lock, as `_is_wished`."""
        return not self._closed and not self._wishes

    def _next_wish(self) -> tuple[Name, _Wish] | None:
        """Wait for the wish that is due first; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                first = min(self._wishes.items(), key=lambda item: item[1].due, default=None)
                if first is not None and first[1].due <= now:
                    return first
                self._changed.wait(None if first is None else first[1].due - now)
        return None

    def _is_wished(self, name: Name, wish: _Wish) -> bool:
        """Tell whether the pointer still stands where it stood; takes no lock, since a load asks all the time."""
        return self._wishes.get(name) is wish

    def _failed(self, name: Name, wish: _Wish, error: AlluxioLanceError) -> None:
        if self._closed or not self._is_wished(name, wish):
            return  # the stop, or the pointer that moved on, cancelled the load: that is no failure
        again = _may_succeed_later(error)
        if isinstance(error, NoSpace) and not again:
            if is_model_version(wish.version):
                _log.warning("an active model does not fit", uri=wish.version.uri, error=error.message)
            else:
                _log.info(
                    "an active version does not fit and is left to be read window by window", uri=wish.version.uri
                )
                # Whoever reads it so wants to know; nobody can do anything with a model that does not fit.
                with self._changed:
                    self._announce_if_active(wish.version)
            self._give_up(name, wish)
            return
        _log.warning("an active version could not be made hot", uri=wish.version.uri, error=error.message, again=again)
        if not again:
            self._give_up(name, wish)
            return
        with self._changed:
            wish.due = time.monotonic() + wish.pause
            wish.pause = min(wish.pause * 2, _LAST_RETRY)

    def _give_up(self, name: Name, wish: _Wish) -> None:
        with self._changed:
            if self._wishes.get(name) is wish:
                del self._wishes[name]


def _nobody_listens(type: str, name: str, announced: Announced) -> None:
    """Stand in until there is a door."""


def _semver(version: Version | None) -> str | None:
    return None if version is None else version.semver


def _identity(version: Version | None) -> tuple[str, str] | None:
    """Return what tells a version of a resource from all others, also from those of an earlier one of its name."""
    return None if version is None else (version.semver, version.operation)


def _may_succeed_later(error: AlluxioLanceError) -> bool:
    if isinstance(error, NoSpace):
        # Readers may let go of others, but nothing ever fits that is larger than the whole.
        return bool(error.details.get("need", 0) <= error.details.get("budget", 0))
    return isinstance(error, (Unavailable, Restoring))
