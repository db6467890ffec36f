"""One version in shared memory: its hot columns, who holds it, and the load that is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError, Internal
from alluxio_lance.layout import Layout, Pages
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.loader import HotColumn
from alluxio_lance.sidecar.plan import Plan, make_plan
from alluxio_lance.sidecar.statistics import ResidentVersion, Role, Status
from alluxio_lance.values import Progress, Version
from alluxio_lance.ways import Way

__all__ = ["Hold", "Key", "Load", "Resident", "key_of"]

Key = tuple[str, str, str, str]


def key_of(version: Version) -> Key:
    """Return what tells one version from all others: the operation, too, since a deleted name may be taken again."""
    return version.type, version.name, version.semver, version.operation


class Load:
    """A load that is under way; all who want the same version wait for it."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = frozenset(columns)
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._listeners: list[OnProgress] = []
        self._wishes: list[Callable[[], bool]] = []
        self._lock = threading.Lock()
        self.given_up = False
        """Nobody wanted it any more, and it was ended for that."""

    def join(self, wanted: Callable[[], bool]) -> None:
        """Note somebody who waits for it, and what tells whether he still wants it."""
        with self._lock:
            self._wishes.append(wanted)

    def unwanted(self) -> bool:
        """Tell whether it should end since nobody wants it any more; once it has said so, it stays so."""
        if self.given_up:
            return True
        with self._lock:
            self.given_up = not any(wanted() for wanted in self._wishes)
            return self.given_up

    def listen(self, on_progress: OnProgress | None) -> None:
        """Let somebody know how far it is; the listener must not raise."""
        if on_progress is not None:
            self._listeners.append(on_progress)

    def report(self, progress: Progress) -> None:
        """Tell all listeners."""
        for listener in list(self._listeners):
            listener(progress)

    def end(self, error: BaseException | None = None) -> None:
        """Wake all who wait."""
        self._error = error
        self._done.set()

    def wait(self) -> BaseException | None:
        """Wait for the end; returns a copy of the error, if it failed, since every waiter raises its own."""
        self._done.wait()
        error = self._error
        if error is None:
            return None
        if isinstance(error, AlluxioLanceError):
            return type(error)(error.message, **error.details)
        return Internal(
            f"the load that this call waited for failed: {type(error).__name__}: {error} - please report it"
        )


@dataclass(slots=True, eq=False)
class Resident:
    """What residency keeps of a version; all access under its lock."""

    version: Version
    plan: Plan
    columns: dict[str, HotColumn] = field(default_factory=dict)
    holders: list[str] = field(default_factory=list)
    """One entry per lease, as the opener named itself."""
    load: Load | None = None
    retired: bool = False
    """It was active once and is no longer wanted: it goes with its last lease."""
    used: float = 0.0
    """Monotonic time of the last open or release."""
    opened_at: datetime | None = None
    load_seconds: float = 0.0
    ways: Mapping[Way, int] = field(default_factory=dict)
    cached_percent: int | None = None
    """Both of the last load."""

    @classmethod
    def of(cls, version: Version, shard_bytes: int) -> Resident:
        """Plan a version."""
        plan = make_plan(
            pa.ipc.read_schema(pa.py_buffer(version.schema)),
            version.num_rows,
            label=version.uri.removeprefix("alluxio://"),
            num_bytes=version.num_bytes,
            shard_bytes=shard_bytes,
        )
        return cls(version, plan)

    @property
    def bytes(self) -> int:
        """Bytes of its segments."""
        return sum(column.bytes for column in self.columns.values())

    @property
    def idle(self) -> bool:
        """Whether it may be dropped: nobody holds it, and no load is under way."""
        return not self.holders and self.load is None

    def wanted(self, columns: Sequence[str] | None) -> list[str]:
        """Read a wish for columns, where None and nothing mean all; `NotFound` when there is no such column."""
        return [column.name for column in (self.plan.only(columns) if columns else self.plan).columns]

    def touch(self) -> None:
        """Note that it was used just now."""
        self.used = time.monotonic()

    def layout(self, names: Sequence[str]) -> Layout:
        """Describe some of its hot columns, in this order."""
        version = self.version
        return Layout(
            type=version.type,
            name=version.name,
            semver=version.semver,
            version=version.version,
            branch=version.branch,
            content_hash=version.content_hash,
            num_rows=version.num_rows,
            shard_rows=self.plan.shard_rows,
            columns=tuple(self.columns[name].column for name in names),
        )

    def hold(self, names: Sequence[str], holder: str, let_go: Callable[[Resident, str], None]) -> Hold:
        """Count a new holder of some of its hot columns."""
        self.holders.append(holder)
        self.touch()
        descriptors = tuple(fd for name in names for fd in self.columns[name].descriptors)
        return Hold(self.layout(names), descriptors, lambda: let_go(self, holder))

    def describe(self, role: Role) -> ResidentVersion:
        """Describe it for the statistics."""
        segments = [segment for column in self.columns.values() for segment in column.column.segments]
        largest = max(segments, key=lambda segment: segment.length, default=None)
        return ResidentVersion(
            type=self.version.type,
            name=self.version.name,
            semver=self.version.semver,
            version=self.version.version,
            role=role,
            status=Status.HOT if self.load is None else Status.LOADING,
            bytes=self.bytes,
            segments=len(segments),
            columns=tuple(self.columns),
            rows=self.version.num_rows,
            pages=Pages.SMALL if largest is None else largest.pages,
            leases=len(self.holders),
            last_opened_at=self.opened_at,
            load_seconds=self.load_seconds,
            ways=self.ways,
            cached_percent=self.cached_percent,
        )

    def close(self) -> None:
        """Close its descriptors; the memory is free when no reader holds its own."""
        for column in self.columns.values():
            column.close()
        self.columns.clear()


class Hold:
    """A reader's claim on segments: they stay until `release`.

    Attributes
    ----------
    layout
        Where the bytes lie.
    descriptors
        The open memfds in the order of the layout: columns in order, shards in order. They stay residency's.
    """

    __slots__ = ("_lock", "_release", "descriptors", "layout")

    def __init__(self, layout: Layout, descriptors: tuple[int, ...], release: Callable[[], None]) -> None:
        self.layout = layout
        self.descriptors = descriptors
        self._release: Callable[[], None] | None = release
        self._lock = threading.Lock()

    def release(self) -> None:
        """Let the segments go; a second call does nothing."""
        with self._lock:
            release, self._release = self._release, None
        if release is not None:
            release()
