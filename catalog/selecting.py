"""Which version a selector means, and the sentence when there is none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.rows import VERSIONS, active_of, resource_id, semver_text
from alluxio_lance.catalog.schema import pointers, resources, versions
from alluxio_lance.catalog.transactions import AnyQuery, AnyRow, Transaction
from alluxio_lance.errors import NotActive, NotFound
from alluxio_lance.lifecycle.uri import Active, ContentHash, Label, LanceVersion, ResourceName, Selector, SemverPrefix
from alluxio_lance.values import State

__all__ = ["require_resource", "select", "unknown_resource"]

_V = versions.c
_NEIGHBOURS: Final = 500
_EXISTS: Final = _V.state != State.DELETED
_IN_USE: Final = _V.state.not_in([State.ARCHIVED, State.DELETED])
_NEWEST: Final = (_V.major.desc(), _V.minor.desc(), _V.patch.desc())


def require_resource(tx: Transaction, type: str, name: str) -> int:
    """Find a resource that is not being deleted.

    Raises
    ------
    NotFound
        With the names that look like it.
    """
    found = resource_id(tx, type, name)
    if found is None:
        raise unknown_resource(tx, type, name)
    return found


def unknown_resource(tx: Transaction, type: str, name: str) -> NotFound:
    """Build the error that names what the caller may have meant."""
    names = [row.name for query in _neighbours(type, name) for row in tx.all(query)]
    close = [f"{type}/{near}" for near in difflib.get_close_matches(name, names)]
    hint = f"did you mean {' or '.join(close)}? See" if close else "see"
    return NotFound(f"there is no {type}/{name}: {hint} `alluxio-lance list`", similar=close)


def _neighbours(type: str, name: str) -> tuple[AnyQuery, AnyQuery]:
    """Select the names around one, in their order: to compare it with a million takes long, and few mistype the start."""
    columns = resources.c
    known = sa.select(columns.name).where(columns.type == type, columns.hidden.is_(False)).limit(_NEIGHBOURS)
    return (
        known.where(columns.name < name).order_by(columns.name.desc()),
        known.where(columns.name >= name).order_by(columns.name),
    )


def select(tx: Transaction, name: ResourceName) -> AnyRow:
    """Find the row of `VERSIONS` that a name means.

    Raises
    ------
    NotFound
        When there is no such resource or version.
    NotActive
        When the active version is asked for, and there is none.
    """
    resource = require_resource(tx, name.type, name.name)
    row = _SELECTORS[type(name.selector)](tx, resource, name.selector)
    if row is None:
        raise _missing(tx, resource, name)
    return row


def _active(tx: Transaction, resource: int, _: Active) -> AnyRow | None:
    return active_of(tx, resource)


def _semver(tx: Transaction, resource: int, selector: SemverPrefix) -> AnyRow | None:
    query = VERSIONS.where(_V.resource_id == resource, _V.major == selector.major)
    if selector.minor is not None:
        query = query.where(_V.minor == selector.minor)
    if selector.patch is not None:
        # A whole version means that one, also when it is archived.
        return tx.one(query.where(_V.patch == selector.patch, _EXISTS))
    return tx.one(query.where(_IN_USE).order_by(*_NEWEST).limit(1))


def _lance_version(tx: Transaction, resource: int, selector: LanceVersion) -> AnyRow | None:
    return tx.one(VERSIONS.where(_V.resource_id == resource, _V.lance_version == selector.number, _EXISTS))


def _content_hash(tx: Transaction, resource: int, selector: ContentHash) -> AnyRow | None:
    # "g" follows the last hexadecimal digit: a range of an index on every database, which LIKE is not.
    first, end = selector.prefix, f"{selector.prefix}g"
    query = VERSIONS.outerjoin(pointers, pointers.c.version_id == _V.id).where(
        _V.resource_id == resource, _V.content_hash >= first, _V.content_hash < end, _EXISTS
    )
    active_first = sa.case((pointers.c.version_id.is_(None), 1), else_=0)
    return tx.one(query.order_by(active_first, _V.lance_version.desc()).limit(1))


_SELECTORS: Final[Mapping[type[Any], Callable[[Transaction, int, Any], AnyRow | None]]] = {
    Active: _active,
    SemverPrefix: _semver,
    LanceVersion: _lance_version,
    ContentHash: _content_hash,
    # Nothing can be named yet.
    Label: lambda tx, resource, selector: None,  # noqa: ARG005 - the shape of a selector
}


def _missing(tx: Transaction, resource: int, name: ResourceName) -> NotFound | NotActive:
    plain = f"{name.type}/{name.name}"
    if isinstance(name.selector, Active):
        newest = tx.one(
            sa.select(_V.major, _V.minor, _V.patch)
            .where(_V.resource_id == resource, _IN_USE)
            .order_by(*_NEWEST)
            .limit(1)
        )
        version = "VERSION" if newest is None else semver_text(*newest)
        return NotActive(
            f"{plain} has no active version: make one active with `alluxio-lance activate {plain} {version}`"
        )
    if isinstance(name.selector, Label):
        return NotFound(
            f"{plain} has no stage or tag named {name.selector.text!r}: give a version, see `alluxio-lance show {plain}`"
        )
    return NotFound(f"{plain} has no {_words(name.selector)}: see `alluxio-lance show {plain}`")


def _words(selector: Selector) -> str:
    if isinstance(selector, SemverPrefix) and selector.patch is None:
        return f"version {selector}.* that is in use"
    return f"version with the content hash {selector}" if isinstance(selector, ContentHash) else f"version {selector}"
