"""Where reading stands: a dict of plain values that goes into a checkpoint, and what is checked when it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from alluxio_lance.client.arguments import LARGEST
from alluxio_lance.errors import Conflict, InvalidArgument
from alluxio_lance.layout import Layout

if TYPE_CHECKING:
    from alluxio_lance.client.epochs.chosen import Chosen

__all__ = ["Start", "State", "WorkerShare"]

_FORMAT: Final = 1
_FILTERED: Final = 2
"""With a filter: a release that knows none would read on among all rows, and so refuses it."""


@dataclass(frozen=True, slots=True)
class Start:
    """From where an iteration reads, and by which plan."""

    epoch: int
    position: int
    """Places of the epoch's order that were consumed before, by all ranks together."""
    seed: int
    unit_rows: int
    window_units: int


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """How far one worker of a DataLoader is: only the same worker of the same loader can go on from there."""

    id: int
    workers: int
    rank: int
    world_size: int
    batch_size: int
    batches: int
    """That this worker has made since the start."""


@dataclass(frozen=True, slots=True)
class State:
    """A place in the epochs of one version."""

    uri: str
    content_hash: str
    rows: int
    """That an epoch has."""
    shuffle: bool
    start: Start
    worker: WorkerShare | None = None
    filter: str | None = None

    @classmethod
    def of(
        cls,
        layout: Layout,
        shuffle: bool,
        start: Start,
        worker: WorkerShare | None = None,
        *,
        chosen: Chosen | None = None,
    ) -> Self:
        """Describe a place in the epochs of an open version, or of its chosen rows."""
        rows, filter_ = (layout.num_rows, None) if chosen is None else (len(chosen), chosen.filter)
        return cls(_exactly(layout), layout.content_hash, rows, shuffle, start, worker, filter_)

    def to_dict(self) -> dict[str, Any]:
        """Write it as plain values: JSON, ``torch.save`` and pickle all take it."""
        found: dict[str, Any] = {
            "format": _FORMAT if self.filter is None else _FILTERED,
            "uri": self.uri,
            "semver": self.uri.rpartition("@")[2],
            "content_hash": self.content_hash,
            "rows": self.rows,
            "shuffle": self.shuffle,
            **asdict(self.start),
        }
        if self.filter is not None:
            found["filter"] = self.filter
        return found if self.worker is None else {**found, "worker": asdict(self.worker)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        InvalidArgument
            When it is something else, or was written by a later release.
        """
        said = state.get("format") if isinstance(state, Mapping) else type(state).__name__
        if said not in (_FORMAT, _FILTERED):
            raise InvalidArgument(
                f"this is no state of format {_FORMAT} or {_FILTERED} of an IterableDataset, its format is {said!r} - "
                "give what state_dict() returned, to a release that is not older"
            )
        try:
            start = Start(*(int(state[name]) for name in Start.__dataclass_fields__))
            worker = WorkerShare(**state["worker"]) if "worker" in state else None
            found = cls(
                str(state["uri"]),
                str(state["content_hash"]),
                int(state["rows"]),
                bool(state["shuffle"]),
                start,
                worker,
                str(state["filter"]) if said == _FILTERED else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"the state is incomplete or damaged ({error!r}) - take an older one") from error
        if not (
            0 <= start.position <= found.rows
            and min(start.epoch, start.seed) >= 0 < min(start.unit_rows, start.window_units)
            and max(start.epoch, start.seed, start.unit_rows, start.window_units) <= LARGEST
        ):
            raise InvalidArgument(
                f"the state names a place that cannot be: {start} of {found.rows} rows - take an older one"
            )
        return found

    def check(self, layout: Layout, shuffle: bool, *, chosen: Chosen | None = None) -> None:
        """Make sure that it belongs to the version that is open, to the same rows and the same kind of order.

        Raises
        ------
        Conflict
            When it belongs to another version; the message says which one to open.
        InvalidArgument
            When one is shuffled and the other is not, or the filters differ.
        """
        if self.content_hash != layout.content_hash:
            raise Conflict(
                f"the state belongs to {self.uri} ({self.content_hash[:8]}), and {_exactly(layout)} "
                f"({layout.content_hash[:8]}) is open - open {self.uri} to go on, or begin anew with the other version",
                uri=self.uri,
                content_hash=self.content_hash,
            )
        if self.shuffle != shuffle:
            raise InvalidArgument(
                f"the state was taken with shuffle={self.shuffle}, the dataset has shuffle={shuffle} - make it alike"
            )
        self._check_filter(chosen)

    def _check_filter(self, chosen: Chosen | None) -> None:
        here = None if chosen is None else chosen.filter
        if self.filter != here:
            raise InvalidArgument(
                f"the state was taken with {_filtered(self.filter)}, the dataset has {_filtered(here)} - open it with the same "
                "text to go on"
            )
        if chosen is not None and self.rows != len(chosen):
            # As after an update of what evaluates it.
            raise InvalidArgument(
                f"{_filtered(here)} chose {self.rows} rows when the state was taken, and chooses {len(chosen)} of the same "
                "version now - begin the epoch anew"
            )


def _exactly(layout: Layout) -> str:
    return f"alluxio://{layout.type}/{layout.name}@{layout.semver}"


def _filtered(filter_: str | None) -> str:
    return "no filter" if filter_ is None else f"filter={filter_!r}"
