"""How what was written to a table becomes the next version of a line: numbered, hashed, committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alluxio_lance.errors import Internal
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.ports import Change, Draft, Store, Write
from alluxio_lance.lifecycle.versioning import Triple, chosen_version, natural_bump, next_version
from alluxio_lance.lifecycle.writing.leftovers import Leftovers
from alluxio_lance.lifecycle.writing.line import Line, triple_of
from alluxio_lance.manager import Bump, Mode, OnProgress
from alluxio_lance.values import Version

__all__ = ["Adder", "Addition", "committed", "semver_text", "write_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What comes in on a line, beside its rows."""

    base: Version
    """The version that it continues from."""
    mode: Mode | None
    bump: Bump | None
    version: str | None = None
    message: str
    metadata: Mapping[str, Any]
    provenance: Mapping[str, Any]
    activate: bool


class Adder:
    """Adds versions to lines, over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store, leftovers: Leftovers) -> None:
        self._catalog = journal.catalog
        self._store = store
        self._leftovers = leftovers

    def number(self, line: Line, addition: Addition, schema: pa.Schema | None) -> tuple[Triple, int]:
        """Choose the semantic version, and on a branch the number behind its name.

        Parameters
        ----------
        schema
            Of the rows that come in; None when there are none.

        Raises
        ------
        AlreadyExists, InvalidArgument
            When the version that the caller chose is taken, or would be too high.
        """
        if line.branch:
            return triple_of(addition.base), line.next_serial
        if addition.version:
            return chosen_version(addition.version, line.taken), 0
        old = _schema(addition.base.schema)
        new = schema if schema is not None and addition.mode == "overwrite" else old
        bump = addition.bump or natural_bump(addition.mode, old, new)
        return next_version(triple_of(addition.base), bump, line.taken), 0

    def add(
        self, running: Running, line: Line, addition: Addition, number: int, on_progress: OnProgress | None
    ) -> Version:
        """Make a version of what lies in the table under a Lance number."""
        operation = running.operation
        known = self._catalog.known_files(line.type, line.name)
        snapshot = self._store.snapshot(line.location, number, known, on_progress)
        running.step("hashed")
        self._leftovers.sweep(line, operation)
        triple, serial = self.number(line, addition, _schema(snapshot.schema))
        draft = Draft(
            semver=triple,
            branch=line.branch,
            serial=serial,
            snapshot=snapshot,
            message=addition.message,
            metadata=addition.metadata,
            provenance=addition.provenance,
        )
        text = semver_text(triple, line.branch, serial)
        change = Change(
            verb=operation.verb,
            type=line.type,
            name=line.name,
            actor=operation.actor,
            message=addition.message,
            about=text,
            draft=draft,
            activate=text if addition.activate and not line.branch else None,
            base=line.active_semver,
        )
        return committed(self._catalog.commit(running.id, change, locked=True))


def committed(version: Version | None) -> Version:
    """Insist on the version that a commit of a draft returns."""
    if version is None:
        raise Internal("the catalog committed a draft and returned no version")
    return version


def write_of(running: Running, message: str, on_progress: OnProgress | None) -> Write:
    """Write as an operation."""
    return Write(operation=running.id, actor=running.operation.actor, message=message, on_progress=on_progress)


def semver_text(triple: Triple, branch: str = "", serial: int = 0) -> str:
    """Write a semantic version, ``1.4.0``, or ``1.4.0-exp.3`` on a branch."""
    plain = ".".join(map(str, triple))
    return f"{plain}-{branch}.{serial}" if branch else plain


def _schema(message: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(message))
