"""The audit trail is checked and exported here: what was changed behind the catalog's back is found and located."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import sqlalchemy as sa

from alluxio_lance.catalog.chain import FIELDS, GENESIS, canonical, link
from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import counters, events
from alluxio_lance.catalog.text import trimmed
from alluxio_lance.catalog.trail import HEAD, add_event
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.ports import AuditFault, AuditReport, Denial, Fault
from alluxio_lance.values import Outcome

__all__ = ["Auditing"]

_E = events.c
_PAGE: Final = 1000
_FIRST: Final = -(2**63)
"""Below every number that a forged row could have."""
_STORED: Final = "%Y-%m-%d %H:%M:%S.%f"
"""How SQLite keeps a moment."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Head:
    """The last row that the catalog wrote, as its counter remembers it."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class _Good:
    """The last row that was checked and found intact."""

    sequence: int
    hash: str
    before: str
    """The hash of the row before it."""


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows behind a number, and the head at the same moment."""

    head: _Head | None
    rows: list[Row]
    unreadable: tuple[int, str] | None = None
    """The row behind them that cannot be read, and why."""


class Auditing(Transactions):
    """The part of the catalog that keeps the audit trail honest."""

    def deny(self, denial: Denial) -> None:
        """Write an audit row about a call that was refused."""
        row = {
            "verb": denial.verb,
            "type": trimmed(denial.type, 200),
            "name": trimmed(denial.name, 200),
            "actor": trimmed(denial.actor, LONGEST),
            "origin": trimmed(denial.origin, LONGEST),
            "operation": "",
            "request_id": None if denial.request_id is None else trimmed(denial.request_id, 200),
            "outcome": Outcome.DENIED,
            "before": None,
            "after": None,
            "semver": None if denial.semver is None else trimmed(denial.semver, 120),
            "message": trimmed(denial.message, 10_000),
        }
        # Not tried again when the answer to the commit was lost: it might be written twice.
        self._write_once(lambda tx: add_event(tx, row))

    def verify_audit(self) -> AuditReport:
        """Check every audit row against the chain, page by page; writers go on meanwhile.

        Returns
        -------
        AuditReport
            With the first fault, if there is one: which row, what was expected and what was found there.
        """
        good, after = _Good(0, GENESIS, GENESIS), _FIRST
        while True:
            page = self._page(after)
            head = page.head
            if head is None:
                gone = _fault(Fault.TRUNCATED, 0, "a counter of the audit rows", "none")
                return AuditReport(rows=good.sequence, head=0, head_hash="", fault=gone)
            for row in page.rows:
                if (fault := self._fault_of(row, good, head)) is not None:
                    return _report(good, head, fault)
                good, after = _Good(row["sequence"], row["hash"], good.hash), row["sequence"]
            if page.unreadable is not None:
                sequence, why = page.unreadable
                return _report(good, head, _fault(Fault.CHANGED, sequence, _row(sequence), f"unreadable: {why}"))
            if not page.rows:
                return _report(good, head, _fault_of_end(good, head))

    def export_audit(self, out: TextIO) -> int:
        """Write every audit row as a line of JSON with its hash, oldest first.

        Returns
        -------
        int
            How many lines were written.
        """
        count = 0
        for row in self._rows(_FIRST):
            out.write(json.dumps(canonical(row) | {"hash": row["hash"]}, ensure_ascii=False) + "\n")
            count += 1
        return count

    def _rows(self, after: int) -> Iterator[Row]:
        """Yield the rows behind a number, up to the first that cannot be read."""
        while (page := self._page(after)).rows:
            yield from page.rows
            after = page.rows[-1]["sequence"]

    def _page(self, after: int) -> _Page:
        """Read a page; where a row cannot be read, what stands before it."""
        size = _PAGE
        while True:
            try:
                return self._read(lambda tx, size=size: _page(tx, after, size))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            except (AlluxioLanceError, ValueError, TypeError) as error:
                if size > 1:
                    size //= 2
                    continue
                # When not even the bare number can be read, it is the database that is at fault: then this raises.
                sequence, head = self._read(lambda tx: (_next_sequence(tx, after), _head(tx)))
                if sequence is None:
                    raise
                return _Page(head, [], (sequence, str(error)))

    def _fault_of(self, row: Row, good: _Good, head: _Head) -> AuditFault | None:
        """Compare a row with what must follow upon the last good one."""
        sequence, wanted = row["sequence"], good.sequence + 1
        if sequence < wanted or wanted > head.sequence:
            return _fault(Fault.INSERTED, sequence, _rows_of(head), f"one more, {_words(row)}")
        if sequence == wanted and _fits(good.hash, row, wanted):
            return None
        if sequence == wanted and _fits(good.before, row, good.sequence):
            # Whoever puts a row in between can compute its hash, but not that of the rows behind it.
            return _fault(Fault.INSERTED, good.sequence, f"what stands in place {wanted}", "a row before it")
        moved = self._search(wanted, good.hash)
        if sequence > wanted:
            if moved is None:
                return _fault(Fault.REMOVED, wanted, _row(wanted), f"row {sequence} next: {_words(row)}")
            return _fault(Fault.REORDERED, wanted, _row(wanted), f"it has the number {moved}")
        if moved is None:
            expected = f"a row with the hash {row['hash']} behind row {good.sequence}"
            return _fault(Fault.CHANGED, wanted, expected, _words(row, good.hash))
        if self._is_genuine(row, wanted, moved):
            return _fault(Fault.REORDERED, wanted, _row(wanted), f"row {moved} in its place, and it in place {moved}")
        return _fault(Fault.INSERTED, wanted, f"{_row(wanted)}, which stands in place {moved}", _words(row, good.hash))

    def _search(self, wanted: int, hash: str) -> int | None:
        """Find where a row went that should follow upon a hash."""
        for row in self._rows(wanted - 1):
            if _fits(hash, row, wanted):
                return int(row["sequence"])
        return None

    def _is_genuine(self, row: Row, place: int, moved: int) -> bool:
        """Tell whether a row was written for the place that the row which belongs here has taken."""
        # When both are neighbours the row that belongs here is the one before; its hash stands in the other place.
        before = moved if moved == place + 1 else moved - 1
        previous = next(self._rows(before - 1), None)
        return previous is not None and _fits(previous["hash"], row, moved)


