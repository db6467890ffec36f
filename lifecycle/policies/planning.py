"""What the policies would do now, what it frees, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from alluxio_lance.errors import AlluxioLanceError, NotFound
from alluxio_lance.lifecycle.policies.costs import Costs
from alluxio_lance.lifecycle.policies.due import governing, span, wishes
from alluxio_lance.lifecycle.policies.protection import Protection
from alluxio_lance.lifecycle.ports import Catalog, ColdCopy, Operation, Store
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.rules.document import RuleSet
from alluxio_lance.upkeep import Action, Planned, PolicyPlan
from alluxio_lance.values import Resource, Verb, Version

__all__ = ["Policies"]

_PAGE: Final = 500
_GRACE: Final = "grace"
"""What stands for a policy in the rows of what was deleted before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A row without its bytes."""

    action: Action
    type: str
    name: str
    version: Version | None
    policy: str
    reason: str
    blocked: str | None
    holders: tuple[Mapping[str, Any], ...]

    @property
    def semver(self) -> str | None:
        return self.version.semver if self.version else None


class Policies:
    """All policies, over the rules."""

    def __init__(self, catalog: Catalog, store: Store, book: RulesBook) -> None:
        self._catalog = catalog
        self._store = store
        self._book = book

    def plan(self, type: str | None = None, name: str | None = None, *, now: datetime | None = None) -> PolicyPlan:
        """Tell what is due: purges first, then resource by resource, the oldest version of each line first.

        Changes nothing. Bytes are those that a row frees when all rows before it are done; blocked rows free none.
        """
        at = now or datetime.now(UTC)
        costs = Costs(self._store)
        return PolicyPlan(at=at, rows=tuple(self._priced(due, costs) for due in self._due(type, name, at)))

    def hindrance(self, row: Planned) -> str | None:
        """Look again, right before a row is done: tell why it must not be done any more, if it must not."""
        for due in self._due(row.type, row.name, datetime.now(UTC)):
            if (due.action, due.semver) == (row.action, row.semver):
                return due.blocked
        return "it is not due any more: somebody read or changed it since the plan was made"

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _due(self, type: str | None, name: str | None, now: datetime) -> Iterator[_Due]:
        operations = self._catalog.open_operations()
        rules = self._book.current()
        yield from self._purges(type, name, now, rules, operations)
        if rules.policies:
            for resource in self._resources(type, name):
                yield from self._of_resource(resource, now, rules, operations)

    def _resources(self, type: str | None, name: str | None) -> Iterator[Resource]:
        if type is not None and name is not None:
            one = self._catalog.resource(type, name)
            yield from () if one is None else (one,)
            return
        after: tuple[str, str] | None = None
        while True:
            page = self._catalog.resources(type, after=after, limit=_PAGE)
            yield from (each for each in page if name is None or each.name == name)
            if len(page) < _PAGE:
                return
            after = page[-1].type, page[-1].name

    def _of_resource(
        self, resource: Resource, now: datetime, rules: RuleSet, operations: Sequence[Operation]
    ) -> Iterator[_Due]:
        policy = governing(rules.policies, resource)
        if policy is None:
            return
        try:
            versions = self._catalog.versions(resource.type, resource.name)
        except NotFound:
            return  # deleted since it was listed
        wanted = wishes(policy, versions, now, self._restored_at)
        if not wanted:
            return
        protection = Protection.read(self._catalog, rules, now, resource.type, resource.name, versions, operations)
        for wish in wanted:
            blocked, holders = protection.blocked(wish.action, wish.version)
            yield _Due(
                action=wish.action,
                type=resource.type,
                name=resource.name,
                version=wish.version,
                policy=wish.policy,
                reason=wish.reason,
                blocked=blocked,
                holders=holders,
            )

    def _restored_at(self, version: Version) -> datetime | None:
        return self._catalog.last_change(version.type, version.name, version.semver, Verb.RESTORE)

    def _purges(
        self, type: str | None, name: str | None, now: datetime, rules: RuleSet, operations: Sequence[Operation]
    ) -> Iterator[_Due]:
        for kind, called, semver in sorted(
            self._catalog.purgeable(now), key=lambda row: (row[0], row[1], row[2] or "")
        ):
            if type not in (None, kind) or name not in (None, called):
                continue
            try:
                versions = self._catalog.versions(kind, called, deleted=True)
            except NotFound:
                continue  # purged since it was listed
            version = next((each for each in versions if each.semver == semver), None)
            if semver is not None and version is None:
                continue  # taken back since
            protection = Protection.read(self._catalog, rules, now, kind, called, versions, operations)
            blocked, holders = (
                protection.resource_blocked() if version is None else protection.blocked(Action.PURGE, version)
            )
            yield _Due(
                action=Action.PURGE,
                type=kind,
                name=called,
                version=version,
                policy=_GRACE,
                reason=f"deleted, and its grace time is over (it was {span(rules.deletion.grace)} by the rules of now)",
                blocked=blocked,
                holders=holders,
            )

    # -- what it frees -------------------------------------------------------------------------------------------------

    def _priced(self, due: _Due, costs: Costs) -> Planned:
        row = Planned(
            action=due.action,
            type=due.type,
            name=due.name,
            semver=due.semver,
            policy=due.policy,
            reason=due.reason,
            frees_hot=0,
            frees_cold=0,
            adds_cold=0,
            blocked=due.blocked,
            holders=due.holders,
        )
        if row.blocked:
            return row
        try:
            return self._with_bytes(row, due.version, costs)
        except AlluxioLanceError as error:
            return replace(row, blocked=f"what it takes cannot be told: {error.message}")

    def _with_bytes(self, row: Planned, version: Version | None, costs: Costs) -> Planned:
        table = self._catalog.location(row.type, row.name)
        if table is None:
            raise NotFound(f"{row.type}/{row.name} has gone meanwhile")
        copies = self._catalog.cold_copies(row.type, row.name)
        if version is None:
            return replace(row, frees_hot=costs.table(table), frees_cold=_cold_bytes(copies))
        location = self._store.branch_location(table, version.branch)
        is_hot = version.semver not in copies
        if row.action is Action.ARCHIVE:
            added = costs.needed(location, version.version)
            return replace(row, frees_hot=costs.take(location, version.version), adds_cold=added)
        if row.action is Action.PURGE:
            cold = 0 if is_hot else copies[version.semver].num_bytes
            return replace(row, frees_hot=costs.take(location, version.version) if is_hot else 0, frees_cold=cold)
        later = costs.peek(location, version.version) if is_hot else copies[version.semver].num_bytes
        grace = span(self._book.current().deletion.grace)
        return replace(row, reason=f"{row.reason}; frees {later:,} bytes when it is purged, after {grace}")


def _cold_bytes(copies: Mapping[str, ColdCopy]) -> int:
    return sum(copy.num_bytes for copy in copies.values())
