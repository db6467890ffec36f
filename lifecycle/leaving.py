"""What every version has to be rid of before it leaves the hot tier: the pointer, a stage of its own, branches, readers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alluxio_lance.errors import Leased, NotFound, PolicyDenied
from alluxio_lance.lifecycle.ports import Catalog, Holder, Operation
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.states import check_transition
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import State, Version

__all__ = ["check_may_leave", "check_unheld", "exactly", "still"]


def exactly(catalog: Catalog, operation: Operation, *, deleted: bool = False) -> Version:
    """Find the version that the parameters of an operation name by its whole number.

    Raises
    ------
    NotFound
        When it is gone.
    """
    semver = str(operation.params["semver"])
    return catalog.find(ResourceName(operation.type, operation.name, parse_selector(semver)), deleted=deleted)


def still(catalog: Catalog, operation: Operation, made_by: str) -> Version | None:
    """Find the version that an operation began with, deleted or not; None when it is gone.

    It is told by the operation that made it: a resource of the same name that came later has others of the same numbers.
    """
    for deleted in (False, True):
        try:
            found = exactly(catalog, operation, deleted=deleted)
        except NotFound:
            continue
        if found.operation == made_by:
            return found
    return None


def check_may_leave(catalog: Catalog, book: RulesBook, version: Version, target: State) -> None:
    """Refuse to let a version go that others count on.

    Raises
    ------
    InvalidArgument
        When its state does not allow it; it is the active version, for one.
    PolicyDenied
        When it holds a stage that only one version can hold, or a branch begins at it.
    """
    check_transition(version, target)
    what = f"{version.type}/{version.name} {version.semver}"
    stage = book.current().stages.get(version.stage) if version.stage else None
    if stage is not None and stage.holders == "one":
        raise PolicyDenied(
            f"{what} holds the stage {version.stage}, which only one version can hold: promote another one to it first"
        )
    branches = [branch.name for branch in catalog.branches(version.type, version.name) if branch.base == version.semver]
    if branches:
        raise PolicyDenied(f"the branch {branches[0]} begins at {what}: remove the branch first")


def check_unheld(version: str, holders: Iterable[Holder]) -> None:
    """Refuse while readers are there.

    Raises
    ------
    Leased
        Naming them.
    """
    found = list(holders)
    if not found:
        return
    names = ", ".join(f"{one.user} on {one.node} (process {one.pid}, {one.command})" for one in found)
    raise Leased(f"{version} is held by {names}: end them, or wait", holders=[_described(one) for one in found])


def _described(holder: Holder) -> dict[str, Any]:
    return {
        # Not the whole token: who has it can read.
        "id": holder.id[:8],
        "semver": holder.semver,
        "node": holder.node,
        "pid": holder.pid,
        "user": holder.user,
        "command": holder.command,
        "since": holder.since.isoformat(),
    }
