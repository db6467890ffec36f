"""A new version comes in: its row, and the hashes of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.rows import semver_text
from alluxio_lance.catalog.schema import files, resources, versions
from alluxio_lance.catalog.text import checked, checked_json
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.errors import AlreadyExists
from alluxio_lance.lifecycle.ports import Draft, StoredFile
from alluxio_lance.values import State

__all__ = ["add_draft"]

_V, _F, _R = versions.c, files.c, resources.c
_AT_ONCE: Final = 500
"""Paths in one IN: SQLite's limit was 999 for long."""


def add_draft(tx: Transaction, resource: int, operation: str, actor: str, draft: Draft) -> None:
    """Insert a version, registered, and the files that are not known yet. The caller has locked the resource's row.

    Raises
    ------
    AlreadyExists
        When the semantic version, or the Lance version, is taken.
    InvalidArgument
        When metadata or provenance are no JSON.
    """
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
    }
    tx.run(sa.insert(versions), row)
    tx.change(sa.update(resources).where(_R.id == resource).values(version_count=_R.version_count + 1))
    for some in _chunks(draft.snapshot.files):
        _remember(tx, resource, some)


def _check_free(tx: Transaction, resource: int, draft: Draft) -> None:
    major, minor, patch = draft.semver
    same_semver = sa.and_(_V.major == major, _V.minor == minor, _V.patch == patch)
    same_number = _V.lance_version == draft.snapshot.version
    query = sa.select(_V.lance_version, _V.major, _V.minor, _V.patch).where(_V.resource_id == resource)
    if (taken := tx.one(query.where(sa.or_(same_semver, same_number)))) is not None:
        raise AlreadyExists(
            f"version {semver_text(*draft.semver)} (Lance version {draft.snapshot.version}) cannot be added: "
            f"{semver_text(taken.major, taken.minor, taken.patch)} (Lance version {taken.lance_version}) has its number; "
            "choose another version"
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
