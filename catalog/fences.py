"""Fences: no reader begins on a version that is about to go, and nobody moves the pointer or a stage to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.holders import check_unheld
from alluxio_lance.catalog.operations import take_pending
from alluxio_lance.catalog.rows import require_version
from alluxio_lance.catalog.schema import fences, resources
from alluxio_lance.catalog.selecting import unknown_resource
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.errors import Conflict

__all__ = ["Fences", "check_unfenced", "fence_of"]

_R, _F = resources.c, fences.c
_SHOWN: Final = 8
"""Digits of an operation that a message shows."""
_OF_VERSION: Final = sa.select(_F.operation).where(_F.version_id == sa.bindparam("version"))


class Fences(Transactions):
    """The part of the catalog that keeps readers off versions that are about to go."""

    def fence(self, operation: str, type: str, name: str, semvers: Sequence[str]) -> None:
        """Let no reader begin on these versions until the operation commits or is abandoned; again changes nothing.

        Raises
        ------
        NotFound
            When there is no such resource, version or operation.
        Conflict
            When the operation is not pending any more, or another one has fenced a version.
        Leased
            While any of the versions is held; see `check_unheld` for the details.
        """
        self._write(lambda tx: _fence(tx, operation, type, name, semvers))

    def unfence(self, operation: str) -> None:
        """Let readers begin again on what an operation has fenced."""
        self._write(lambda tx: tx.change(sa.delete(fences).where(_F.operation == operation)))


def _fence(tx: Transaction, operation: str, type: str, name: str, semvers: Sequence[str]) -> None:
    take_pending(tx, operation)
    # A hold locks the same row: whichever comes first, the other one sees it.
    resource = tx.value(sa.select(_R.id).where(_R.type == type, _R.name == name).with_for_update())
    if resource is None:
        raise unknown_resource(tx, type, name)
    check_unheld(tx, type, name, semvers)
    for semver in semvers:
        version = require_version(tx, resource, f"{type}/{name}", semver).id
        check_unfenced(tx, operation, version, f"{type}/{name}@{semver}")
        if fence_of(tx, version) is None:
            tx.run(sa.insert(fences), {"version_id": version, "operation": operation})


def fence_of(tx: Transaction, version: int) -> str | None:
    """Find the operation that has fenced a version."""
    found: str | None = tx.value(_OF_VERSION, {"version": version})
    return found


def check_unfenced(tx: Transaction, operation: str, version: int, what: str) -> None:
    """Refuse when another operation has fenced a version. The caller has locked the resource's row.

    Raises
    ------
    Conflict
        With the operation.
    """
    other = fence_of(tx, version)
    if other not in (None, operation):
        raise Conflict(
            f"{what} is about to go, operation {str(other)[:_SHOWN]} works on it: try again when that has ended"
        )
