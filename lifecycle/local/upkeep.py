"""What versions cost, and what the policies do about it."""

from __future__ import annotations

from collections.abc import Callable

from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local.base import Base
from alluxio_lance.lifecycle.policies import run_plan
from alluxio_lance.lifecycle.storing import storage_of
from alluxio_lance.lifecycle.uri import parse_name
from alluxio_lance.upkeep import PolicyPlan, StorageReport
from alluxio_lance.values import Verb

__all__ = ["Upkeep"]


class Upkeep(Base):
    """Storage, and the policies."""

    def storage(self, type: str, name: str) -> StorageReport:
        parse_name(type, name)
        self._allow(Verb.READ, type, name)
        return storage_of(self.catalog, self.store, type, name)

    def plan_policies(self, type: str | None = None, name: str | None = None) -> PolicyPlan:
        self._allow(Verb.READ, type or "", name or "")
        return self._rooms.policies.plan(type, name)

    def run_policies(
        self,
        type: str | None = None,
        name: str | None = None,
        *,
        go_on: Callable[[], bool] = lambda: True,
    ) -> PolicyPlan:
        """Do what `plan_policies` tells; ``go_on`` is asked before each row.

        What dead processes left is mended first, since it may stand in the way; the pins in the cache follow at the end.
        """
        self._allow(Verb.JANITOR, type or "", name or "")
        self._rooms.reconciler.all()
        janitor = self.acting_as(
            Identity(
                actor=f"janitor@{self._rooms.journal.owner.node}",
                roles=("admin",),
                method="embedded",
                origin=f"for {self._identity.actor}",
            )
        )
        plan = self._rooms.policies.plan(type, name)

        def goes_on() -> bool:
            return go_on() and not self._rooms.closed.is_set()

        done = run_plan(plan, self._rooms.policies, janitor, go_on=goes_on)
        self._rooms.pinner.all(type, name, go_on=goes_on)
        return done
