"""What the services ask of the manager and of the catalog."""

from __future__ import annotations

from typing import Protocol

from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import Operation
from alluxio_lance.values import Event

__all__ = ["Journal", "Managers"]


class Journal(Protocol):
    """The part of the catalog that keeps events, operations, and when a version was read."""

    def events(
        self, *, after: int = 0, type: str | None = None, name: str | None = None, limit: int = 1000
    ) -> list[Event]:
        """List the events after one."""
        ...

    def operation(self, id: str) -> Operation:
        """Find an operation."""
        ...

    def note_read(self, type: str, name: str, semver: str) -> None:
        """Remember that a version was opened."""
        ...


class Managers(Protocol):
    """A manager that can act for others."""

    def acting_as(self, identity: Identity) -> LocalManager:
        """Return a view that acts for somebody else."""
        ...
