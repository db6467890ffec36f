"""What people call things: tags of versions, labels and branches of resources."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.rows import require_listed
from alluxio_lance.catalog.schema import branches, labels, tags, versions
from alluxio_lance.catalog.semver import semver_text
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import Change
from alluxio_lance.values import State

__all__ = ["add_branch", "change_labels", "change_tags", "remove_branch"]

_T, _L, _B, _V = tags.c, labels.c, branches.c, versions.c


def change_tags(tx: Transaction, resource: int, change: Change) -> None:
    """Set and remove tags. The caller has locked the resource's row.

    Raises
    ------
    NotFound
        When there is no such version, or no such tag to remove.
    AlreadyExists
        When another version has the tag, which may not leave it; a deleted version holds nothing.
    """
    for tag, semver in change.tags.items():
        if semver is None:
            if tx.change(sa.delete(tags).where(_T.resource_id == resource, _T.name == tag)) == 0:
                raise NotFound(f"{change.type}/{change.name} has no tag {tag!r}")
        else:
            _set_tag(tx, resource, change, tag, semver)


def _set_tag(tx: Transaction, resource: int, change: Change, tag: str, semver: str) -> None:
    if "," in checked("the tag", tag, 100):
        raise InvalidArgument(f"the tag {tag!r} has a comma in it: leave it out")
    version = require_listed(tx, resource, f"{change.type}/{change.name}", semver).id
    numbers = (_V.major, _V.minor, _V.patch, _V.branch, _V.serial)
    query = sa.select(_T.version_id, _V.state, *numbers).join_from(tags, versions, _V.id == _T.version_id)
    holder = tx.one(query.where(_T.resource_id == resource, _T.name == tag))
    if holder is None:
        tx.run(sa.insert(tags), {"resource_id": resource, "name": tag, "version_id": version})
        return
    if holder.version_id != version and holder.state != State.DELETED and not change.move_tags:
        other = semver_text(holder.major, holder.minor, holder.patch, holder.branch, holder.serial)
        raise AlreadyExists(
            f"{change.type}/{change.name}@{other} has the tag {tag!r}: say that it shall move (`tag --move`), or choose another"
        )
    tx.change(sa.update(tags).where(_T.resource_id == resource, _T.name == tag).values(version_id=version))


def change_labels(tx: Transaction, resource: int, change: Change) -> None:
    """Set and remove labels.

    Raises
    ------
    InvalidArgument
        When one cannot be kept.
    """
    for name, value in change.labels.items():
        tx.change(sa.delete(labels).where(_L.resource_id == resource, _L.name == name))
        if value is not None:
            row = {"name": checked("the label", name, 100), "value": checked("the label's value", value, LONGEST)}
            tx.run(sa.insert(labels), {"resource_id": resource, **row})


def add_branch(tx: Transaction, resource: int, change: Change) -> None:
    """Add the branch of a change, if it has one.

    Raises
    ------
    AlreadyExists
        When the name is taken.
    """
    branch = change.branch
    if branch is None:
        return
    if tx.value(sa.select(_B.name).where(_B.resource_id == resource, _B.name == branch.name)) is not None:
        raise AlreadyExists(f"{change.type}/{change.name} has a branch {branch.name!r} already: choose another name")
    row = {
        "resource_id": resource,
        "name": checked("the branch", branch.name, 63),
        "base": branch.base,
        "created_at": branch.created_at,
        "created_by": checked("who makes the branch", branch.created_by, LONGEST),
    }
    tx.run(sa.insert(branches), row)


def remove_branch(tx: Transaction, resource: int, change: Change) -> None:
    """Remove a branch, if a change says so.

    Raises
    ------
    NotFound
        When there is none.
    """
    name = change.remove_branch
    if name is not None and tx.change(sa.delete(branches).where(_B.resource_id == resource, _B.name == name)) == 0:
        raise NotFound(
            f"{change.type}/{change.name} has no branch {name!r}: see `alluxio-lance show {change.type}/{change.name}`"
        )