def _page(tx: Transaction, after: int, size: int) -> _Page:
    # One statement is one snapshot on every database: between two a writer may add a row.
    columns = [sa.type_coerce(column, sa.String()).label("at") if column is _E.at else column for column in _E]
    some = sa.select(*columns).where(_E.sequence > after).order_by(_E.sequence).limit(size).subquery()
    joined = sa.select(counters.c.value.label("head"), counters.c.hash.label("head_hash"), some)
    query = joined.select_from(counters.outerjoin(some, sa.true())).where(HEAD).order_by(some.c.sequence)
    found = tx.run(query).mappings().all()
    if not found:
        return _Page(None, [])
    head = _Head(found[0]["head"], found[0]["head_hash"])
    return _Page(head, [_exact(dict(row)) for row in found if row["sequence"] is not None])


def _exact(row: Row) -> Row:
    """Read the moment strictly: SQLite keeps it as text, and more than one text reads as the same moment."""
    raw = row["at"]
    if isinstance(raw, datetime):
        return {**row, "at": raw.replace(tzinfo=UTC)}
    at = datetime.strptime(raw, _STORED).replace(tzinfo=UTC)
    if at.strftime(_STORED) != raw:
        raise ValueError(f"{raw!r} is no moment as the catalog writes them")
    return {**row, "at": at}


def _next_sequence(tx: Transaction, after: int) -> int | None:
    found: int | None = tx.value(sa.select(_E.sequence).where(_E.sequence > after).order_by(_E.sequence).limit(1))
    return found


def _head(tx: Transaction) -> _Head | None:
    row = tx.one(sa.select(counters.c.value, counters.c.hash).where(HEAD))
    return None if row is None else _Head(row.value, row.hash)


def _fits(previous: str, row: Row, sequence: int) -> bool:
    """Tell whether a row was written with this number behind the row with this hash."""
    try:
        return bool(link(previous, {**row, "sequence": sequence}) == row["hash"])
    except TypeError:
        # Bytes where text should be.
        return False


def _fault_of_end(good: _Good, head: _Head) -> AuditFault | None:
    if good.sequence < head.sequence:
        found = f"{good.sequence}: the others are gone"
        return _fault(Fault.TRUNCATED, good.sequence + 1, _rows_of(head), found)
    if good.hash != head.hash:
        expected = f"the hash {good.hash} in the counter of the audit rows"
        return _fault(Fault.CHANGED, good.sequence, expected, head.hash)
    return None


def _fault(kind: Fault, sequence: int, expected: str, found: str) -> AuditFault:
    return AuditFault(kind=kind, sequence=sequence, expected=expected, found=found)


def _report(good: _Good, head: _Head, fault: AuditFault | None) -> AuditReport:
    return AuditReport(rows=good.sequence, head=head.sequence, head_hash=head.hash, fault=fault)


def _rows_of(head: _Head) -> str:
    return f"{head.sequence} rows, as the counter has it"


def _row(sequence: int) -> str:
    return f"row {sequence} as it was written"


def _words(row: Row, previous: str | None = None) -> str:
    """Say what a row tells, and which hash its content has."""
    said = " ".join(f"{field}={row[field]!r}" for field in FIELDS if field not in ("sequence", "at", "operation"))
    if previous is None:
        return said
    try:
        return f"{link(previous, row)}: {said}"
    except TypeError:
        return said
