"""What stands in the way of a policy: readers, tags, stages, branches, operations under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from alluxio_lance.lifecycle.policies.due import span
from alluxio_lance.lifecycle.ports import Catalog, Holder, Operation, OperationState
from alluxio_lance.lifecycle.rules.document import RuleSet
from alluxio_lance.upkeep import Action
from alluxio_lance.values import Verb, Version

__all__ = ["Protection", "holds_stage"]

_LOCKING: Final = frozenset(
    {
        Verb.REGISTER,
        Verb.UPDATE,
        Verb.ARCHIVE,
        Verb.RESTORE,
        Verb.BRANCH,
        Verb.UNBRANCH,
        Verb.MERGE,
        Verb.DELETE,
        Verb.PURGE,
    }
)
"""Verbs that change a table, or what of it may be read. A janitor does not wait for them: it comes again."""
_RESTING: Final = "archived"
_NAMED: Final = 3
"""Readers that a sentence names."""


def holds_stage(rules: RuleSet, stage: str | None) -> bool:
    """Tell whether a version is kept for the stage that it holds.

    Every stage keeps its versions but three kinds: the initial one, which a version holds without anybody's doing; the one
    called ``archived``; and those that a holder goes to when it is displaced. A stage that only one can hold keeps it in any
    case, and so does one that the rules do not know any more: whoever took it out did not say what becomes of its holders.
    """
    if stage is None:
        return False
    known = rules.stages.get(stage)
    if known is None or known.holders == "one":
        return True
    resting = {_RESTING, *(each.displaced for each in rules.stages.values())}
    return stage != rules.initial_stage and stage not in resting


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What is known of a resource at one moment."""

    rules: RuleSet
    now: datetime
    bases: Mapping[str, tuple[str, ...]]
    """By semantic version: the branches that begin at it."""
    newest: Mapping[str, str]
    """By branch: its newest version, which is what the branch's name means."""
    holders: Sequence[Holder]
    under_way: Operation | None

    @classmethod
    def read(
        cls,
        catalog: Catalog,
        rules: RuleSet,
        now: datetime,
        type: str,
        name: str,
        versions: Sequence[Version],
        operations: Sequence[Operation],
    ) -> Protection:
        """Look at a resource."""
        bases: dict[str, tuple[str, ...]] = {}
        for branch in catalog.branches(type, name):
            bases[branch.base] = (*bases.get(branch.base, ()), branch.name)
        ascending = sorted(versions, key=lambda version: version.version)
        pending = (
            each
            for each in operations
            if (each.type, each.name, each.state) == (type, name, OperationState.PENDING) and each.verb in _LOCKING
        )
        return cls(
            rules=rules,
            now=now,
            bases=bases,
            newest={version.branch: version.semver for version in ascending if version.branch},
            holders=catalog.holders(type, name),
            under_way=next(pending, None),
        )

    def blocked(self, action: Action, version: Version) -> tuple[str | None, tuple[Mapping[str, Any], ...]]:
        """Tell why a version has to stay for now, and who reads it."""
        reading = [holder for holder in self.holders if holder.semver == version.semver]
        told = tuple(self._told(holder) for holder in reading)
        if action is Action.PURGE:
            return self._waits(reading), told
        return self._kept(version) or self._waits(reading), told

    def resource_blocked(self) -> tuple[str | None, tuple[Mapping[str, Any], ...]]:
        """Tell the same of a whole resource that is to be purged."""
        return self._waits(self.holders), tuple(self._told(holder) for holder in self.holders)

    def _kept(self, version: Version) -> str | None:
        """Tell what protects a version for as long as somebody wants it to."""
        if version.tags:
            return f"it has the tag{'s' * (len(version.tags) > 1)} {', '.join(version.tags)}"
        if holds_stage(self.rules, version.stage):
            return f"it holds the stage {version.stage}"
        if begun := self.bases.get(version.semver):
            return f"the branch{'es' * (len(begun) > 1)} {', '.join(begun)} began at it"
        if version.branch and self.newest.get(version.branch) == version.semver:
            return f"it is the newest version of the branch {version.branch}"
        return None

    def _waits(self, reading: Sequence[Holder]) -> str | None:
        """Tell what will be over in a while."""
        if reading:
            named = ", ".join(map(_name, reading[:_NAMED]))
            more = f" and {len(reading) - _NAMED} more" if len(reading) > _NAMED else ""
            return f"it is read by {named}{more}, the first one for {span(self.now - reading[0].since)}"
        if self.under_way is not None:
            one = self.under_way
            return f"the verb {one.verb} by {one.actor} (operation {one.id[:8]}) is under way on the resource"
        return None

    def _told(self, holder: Holder) -> Mapping[str, Any]:
        """Write a reader as in the details of `Leased`."""
        return {
            "id": holder.id[:8],
            "semver": holder.semver,
            "node": holder.node,
            "pid": holder.pid,
            "user": holder.user,
            "command": holder.command,
            "since": holder.since.isoformat(),
            "age": round((self.now - holder.since).total_seconds(), 1),
        }


def _name(holder: Holder) -> str:
    return f"{holder.command or 'a process'} (process {holder.pid} of {holder.user} on {holder.node})"
