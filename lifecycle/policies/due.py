"""What a policy wants with a version: nothing, the cold tier, or its deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alluxio_lance.lifecycle.rules.document import Policy
from alluxio_lance.upkeep import Action
from alluxio_lance.values import Resource, State, Version

__all__ = ["Wish", "governing", "span", "wishes"]

_UNITS: Final = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))

RestoredAt = Callable[[Version], datetime | None]
"""When a version last came back from the cold tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a policy wants, before anybody asked whether it may."""

    action: Action
    version: Version
    policy: str
    reason: str


def governing(policies: Sequence[Policy], resource: Resource) -> Policy | None:
    """Find the policy of a resource: the first that covers it, and no other."""
    labels = dict(resource.labels)
    return next((each for each in policies if each.covers(resource.type, resource.name, labels)), None)


def wishes(policy: Policy, versions: Sequence[Version], now: datetime, restored_at: RestoredAt) -> list[Wish]:
    """List what a policy wants with the versions of a resource, the oldest of each line first.

    A version that is to be deleted is not archived before. The active version is in none of a policy's states.
    """
    found: list[Wish] = []
    for branch in sorted({version.branch for version in versions}):
        line = sorted((v for v in versions if v.branch == branch), key=lambda v: v.version, reverse=True)
        found += reversed([wish for wish in _of_line(policy, line, now, restored_at) if wish is not None])
    return found


def _of_line(policy: Policy, line: Sequence[Version], now: datetime, restored_at: RestoredAt) -> Iterable[Wish | None]:
    for rank, version in enumerate(line, start=1):
        if version.state not in policy.states:
            continue
        reason = _delete(policy, version, rank, now)
        if reason:
            yield Wish(action=Action.DELETE, version=version, policy=policy.name, reason=reason)
        elif reason := _archive(policy, version, now, restored_at):
            yield Wish(action=Action.ARCHIVE, version=version, policy=policy.name, reason=reason)


def _delete(policy: Policy, version: Version, rank: int, now: datetime) -> str | None:
    if policy.keep_last is not None and rank > policy.keep_last:
        line = f"the branch {version.branch}" if version.branch else "the main line"
        return f"number {rank} of {line}, of which the newest {policy.keep_last} stay"
    return None if policy.delete_after is None else _unread(version, now, policy.delete_after)


def _archive(policy: Policy, version: Version, now: datetime, restored_at: RestoredAt) -> str | None:
    # The versions of a branch stay hot: a clone cannot follow the files that they share with their base.
    if policy.archive_after is None or version.state is State.ARCHIVED or version.branch:
        return None
    reason = _unread(version, now, policy.archive_after)
    # Asked only now, since it costs a query: whoever restored a version by hand wants it hot for as long as a reader.
    back = restored_at(version) if reason else None
    return None if back is not None and now - back < policy.archive_after else reason


def _unread(version: Version, now: datetime, limit: timedelta) -> str | None:
    idle = now - (version.read_at or version.created_at)
    if idle < limit:
        return None
    told = f"not read for {span(idle)}" if version.read_at else f"never read, {span(idle)} old"
    return f"{told} (limit {span(limit)})"


def span(time: timedelta) -> str:
    """Write a time in the largest unit of which it has at least two: ``41 days``, ``36 hours``."""
    seconds = time.total_seconds()
    name, size = next(((n, s) for n, s in _UNITS if seconds >= 2 * s), ("seconds", 1))
    number = round(seconds / size)
    return f"{number} {name.removesuffix('s') if number == 1 else name}"
