"""Follows the active version of a model in a process that serves it: loads each new one aside, then swaps one reference."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from alluxio_lance.address import Address
from alluxio_lance.client.door import Activated
from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.watching import Watch
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.layout import Layout

__all__ = ["ModelWatcher", "OnError", "OnSwap", "Served", "Swap", "Using", "WatcherStatistics"]

M = TypeVar("M")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LOG: Final = logging.getLogger(__name__)
_ACTIVE: Final = "active"
_GROWTH: Final = 2.0


class _Ended:
    """News that nobody uses an old version any more."""


_ENDED: Final = _Ended()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Served(Generic[M]):
    """A version as it is served: never changed, so that whoever has it has one version from start to end."""

    model: M
    """What ``load`` made."""
    layout: Layout
    """Which version it is: ``layout.semver``, ``layout.version``, ``layout.content_hash``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One version in the place of another."""

    uri: str
    """Exactly the new version."""
    before: str
    """The semantic version that was served until now."""
    semver: str
    version: int
    seconds: float
    """From the start of its load until it was in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherStatistics:
    """What a watcher has done."""

    semver: str
    """The version that is served; empty when the watcher is closed."""
    wanted: str
    """The version that should be: the same one, unless another is being loaded or fails to."""
    swaps: int
    failures: int
    error: str
    """Why the last attempt failed; empty when none has since the last swap."""


OnSwap = Callable[[Swap], None]
OnError = Callable[[Exception], None]


class Using(Generic[T_co]):
    """A hold on one version for the length of a ``with`` block."""

    __slots__ = ("_served", "_value")

    def __init__(self, served: Served[Any], value: T_co) -> None:
        # Whatever is handed out: the end of `served` is the end of the last request.
        self._served = served
        self._value = value

    def __enter__(self) -> T_co:
        return self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._value, self._served


