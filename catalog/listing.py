"""Resources with all that belongs to them: one, or a page of a list. Labels and branches of a page come in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.folding import folded
from alluxio_lance.catalog.rows import RESOURCES, to_version
from alluxio_lance.catalog.schema import branches, labels, resources, versions
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.transactions import AnyQuery, AnyRow, Transaction
from alluxio_lance.values import Kind, Resource, State

__all__ = ["one_resource", "page_of_resources"]

_R, _V, _L, _B = resources.c, versions.c, labels.c, branches.c
_AT_ONCE: Final = 500
"""Values in one IN: SQLite's limit was 999 for long."""
_OF_ONE: Final[sa.BindParameter[int]] = sa.bindparam("resource")
_NAMED: Final = {
    deleted: RESOURCES.where(_R.type == sa.bindparam("type"), _R.name == sa.bindparam("name"), _R.hidden.is_(deleted))
    for deleted in (False, True)
}
_LABELS: Final = sa.select(_L.name, _L.value).where(_L.resource_id == _OF_ONE).order_by(_L.name)
_LINES: Final = sa.select(_B.name).where(_B.resource_id == _OF_ONE).order_by(_B.name)


def one_resource(tx: Transaction, type: str, name: str, *, deleted: bool) -> Resource | None:
    """Find a resource that is deleted, or that is not."""
    row = tx.one(_NAMED[deleted], {"type": type, "name": name})
    if row is None:
        return None
    of_it = {"resource": row.r_id}
    labels = {pair.name: pair.value for pair in tx.all(_LABELS, of_it)}
    return _to_resource(row, labels, [line.name for line in tx.all(_LINES, of_it)])


def page_of_resources(
    tx: Transaction,
    type: str | None,
    *,
    after: tuple[str, str] | None,
    limit: int | None,
    search: str | None,
    labels: Mapping[str, str] | None,
    deleted: bool,
) -> list[Resource]:
    """List resources sorted by type and name; see `Catalog.resources`.

    Raises
    ------
    InvalidArgument
        When the text to search for, or a label, can be nowhere.
    """
    query = RESOURCES.where(_R.hidden.is_(deleted)).order_by(_R.type, _R.name).limit(limit)
    if type is not None:
        query = query.where(_R.type == type)
    if after is not None:
        query = query.where(_R.name > after[1] if after[0] == type else _follows(*after))
    if search:
        query = query.where(_mentions(checked("the text to search for", search, LONGEST)))
    for name, value in (labels or {}).items():
        query = query.where(_labelled(checked("a label", name), checked("a label's value", value)))
    return _completed(tx, tx.all(query))


def _follows(type: str, name: str) -> sa.ColumnElement[bool]:
    # Not (type, name) > (…): MySQL finds no range of an index in that. The first term is for it too.
    return sa.and_(_R.type >= type, sa.or_(_R.type > type, _R.name > name))


def _mentions(text: str) -> sa.ColumnElement[bool]:
    of_resource = versions.alias("of_resource")
    said = sa.exists().where(
        of_resource.c.resource_id == _R.id,
        of_resource.c.state != State.DELETED,
        folded(of_resource.c.message).contains(text.lower(), autoescape=True),
    )
    return sa.or_(folded(_R.name).contains(text.lower(), autoescape=True), said.correlate(resources))


def _labelled(name: str, value: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(_L.resource_id == _R.id, _L.name == name, _L.value == value).correlate(resources)


def _completed(tx: Transaction, rows: Sequence[AnyRow]) -> list[Resource]:
    ids = [row.r_id for row in rows]
    pairs: dict[int, dict[str, str]] = defaultdict(dict)
    lines: dict[int, list[str]] = defaultdict(list)
    for some in (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)):
        for resource, name, value in tx.all(_of(some, _L.resource_id, _L.name, _L.value)):
            pairs[resource][name] = value
        for resource, name in tx.all(_of(some, _B.resource_id, _B.name)):
            lines[resource].append(name)
    return [_to_resource(row, pairs[row.r_id], lines[row.r_id]) for row in rows]


def _of(ids: Sequence[int], key: sa.Column[int], *columns: sa.Column[Any]) -> AnyQuery:
    return sa.select(key, *columns).where(key.in_(ids)).order_by(key, columns[0])


def _to_resource(row: AnyRow, labels: Mapping[str, str], branches: Sequence[str]) -> Resource:
    return Resource(
        type=row.r_type,
        name=row.r_name,
        kind=Kind(row.r_kind),
        active=None if row.v_id is None else to_version(row),
        versions=row.r_version_count,
        created_at=row.r_created_at,
        updated_at=row.r_updated_at,
        labels=labels,
        branches=tuple(branches),
        purge_at=row.r_purge_at,
    )
