"""Removing versions, and only the files that no other version needs.

Not by Lance's own clean-up: that never removes the newest version, stops at tags, cannot tell in advance what it would
free in those cases, and may be cut off with manifests gone and files left that nothing names any more. Where it can be
asked it finds the same files, which a test shows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import lance

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.lifecycle.ports.store import STEP_BACK
from alluxio_lance.storage import writing
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.inventory import Inventory, data_before_manifests
from alluxio_lance.storage.opening import commit_arguments
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.tagging import tag_files, untag

__all__ = ["removal", "remove"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What goes, what stays, and whether the newest version has to be covered before."""

    going: frozenset[int]
    staying: frozenset[int]
    files: frozenset[str]
    covered: bool


def removal(place: Place, location: str, going: Sequence[int]) -> int:
    """Tell how many bytes `remove` would free; 0 when there is no table."""
    try:
        stock = Inventory.take(place, location)
    except NotFound:
        return 0
    plan = _plan(stock, set(going) - set(stock.bases.values()))
    return stock.bytes_of(plan.files) + stock.bytes_of(tag_files(stock.table, stock.line, plan.going))


def remove(place: Place, location: str, going: Sequence[int], write: Write) -> int:
    """Remove versions and return the bytes freed. Killed in its middle, a second call ends it.

    Raises
    ------
    InvalidArgument
        When a branch began at one of the versions.
    """
    try:
        stock = Inventory.take(place, location)
    except NotFound:
        return 0
    _check_bases(stock, going)
    before = sum(stock.sizes.values())
    plan = _plan(stock, going)
    if plan.covered:
        _cover(place, location, stock, max(plan.staying, default=None), write)
        # The cover is the newest version now and needs only files of what stays.
        stock = Inventory.take(place, location)
        plan = _plan(stock, going)
    with lance_faults(place.address(location).uri):
        untag(stock.table, stock.line, plan.going)
    place.remove(stock.line.root, data_before_manifests(plan.files))
    return before - sum(place.files(stock.line.root).values())


def _check_bases(stock: Inventory, going: Collection[int]) -> None:
    for branch, version in stock.bases.items():
        if version in going:
            raise InvalidArgument(
                f"version {version} of {stock.line.location} cannot go: the branch {branch} began there - remove it first"
            )


def _plan(stock: Inventory, going: Collection[int]) -> _Plan:
    present = set(stock.needs)
    newest = max(present)
    wanted = present & set(going)
    steps = stock.steps_back(besides=wanted)
    staying = present - wanted - steps
    kept = set().union(*(stock.needs[version] for version in staying))
    # A step back on top is still good when it needs nothing but its own manifest and what stays anyway.
    own = {path for path in stock.needs[newest] if stock.line.describes(path)}
    covered = newest in wanted or (newest in steps and not stock.needs[newest] - own <= kept)
    if newest in steps and not covered:
        staying.add(newest)
    leaving = present - staying
    return _Plan(
        going=frozenset(leaving),
        staying=frozenset(staying - steps),
        files=frozenset(stock.only(leaving, staying)),
        covered=covered,
    )


def _cover(place: Place, location: str, stock: Inventory, below: int | None, write: Write) -> None:
    """Put a version on top of the newest one, without moving data."""
    step = Write(operation=STEP_BACK, actor=write.actor, message=write.message)
    if below is not None:
        writing.restore(place, location, below, step)
        return
    everything = lance.LanceOperation.Delete(
        updated_fragments=[],
        deleted_fragment_ids=[fragment.fragment_id for fragment in stock.table.get_fragments()],
        predicate="true",
    )
    transaction = lance.Transaction(
        read_version=stock.table.version, operation=everything, transaction_properties=writing.properties(step)
    )
    with lance_faults(place.address(location).uri):
        lance.LanceDataset.commit(stock.table, transaction, **commit_arguments(place, location))
