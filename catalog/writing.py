"""A new version comes in: its row, and the hashes of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import branches, files, versions
from alluxio_lance.catalog.semver import draft_text, semver_is, semver_text
from alluxio_lance.catalog.spans import remember_files
from alluxio_lance.catalog.text import checked, checked_json
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.errors import AlreadyExists, NotFound
from alluxio_lance.lifecycle.ports import Draft, StoredFile
from alluxio_lance.values import State

__all__ = ["add_draft"]

_V, _F, _B = versions.c, files.c, branches.c
_AT_ONCE: Final = 500
"""Paths in one IN: SQLite's limit was 999 for long."""


def add_draft(tx: Transaction, resource: int, operation: str, actor: str, draft: Draft) -> None:
    """Insert a version, registered, and the files that are not known yet. The caller has locked the resource's row.

    Raises
    ------
    AlreadyExists
        When the semantic version, or the Lance version, is taken.
    NotFound
        When its branch is not there.
    InvalidArgument
        When metadata or provenance are no JSON.
    """
    _check_branch(tx, resource, draft)
    _check_free(tx, resource, draft)
    major, minor, patch = draft.semver
    row = {
        "resource_id": resource,
        "major": major,
        "minor": minor,
        "patch": patch,
        "lance_version": draft.snapshot.version,
        "content_hash": draft.snapshot.content_hash,
        "state": State.REGISTERED,
        "num_rows": draft.snapshot.num_rows,
        "num_bytes": draft.snapshot.num_bytes,
        "arrow_schema": draft.snapshot.schema,
        "message": checked("the message", draft.message),
        "metadata": checked_json("metadata", draft.metadata),
        "provenance": checked_json("provenance", draft.provenance),
        "created_at": tx.now,
        "created_by": actor,
        "operation": operation,
        "branch": draft.branch,
        "serial": draft.serial,
    }
    tx.run(sa.insert(versions), row)
    for some in _chunks(draft.snapshot.files):
        _remember(tx, resource, some)
    remember_files(tx, resource, draft)


def _check_branch(tx: Transaction, resource: int, draft: Draft) -> None:
    of_resource = sa.select(_B.name).where(_B.resource_id == resource, _B.name == draft.branch)
    if draft.branch and tx.value(of_resource) is None:
        raise NotFound(f"there is no branch {draft.branch!r} any more: make it anew, or choose another")


def _check_free(tx: Transaction, resource: int, draft: Draft) -> None:
    text = draft_text(draft)
    same_number = sa.and_(_V.branch == draft.branch, _V.lance_version == draft.snapshot.version)
    numbers = (_V.major, _V.minor, _V.patch, _V.branch, _V.serial)
    query = sa.select(_V.lance_version, *numbers).where(_V.resource_id == resource)
    if (taken := tx.one(query.where(sa.or_(semver_is(text), same_number)))) is not None:
        number, *parts = taken
        raise AlreadyExists(
            f"version {text} (Lance version {draft.snapshot.version}) cannot be added: "
            f"{semver_text(*parts)} (Lance version {number}) has its number; choose another version"
        )


def _chunks(all_files: Sequence[StoredFile]) -> Iterator[Sequence[StoredFile]]:
    for start in range(0, len(all_files), _AT_ONCE):
        yield all_files[start : start + _AT_ONCE]


def _remember(tx: Transaction, resource: int, some: Sequence[StoredFile]) -> None:
    """Write the files that are new or differ; most files of a version are those of the one before."""
    paths = [file.path for file in some]
    stored = sa.select(_F.path, _F.size, _F.hash).where(_F.resource_id == resource, _F.path.in_(paths))
    known = {path: (size, hash) for path, size, hash in tx.all(stored)}
    fresh = {file.path: file for file in some if known.get(file.path) != (file.size, file.hash)}
    if outdated := sorted(fresh.keys() & known.keys()):
        tx.change(sa.delete(files).where(_F.resource_id == resource, _F.path.in_(outdated)))
    rows = [
        {"resource_id": resource, "path": checked("a file's path", path, LONGEST), "size": file.size, "hash": file.hash}
        for path, file in sorted(fresh.items())
    ]
    if rows:
        tx.run(sa.insert(files), rows)
