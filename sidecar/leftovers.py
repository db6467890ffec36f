"""Leases that the sidecar before this one left in the catalog when it was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.sidecar.leases import mark
from alluxio_lance.values import Resource

__all__ = ["HeldLeases", "leftovers", "release_leftovers"]


class HeldLeases(Protocol):
    """The part of the catalog that is looked through."""

    def resources(self, type: str | None = None) -> list[Resource]:
        """List all resources."""
        ...

    def holders(self, type: str, name: str) -> list[Holder]:
        """List the leases on a resource."""
        ...

    def release(self, ids: Sequence[str]) -> None:
        """End leases."""
        ...


def release_leftovers(catalog: HeldLeases, *, node: str, earlier: str | None) -> None:
    """End what an earlier instance left behind and no living reader needs.

    Parameters
    ----------
    earlier
        The instance that had this run folder before; None when there was none. Who holds the folder's lock knows that
        it is dead.
    """
    if not earlier:
        return
    for resource in catalog.resources():
        held = catalog.holders(resource.type, resource.name)
        if left := leftovers(held, node=node, instance=earlier, alive=_is_alive):
            catalog.release(left)


def leftovers(holders: Iterable[Holder], *, node: str, instance: str, alive: Callable[[int], bool]) -> list[str]:
    """Pick the leases that an earlier instance of this node's sidecar left behind and whose readers are dead too.

    A reader that still lives gets the time until its lease expires to open the same version again.
    """
    return [h.id for h in holders if h.node == node and h.id.endswith(mark(instance)) and not alive(h.pid)]


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
