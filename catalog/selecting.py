"""Which version a selector means."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.rows import VERSIONS, active_of, served
from alluxio_lance.catalog.schema import pointers, resources, tags, versions
from alluxio_lance.catalog.semver import semver_text
from alluxio_lance.catalog.transactions import AnyQuery, AnyRow, Transaction
from alluxio_lance.errors import NotActive, NotFound
from alluxio_lance.lifecycle.uri import Active, ContentHash, Label, LanceVersion, ResourceName, Selector, SemverPrefix
from alluxio_lance.values import State

__all__ = ["listed", "require_resource", "select", "unknown_resource"]

_R, _V = resources.c, versions.c
_NEIGHBOURS: Final = 500
_MAIN: Final = _V.branch == ""
_IN_USE: Final = _V.state.not_in([State.ARCHIVED, State.DELETED])
_NEWEST: Final = (_V.major.desc(), _V.minor.desc(), _V.patch.desc())

_NAMED: Final = sa.select(_R.id, _R.hidden).where(_R.type == sa.bindparam("type"), _R.name == sa.bindparam("name"))
_LISTED: Final = _V.state != State.DELETED
_PARTS: Final = ("branch", "major", "minor", "patch", "serial")
# Made once: every load asks whether its version is still there, and to make a query takes longer than to run it.
_WHOLE: Final = VERSIONS.where(
    _V.resource_id == sa.bindparam("resource"),
    *(_V[part] == sa.bindparam(part) for part in _PARTS),
    _LISTED,
)

_Condition = sa.ColumnElement[bool]


def require_resource(tx: Transaction, type: str, name: str, *, deleted: bool = False) -> AnyRow:
    """Find a resource (its ``id``, and whether it is ``hidden``) that is not deleted; with ``deleted`` in either state.

    Raises
    ------
    NotFound
        With the names that look like it.
    """
    found = tx.one(_NAMED, {"type": type, "name": name})
    if found is None or (found.hidden and not deleted):
        raise unknown_resource(tx, type, name)
    return found


def listed(resource: AnyRow, *, deleted: bool) -> _Condition:
    """Build the condition for versions that are there, or that are deleted: of a deleted resource all are."""
    if not deleted:
        return _LISTED
    return sa.true() if resource.hidden else _V.state == State.DELETED


def unknown_resource(tx: Transaction, type: str, name: str) -> NotFound:
    """Build the error that names what the caller may have meant."""
    if tx.value(sa.select(_R.id).where(_R.type == type, _R.name == name, _R.hidden)) is not None:
        back = f"alluxio-lance undelete {type}/{name}"
        return NotFound(f"there is no {type}/{name} any more, it is deleted: take that back with `{back}`", similar=[])
    names = [row.name for query in _neighbours(type, name) for row in tx.all(query)]
    close = [f"{type}/{near}" for near in difflib.get_close_matches(name, names)]
    hint = f"did you mean {' or '.join(close)}? See" if close else "see"
    return NotFound(f"there is no {type}/{name}: {hint} `alluxio-lance list`", similar=close)


def _neighbours(type: str, name: str) -> tuple[AnyQuery, AnyQuery]:
    """Select the names around one, in their order: to compare it with a million takes long, and few mistype the start."""
    known = sa.select(_R.name).where(_R.type == type, _R.hidden.is_(False)).limit(_NEIGHBOURS)
    return (
        known.where(_R.name < name).order_by(_R.name.desc()),
        known.where(_R.name >= name).order_by(_R.name),
    )


def select(tx: Transaction, name: ResourceName, *, deleted: bool = False) -> AnyRow:
    """Find the row of `VERSIONS` that a name means; with ``deleted`` among what is deleted.

    Raises
    ------
    NotFound
        When there is no such resource or version.
    NotActive
        When the active version is asked for, and there is none.
    """
    if isinstance(name.selector, Active) and not deleted:
        found = served(tx, name.type, name.name)
        if found is not None:
            return found
        # What is missing of it is found out below.
    resource = require_resource(tx, name.type, name.name, deleted=deleted)
    there = listed(resource, deleted=deleted)
    row = _SELECTORS[type(name.selector)](tx, resource.id, name.selector, there, there if deleted else _IN_USE)
    if row is None:
        raise _missing(tx, resource.id, name)
    return row


def _active(tx: Transaction, resource: int, _: Active, there: _Condition, in_use: _Condition) -> AnyRow | None:  # noqa: ARG001 - the shape of a selector
    return active_of(tx, resource, there)


def _semver(
    tx: Transaction, resource: int, selector: SemverPrefix, there: _Condition, in_use: _Condition
) -> AnyRow | None:
    if selector.patch is not None and there is _LISTED:
        return tx.one(_WHOLE, {"resource": resource, **{part: getattr(selector, part) for part in _PARTS}})
    query = VERSIONS.where(_V.resource_id == resource, _V.branch == selector.branch, _V.major == selector.major)
    if selector.minor is not None:
        query = query.where(_V.minor == selector.minor)
    if selector.patch is not None:
        # A whole version means that one, also when it is archived.
        return tx.one(query.where(_V.patch == selector.patch, _V.serial == selector.serial, there))
    return tx.one(query.where(in_use).order_by(*_NEWEST).limit(1))


def _lance_version(
    tx: Transaction,
    resource: int,
    selector: LanceVersion,
    there: _Condition,
    in_use: _Condition,  # noqa: ARG001 - the shape of a selector
) -> AnyRow | None:
    return tx.one(VERSIONS.where(_V.resource_id == resource, _MAIN, _V.lance_version == selector.number, there))


def _content_hash(
    tx: Transaction,
    resource: int,
    selector: ContentHash,
    there: _Condition,
    in_use: _Condition,  # noqa: ARG001 - the shape of a selector
) -> AnyRow | None:
    # "g" follows the last hexadecimal digit: a range of an index on every database, which LIKE is not.
    first, end = selector.prefix, f"{selector.prefix}g"
    query = VERSIONS.outerjoin(pointers, pointers.c.version_id == _V.id).where(
        _V.resource_id == resource, _V.content_hash >= first, _V.content_hash < end, there
    )
    # A branch begins with the content of its base, and is not what is meant.
    rank = sa.case((pointers.c.version_id.is_not(None), 0), (_MAIN, 1), else_=2)
    return tx.one(query.order_by(rank, _V.id.desc()).limit(1))


def _label(tx: Transaction, resource: int, selector: Label, there: _Condition, in_use: _Condition) -> AnyRow | None:  # noqa: ARG001 - the shape of a selector
    of_resource = VERSIONS.where(_V.resource_id == resource, there)
    tagged = of_resource.join(tags, tags.c.version_id == _V.id).where(
        tags.c.resource_id == resource, tags.c.name == selector.text
    )
    staged = of_resource.where(_V.stage == selector.text).order_by(_V.staged_at.desc()).limit(1)
    branch = of_resource.where(_V.branch == selector.text).order_by(_V.lance_version.desc()).limit(1)
    return tx.one(tagged) or tx.one(staged) or tx.one(branch)


_Select = Callable[[Transaction, int, Any, _Condition, _Condition], AnyRow | None]
_SELECTORS: Final[Mapping[type[Any], _Select]] = {
    Active: _active,
    SemverPrefix: _semver,
    LanceVersion: _lance_version,
    ContentHash: _content_hash,
    Label: _label,
}


def _missing(tx: Transaction, resource: int, name: ResourceName) -> NotFound | NotActive:
    plain = f"{name.type}/{name.name}"
    if isinstance(name.selector, Active):
        columns = (_V.major, _V.minor, _V.patch)
        highest = sa.select(*columns).where(_V.resource_id == resource, _MAIN, _IN_USE).order_by(*_NEWEST).limit(1)
        newest = tx.one(highest)
        version = "VERSION" if newest is None else semver_text(*newest)
        return NotActive(
            f"{plain} has no active version: make one active with `alluxio-lance activate {plain} {version}`"
        )
    if isinstance(name.selector, Label):
        return NotFound(
            f"{plain} has no stage, tag or branch named {name.selector.text!r}: give a version, see `alluxio-lance show {plain}`"
        )
    return NotFound(f"{plain} has no {_words(name.selector)}: see `alluxio-lance show {plain}`")


def _words(selector: Selector) -> str:
    if isinstance(selector, SemverPrefix) and selector.patch is None:
        return f"version {selector}.* that is in use"
    return f"version with the content hash {selector}" if isinstance(selector, ContentHash) else f"version {selector}"
