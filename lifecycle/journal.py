"""Operations in flight: recorded before they start, kept alive by a heartbeat, locked, stepped, ended."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from alluxio_lance.errors import Conflict, Unavailable
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.ports import Catalog, Operation, OperationState, Owner
from alluxio_lance.lifecycle.process import is_dead
from alluxio_lance.values import Verb

__all__ = ["Journal", "Observer", "Running"]

_log = structlog.get_logger(__name__)

Observer = Callable[[Verb, str], None]
"""Told about each step of each operation right after it is recorded; the crash tests kill the process here."""


# Of the whole process: several managers may live in it, and none may take another's operation for a dead one's.
_working: set[str] = set()
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Running:
    """An operation that this process works on."""

    operation: Operation
    step: Callable[[str], None]
    """Record that a step is done."""

    @property
    def id(self) -> str:
        """The operation's id."""
        return self.operation.id


class Journal:
    """The operations of this process.

    Parameters
    ----------
    ttl
        Seconds that a heartbeat holds, which a thread renews three times as often. A commit lock holds three times as
        long: who stood still is dead before his lock is free, and what he left is mended before anybody else begins.
    lock_timeout
        Seconds to wait for a resource that another operation holds.
    """

    def __init__(
        self,
        catalog: Catalog,
        owner: Owner,
        *,
        ttl: float = 30.0,
        lock_timeout: float = 600.0,
        observer: Observer | None = None,
    ) -> None:
        self.catalog = catalog
        self.owner = owner
        self.ttl = ttl
        self.lock_ttl = 3 * ttl
        self._lock_timeout = lock_timeout
        self._observer = observer
        self._mine: set[str] = set()
        self._holding: dict[tuple[str, str], Running] = {}
        self._ended = threading.Event()
        self._impatient = threading.Event()
        self._heart: threading.Thread | None = None

    # -- beginning and ending ------------------------------------------------------------------------------------------

    def begin(
        self,
        verb: Verb,
        type: str,
        name: str,
        *,
        identity: Identity,
        params: Mapping[str, Any],
        request_id: str | None,
    ) -> tuple[Operation, bool]:
        """Record an operation (True), or find the one that was recorded under the same request id (False)."""
        now = datetime.now(UTC)
        wanted = Operation(
            id=uuid.uuid4().hex,
            verb=verb,
            type=type,
            name=name,
            actor=identity.actor,
            origin=identity.origin,
            owner=self.owner,
            params=params,
            request_id=request_id,
            created_at=now,
            heartbeat_at=now,
        )
        # Known as alive before it is recorded, so that a reconcile in another thread never takes it for a dead one.
        self._start(wanted.id)
        try:
            found = self.catalog.begin(wanted)
        except BaseException:
            self._stop(wanted.id)
            raise
        if found.id == wanted.id:
            return found, True
        self._stop(wanted.id)
        self._check_same(found, wanted)
        return found, False

    def _start(self, id: str) -> None:
        with _guard:
            _working.add(id)
            self._mine.add(id)
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="alluxio-lance-heartbeat", daemon=True)
                self._heart.start()

    def _stop(self, id: str) -> None:
        with _guard:
            _working.discard(id)
            self._mine.discard(id)

    def forget(self, operation: Operation) -> None:
        """Say that this process does not work on an operation that it began: whoever comes next mends it."""
        self._stop(operation.id)

    @staticmethod
    def _check_same(found: Operation, wanted: Operation) -> None:
        if (found.verb, found.type, found.name) != (wanted.verb, wanted.type, wanted.name):
            raise Conflict(
                f"request id {wanted.request_id!r} was used for {found.verb} of {found.type}/{found.name}: use a new one for each call"
            )

    @contextmanager
    def running(self, operation: Operation) -> Iterator[Running]:
        """Keep an operation's heartbeat going while the block works on it."""

        def step(done: str) -> None:
            self.catalog.record_step(operation.id, done, owner=operation.owner)
            self.observe(operation.verb, done)

        self._start(operation.id)
        try:
            self.observe(operation.verb, operation.step)
            yield Running(operation, step)
        finally:
            self._stop(operation.id)

    def observe(self, verb: Verb, step: str) -> None:
        """Tell the observer about a step that the catalog knows already."""
        if self._observer is not None:
            self._observer(verb, step)

    def _beat(self) -> None:
        while not self._ended.wait(self.ttl / 3):
            with _guard:
                mine = list(self._mine)
            for id in mine:
                try:
                    self.catalog.heartbeat(id, self.lock_ttl)
                except Exception:  # noqa: BLE001 - the commit is fenced: a heartbeat that fails for long only costs the lock
                    _log.warning("heartbeat failed", operation=id, exc_info=True)

    def cease(self) -> None:
        """Let nobody here wait for others any more; what is at work goes on, and its heartbeat."""
        self._impatient.set()

    def close(self) -> None:
        """End the heartbeat thread."""
        self.cease()
        self._ended.set()
        if self._heart is not None:
            self._heart.join()

    # -- other processes' operations -----------------------------------------------------------------------------------

    def is_dead(self, operation: Operation) -> bool:
        """Tell whether nobody works on it any more."""
        with _guard:
            if operation.id in _working:
                return False
        return operation.owner == self.owner or is_dead(operation, self.owner, datetime.now(UTC), self.ttl)

    def pause(self, seconds: float) -> None:
        """Wait for a while.

        Raises
        ------
        Unavailable
            When the manager is closed meanwhile.
        """
        if self._impatient.wait(seconds):
            raise Unavailable("the manager was closed while it waited: try again", what="manager")

    def owns(self, running: Running) -> bool:
        """Tell whether an operation is still this process' own, and the resource's lock its: asked before what cannot be undone.

        Whoever stood still for longer than the heartbeat holds may find that another process has ended its work.
        """
        found = self.catalog.operation(running.id)
        if found.state is not OperationState.PENDING or found.owner != self.owner:
            return False
        return self.catalog.try_lock(found.type, found.name, found.id, self.lock_ttl) is None

    def guard(self, location: str) -> None:
        """Refuse a commit to a table whose lock this process has lost while it wrote.

        Raises
        ------
        Conflict
            When another process has taken the operation over.
        """
        type, _, rest = location.partition("/")
        running = self._holding.get((type, rest.partition(".lance")[0]))
        if running is not None and not self.owns(running):
            operation = running.operation
            raise Conflict(
                f"{operation.verb} of {operation.type}/{operation.name} stood still for too long, and another process has "
                "taken the resource over: try again"
            )

    # -- the commit lock -----------------------------------------------------------------------------------------------

    @contextmanager
    def locked(
        self, running: Running, recover: Callable[[Operation], None], *, wait: float | None = None
    ) -> Iterator[None]:
        """Hold the resource's commit lock.

        ``recover`` finishes or undoes the operation of a dead holder, which gives its lock free. ``wait`` is how many
        seconds to wait for a living one, the manager's time-out by default.

        Raises
        ------
        Conflict
            When a living operation holds it for longer than the time-out.
        Unavailable
            When the manager is closed meanwhile.
        """
        operation = running.operation
        patience = self._lock_timeout if wait is None else wait
        deadline = time.monotonic() + patience
        while (
            holder_id := self.catalog.try_lock(operation.type, operation.name, operation.id, self.lock_ttl)
        ) is not None:
            holder = self.catalog.operation(holder_id)
            # One that has ended meanwhile has given the lock free, and its own process settles it.
            if holder.state is OperationState.PENDING and self.is_dead(holder):
                recover(holder)
            elif time.monotonic() >= deadline:
                raise Conflict(
                    f"{holder.verb} of {holder.type}/{holder.name} by {holder.actor} (operation {holder.id[:8]}, process {holder.owner.pid} on "
                    f"{holder.owner.node}) has held the resource for more than {patience:.0f} s: try again when it has ended"
                )
            # Jitter, so that waiting writers do not march in step.
            if self._impatient.wait(random.uniform(0.02, 0.1)):  # noqa: S311 - no secret
                raise Unavailable("the manager was closed while it waited for the resource: try again", what="manager")
        place = operation.type, operation.name
        self._holding[place] = running
        try:
            # Whoever mends keeps how far it was: a copy that was verified may be all there is when he dies in turn.
            running.step("locked" if operation.step == "begun" else operation.step)
            yield
        finally:
            self._holding.pop(place, None)
            self.catalog.unlock(operation.type, operation.name, operation.id)
