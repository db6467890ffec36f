"""Which versions list which files, so that what is recorded of a file goes when the last version that lists it goes.

A file is listed by one or a few ranges of the Lance versions of a line (the main one, or a branch): from the version
that brought it in to the last one that had it. A range whose end is not known yet ends at `_OPEN`. So a new version
writes only how it differs from the one before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.schema import file_spans, files, versions
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.lifecycle.ports import Draft

__all__ = ["forget_files", "remember_files"]

_S, _F, _V = file_spans.c, files.c, versions.c
_OPEN: Final = 2**63 - 1
_AT_ONCE: Final = 500
"""Paths in one IN: SQLite's limit was 999 for long."""


def remember_files(tx: Transaction, resource: int, draft: Draft) -> None:
    """Record which files a new version lists. The caller has locked the resource's row."""
    number, listed = draft.snapshot.version, {file.path for file in draft.snapshot.files}
    of_line = sa.and_(_S.resource_id == resource, _S.branch == draft.branch)
    is_open = sa.and_(of_line, _S.last == _OPEN)
    spans = {row.path: row.first for row in tx.all(sa.select(_S.path, _S.first).where(is_open))}
    if spans and max(spans.values()) >= number:
        # Not behind the version before, which nothing of ours does: a range of its own for each file is right anyhow.
        _insert(tx, resource, draft, listed, last=number)
        return
    for some in _chunks(spans.keys() - listed):
        tx.change(sa.update(file_spans).where(is_open, _S.path.in_(some)).values(last=number - 1))
    _insert(tx, resource, draft, listed - spans.keys(), last=_OPEN)


def _insert(tx: Transaction, resource: int, draft: Draft, paths: Collection[str], *, last: int) -> None:
    line = {"resource_id": resource, "branch": draft.branch, "first": draft.snapshot.version, "last": last}
    if rows := [{**line, "path": path} for path in sorted(paths)]:
        tx.run(sa.insert(file_spans), rows)


def _chunks(paths: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(paths)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def forget_files(tx: Transaction, resource: int) -> None:
    """Remove what is recorded of files that no version of the resource lists any more."""
    is_listed = sa.exists().where(
        _V.resource_id == resource, _V.branch == _S.branch, _V.lance_version.between(_S.first, _S.last)
    )
    of_resource = _S.resource_id == resource
    tx.change(sa.delete(file_spans).where(of_resource, ~is_listed.correlate(file_spans)))
    has_span = sa.exists().where(of_resource, _S.path == _F.path).correlate(files)
    tx.change(sa.delete(files).where(_F.resource_id == resource, ~has_span))