class ModelWatcher(Generic[M]):
    """Serves the active version of a model, and swaps it between requests when another one becomes active.

    A request takes what is there and keeps it until its end::

        with watcher.current() as model:
            answer = model(question)

    A new version is loaded in a thread of the watcher, beside the one that serves; then one reference is exchanged. No
    request waits for it and none sees two versions: what keeps the old one alive is Python's count of references, and it
    goes, with its memory and its lease, when the last request that uses it has ended. Keep no reference to a model
    beyond its block: it would keep all of that version in memory.

    When a version cannot be loaded the one before goes on serving, and the load is tried again, less and less often,
    until it succeeds or another version is active. A rollback is a change like any other; of several changes during a
    load only the last is loaded. The sidecar may end and start again meanwhile.

    Threads do not survive a fork: make the watcher in the process that serves.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector.
    load
        Makes of a mapped model what serves: called here for the first version, then in the thread of the watcher. The
        mapping is closed after the call, and the memory that was taken from it stays.
    address
        The sidecar: ``unix:/RUN/FOLDER/grpc.sock`` or the run folder; by default ``ALLUXIO_LANCE_ADDRESS``, then the
        default run folder.
    on_swap
        Told of each swap after it, in the thread of the watcher.
    on_error
        Told of each failure, in the thread of the watcher; the log has it, too.
    parts
        Which parts of the model are mapped: ``tensors``, ``files``, or both.
    timeout
        Seconds to wait for the sidecar to answer at all.
    retry
        Seconds until the second attempt after a failure, and the most between two later ones.
    collect
        Run Python's garbage collector when the last request of an old version has ended: for models that refer to
        themselves in a circle, as those of Keras do, which no count of references lets go of. All threads wait for it.

    Raises
    ------
    InvalidArgument
        When the URI names a version.
    Unavailable
        When no sidecar answers.
    NotFound, NotActive, InvalidURI, NoSpace
        What the sidecar says to the URI.
    Exception
        What ``load`` raises: there is nothing to go on with yet.
    """

    def __init__(
        self,
        uri: str,
        load: Callable[[MappedModel], M],
        address: str | None = None,
        on_swap: OnSwap | None = None,
        on_error: OnError | None = None,
        *,
        parts: Sequence[str] = ("tensors", "files"),
        timeout: float = 10.0,
        retry: tuple[float, float] = (1.0, 60.0),
        collect: bool = False,
    ) -> None:
        resource, at, selector = uri.partition("@")
        if at and selector != _ACTIVE:
            raise InvalidArgument(
                f"a watcher follows the active version, and {uri} names one - watch {resource}, or open {uri} "
                "without a watcher"
            )
        if not 0 < retry[0] <= retry[1]:
            raise InvalidArgument(f"retry is {retry}: give the shortest and the longest pause, in seconds")
        self._resource = resource
        self._load = load
        self._address = address
        self._on_swap = on_swap
        self._on_error = on_error
        self._parts = tuple(parts)
        self._timeout = timeout
        self._retry = retry
        self._collect = collect
        self._owner = os.getpid()
        self._swaps = self._failures = 0
        self._error = ""
        self._over = False
        # A queue without a lock of its own, which even a finalizer may put into. None ends the thread.
        self._news: SimpleQueue[Activated | _Ended | None] = SimpleQueue()
        self._served: Served[M] | None = self._opened(resource)
        layout = self._served.layout
        # Of the thread alone: what it has loaded, and what it should have. None matches no version.
        self._known: str | None = layout.semver
        self._wanted: str | None = layout.semver
        self._watch = Watch(Address.find(address), layout.type, layout.name, layout.version, self._news.put)
        self._thread = threading.Thread(target=self._run, name=f"alluxio-lance serve {layout.name}", daemon=True)
        self._thread.start()

    # -- requests ----------------------------------------------------------------------------------------------------

    def current(self) -> Using[M]:
        """Take the model that serves now, for the length of a ``with`` block.

        Raises
        ------
        Unavailable
            When the watcher was closed.
        InvalidArgument
            In a forked child, which nobody would tell of changes.
        """
        served = self._taken()
        return Using(served, served.model)

    def use(self) -> Using[Served[M]]:
        """Take the model together with the layout of its version, for answers that say which one they are of.

        Errors as of `current`.
        """
        served = self._taken()
        return Using(served, served)

    def _taken(self) -> Served[M]:
        served = self._served
        if served is None:
            raise Unavailable(f"the watcher of {self._resource} was closed - make another", what="watcher")
        if os.getpid() != self._owner:
            raise InvalidArgument(
                f"the watcher of {self._resource} was made in process {self._owner}, and its thread did not come along "
                f"into process {os.getpid()} - make it after the fork"
            )
        return served

    def statistics(self) -> WatcherStatistics:
        """Say what is served and what was done."""
        served = self._served
        return WatcherStatistics(
            semver="" if served is None else served.layout.semver,
            wanted=self._wanted or "",
            swaps=self._swaps,
            failures=self._failures,
            error=self._error,
        )

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = 0.0
        while not self._over:
            if self._is_content():
                self._prepare()
            if self._hear(None if self._is_content() else pause):
                pause = 0.0
            if not self._over and not self._is_content():
                pause = self._attempt(pause)

    def _prepare(self) -> None:
        try:
            self._rest()
        except Exception:  # noqa: BLE001 - the user's code may raise anything: it will again when the load needs it
            _LOG.warning("the watcher of %s could not prepare for the next version", self._resource, exc_info=True)

    def _rest(self) -> None:
        """Do what can be done before there is a version to load; called in the thread whenever there is nothing else."""

    def _is_content(self) -> bool:
        """Whether there is nothing to load: no version is active, or the one that serves."""
        return self._wanted is None or self._wanted == self._known

    def _hear(self, timeout: float | None) -> bool:
        """Wait for news and take all that there are; False when the time is over first."""
        heard = False
        try:
            while not self._over:
                heard = self._take(self._news.get(timeout=0 if heard else timeout)) or heard
        except Empty:
            pass
        return heard

    def _take(self, news: Activated | _Ended | None) -> bool:
        """Note what is new; False when it is nothing to load."""
        if isinstance(news, _Ended):
            gc.collect()
            return False
        if news is None:
            self._over = True
            return True
        self._wanted = news.semver
        if news.semver is None:
            # It may have been deleted, and the same number may come back with other bytes.
            self._known = None
            _LOG.warning("no version of %s is active any more; the last one goes on serving", self._resource)
        return True

    def _attempt(self, pause: float) -> float:
        """Load what is wanted; returns the seconds until the next attempt."""
        begun = perf_counter()
        try:
            served = self._opened(f"{self._resource}@{self._wanted}")
        except Exception as error:  # noqa: BLE001 - the user's `load` may raise anything; the old version serves on
            pause = min(max(_GROWTH * pause, self._retry[0]), self._retry[1])
            self._fail(error, pause)
            return pause
        self._hear(0)
        # Rolled back meanwhile: what serves is right already. Any other news finds this one in place, so that changes
        # that come faster than loads end do not keep the first version for ever.
        if not self._over and not self._is_content():
            self._swap(served, begun)
        return 0.0

    def _opened(self, uri: str) -> Served[M]:
        with MappedModel.open(uri, self._parts, self._address, timeout=self._timeout) as mapped:
            served = Served(self._load(mapped), mapped.layout)
        if self._collect:
            weakref.finalize(served, self._news.put, _ENDED).atexit = False
        return served

    def _swap(self, served: Served[M], begun: float) -> None:
        before, layout = self._served, served.layout
        assert before is not None
        self._served, self._known = served, layout.semver
        self._swaps, self._error = self._swaps + 1, ""
        swap = Swap(
            uri=layout.uri,
            before=before.layout.semver,
            semver=layout.semver,
            version=layout.version,
            seconds=perf_counter() - begun,
        )
        # A callback that takes its time must not keep the old version.
        del before, served
        _LOG.info("%s serves %s now, after %s", self._resource, swap.semver, swap.before)
        self._tell(self._on_swap, swap)

    def _fail(self, error: Exception, pause: float) -> None:
        self._failures, self._error = self._failures + 1, f"{type(error).__name__}: {error}"
        _LOG.warning(
            "%s@%s could not be loaded, the version before serves on; next attempt in %.1f s",
            self._resource,
            self._wanted,
            pause,
            exc_info=error,
        )
        self._tell(self._on_error, error)

    def _tell(self, callback: Callable[[T], None] | None, what: T) -> None:
        if callback is None:
            return
        try:
            callback(what)
        except Exception:  # noqa: BLE001 - the user's callback may raise anything, and the log shows it whole
            _LOG.exception("a callback of the watcher of %s failed; the watcher goes on", self._resource)

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop following and let the model go; requests under way keep theirs. Waits for a load that is under way.

        May be called from a callback; a second call does nothing.
        """
        self._watch.close()
        self._news.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._over, self._served = True, None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
