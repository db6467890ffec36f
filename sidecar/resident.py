"""One version in shared memory: its hot columns, who holds it, and the load that is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError, Corrupt, Internal, NoSpace
from alluxio_lance.layout import Column, Layout, Pages
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.loader import HotColumn
from alluxio_lance.sidecar.models.planning import is_model_version, plan_model
from alluxio_lance.sidecar.plan import Plan, make_plan
from alluxio_lance.sidecar.statistics import ResidentVersion, Role, Status
from alluxio_lance.values import Progress, Version
from alluxio_lance.ways import Way

__all__ = ["Hold", "Key", "Load", "Resident", "describe", "key_of", "layout_of"]


class Key(NamedTuple):
    """What tells one version from all others: the operation, too, since a deleted name may be taken again."""

    type: str
    name: str
    semver: str
    operation: str
    unit: int | None = None
    """One of its units; None: the whole of it."""
    as_arrow: frozenset[str] = frozenset()
    """Columns that this unit, like all others of the version, has as ARROW: some of their lists have null items."""


def key_of(version: Version) -> Key:
    """Return the key of a version as a whole."""
    return Key(version.type, version.name, version.semver, version.operation)


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
        """It was ended for what says nothing about the version: nobody wanted it any more, or its stream was closed."""
        self.together: frozenset[Load] = frozenset()
        """The loads that failed with it, itself among them: the error may be about any of these."""

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

    def end(self, error: BaseException | None = None, together: frozenset[Load] = frozenset()) -> None:
        """Wake all who wait; ``together`` are the loads that fail at once, with the same error."""
        self._error = error
        self.together = together
        self._done.set()

    def wait(self) -> AlluxioLanceError | None:
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

    def says(self, error: AlluxioLanceError, missing: Collection[str]) -> bool:
        """Tell whether an error with which it failed is that of a load of these columns too.

        Of a load that was given up it says nothing about the version; and without the other columns there may be room,
        and nothing corrupt.
        """
        if self.given_up or self.columns.isdisjoint(missing):
            return False
        return self.columns.issubset(missing) or not isinstance(error, (NoSpace, Corrupt))


@dataclass(slots=True, eq=False)
class Resident:
    """What residency keeps of a version, or of one of its units; all access under its lock."""

    version: Version
    plan: Plan
    key: Key
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
    promised: set[str] = field(default_factory=set)
    """Who asked for it ahead and has not read it yet: what somebody else asks for ahead does not push it out."""

    @classmethod
    def of(cls, version: Version, shard_bytes: int) -> Resident:
        """Plan a version."""
        label = version.uri.removeprefix("alluxio://")
        if is_model_version(version):
            return cls(
                version, plan_model(version.num_rows, label=label, stored_bytes=version.num_bytes), key_of(version)
            )
        plan = make_plan(
            pa.ipc.read_schema(pa.py_buffer(version.schema)),
            version.num_rows,
            label=label,
            num_bytes=version.num_bytes,
            shard_bytes=shard_bytes,
        )
        return cls(version, plan, key_of(version))

    @property
    def bytes(self) -> int:
        """Bytes of its segments."""
        return sum(column.bytes for column in self.columns.values())

    @property
    def mapped_bytes(self) -> int:
        """Bytes of files of the disk tier that are read in place of segments."""
        return sum(column.mapped for column in self.columns.values())

    @property
    def is_unit(self) -> bool:
        """Whether it is one unit of a version."""
        return self.key.unit is not None

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
        columns = [self.columns[name].column for name in names]
        return layout_of(self.version, self.version.num_rows, self.plan.shard_rows, columns)

    def hold(self, names: Sequence[str], holder: str, let_go: Callable[[Resident, str], None]) -> Hold:
        """Count a new holder of some of its hot columns."""
        self.holders.append(holder)
        self.touch()
        descriptors = tuple(fd for name in names for fd in self.columns[name].descriptors)
        return Hold(self.layout(names), descriptors, lambda: let_go(self, holder))

    def close(self) -> None:
        """Close its descriptors; the memory is free when no reader holds its own."""
        for column in self.columns.values():
            column.close()
        self.columns.clear()


def describe(parts: Sequence[Resident], role: Role) -> ResidentVersion:
    """Describe what is here of one version, as a whole and in units, for the statistics."""
    version = parts[0].version
    columns = [column for part in parts for column in part.columns.values()]
    segments = [segment for column in columns for segment in column.column.segments]
    largest = max(segments, key=lambda segment: segment.length, default=None)
    newest = max(parts, key=lambda part: part.used)
    return ResidentVersion(
        type=version.type,
        name=version.name,
        semver=version.semver,
        version=version.version,
        role=role,
        status=Status.HOT if all(part.load is None for part in parts) else Status.LOADING,
        bytes=sum(part.bytes for part in parts),
        segments=len(segments),
        columns=tuple(dict.fromkeys(name for part in parts for name in part.columns)),
        rows=max(_rows(part for part in parts if part.is_unit == unit) for unit in (True, False)),
        pages=Pages.SMALL if largest is None else largest.pages,
        # Who holds a window holds all its units.
        leases=len([holder for part in parts if not part.is_unit for holder in part.holders])
        + len({holder for part in parts if part.is_unit for holder in part.holders}),
        last_opened_at=newest.opened_at,
        load_seconds=newest.load_seconds,
        ways=newest.ways,
        cached_percent=newest.cached_percent,
    )


def _rows(parts: Iterable[Resident]) -> int:
    return sum(part.plan.num_rows for part in parts)


def layout_of(version: Version, rows: int, shard_rows: int, columns: Iterable[Column]) -> Layout:
    """Describe columns of a version, or of some of its rows."""
    return Layout(
        type=version.type,
        name=version.name,
        semver=version.semver,
        version=version.version,
        branch=version.branch,
        content_hash=version.content_hash,
        num_rows=rows,
        shard_rows=shard_rows,
        columns=tuple(columns),
    )


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
