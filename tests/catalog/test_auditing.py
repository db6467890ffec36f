"""The audit trail: what its rows say, and that nobody changes, removes, moves, adds or cuts off one unseen."""

from __future__ import annotations

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from blake3 import blake3

from alluxio_lance.catalog.chain import FIELDS, GENESIS, link
from alluxio_lance.catalog.schema import counters, events
from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import AuditReport, Denial, Fault
from alluxio_lance.values import Outcome, Verb

DENIAL = Denial(
    verb=Verb.DELETE,
    type="datasets",
    name="cifar10",
    actor="eve@node-9",
    message="a viewer may not delete",
    origin="unix:pid=123",
    request_id="r-9",
    semver="1.0.0",
)


@pytest.fixture
def trail(desk):
    """Six rows about one resource."""
    for patch in range(6):
        desk.add(f"1.0.{patch}")
    return desk.catalog


def execute(catalog, *statements) -> None:
    """Change the database behind the catalog's back."""
    with catalog.engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement) if isinstance(statement, str) else statement)


def found(catalog) -> tuple[Fault, int] | None:
    """Check the trail; tell kind and place of the first fault."""
    fault = catalog.verify_audit().fault
    return None if fault is None else (fault.kind, fault.sequence)


def test_an_intact_trail_has_no_fault(trail):
    """All rows are checked, and the report has the head that somebody may keep elsewhere."""
    last = trail.events()[-1]
    assert trail.verify_audit() == AuditReport(rows=6, head=6, head_hash=last.hash, fault=None)


def test_an_empty_trail_has_no_fault(catalog):
    """Nothing was written, nothing is missing."""
    assert catalog.verify_audit() == AuditReport(rows=0, head=0, head_hash=GENESIS, fault=None)


def test_a_row_says_who_what_from_where_and_upon_which_request(catalog, desk):
    """The request id is that of the operation, the origin that of the change."""
    operation = desk.operation(request_id="r-1")
    catalog.begin(operation)
    change = desk.change(location="datasets/cifar10.lance", draft=desk.draft("1.0.0"), origin="unix:pid=123")
    catalog.commit(operation.id, change, locked=False)
    (event,) = catalog.events()
    assert (event.actor, event.origin, event.request_id, event.outcome) == (
        "ada@node-1",
        "unix:pid=123",
        "r-1",
        Outcome.DONE,
    )
    assert event.hash == link(GENESIS, {field: getattr(event, field) for field in FIELDS})


def test_a_denied_call_is_a_row_that_watchers_do_not_see(trail, clock):
    """It is part of the chain, changes nothing, and comes only to those who ask for denied calls."""
    before = trail.resource("datasets", "cifar10")
    clock.advance(1)
    trail.deny(DENIAL)
    assert trail.resource("datasets", "cifar10") == before
    assert (trail.last_event(), len(trail.events())) == (6, 6)
    (denied,) = trail.events(outcome=Outcome.DENIED)
    assert (denied.sequence, denied.at, denied.actor, denied.message) == (7, clock.now, "eve@node-9", DENIAL.message)
    assert (denied.origin, denied.request_id, denied.semver, denied.operation) == ("unix:pid=123", "r-9", "1.0.0", "")
    assert found(trail) is None
    execute(trail, "DELETE FROM events WHERE sequence = 7")
    assert found(trail) == (Fault.TRUNCATED, 7)


def test_a_denied_call_with_unfit_text_is_written_all_the_same(trail):
    """Who is refused cannot keep the row out by the words that were used."""
    trail.deny(Denial(verb=Verb.UPDATE, type="t" * 999, name="a\0b", actor="x" * 999, message="no\udc80"))
    (denied,) = trail.events(outcome=Outcome.DENIED)
    assert (len(denied.type), denied.name, len(denied.actor), denied.message) == (200, "a\ufffdb", 500, "no\ufffd")
    assert found(trail) is None


FORGED = {
    "at": "2026-01-02 03:04:05.678900",
    "verb": "rollback",
    "type": "datasetz",
    "name": "cifar11",
    "actor": "adb@node-1",
    "origin": "x",
    "operation": "f" * 32,
    "request_id": "r",
    "outcome": "denied",
    "before": None,
    "after": "1.0.2+00000004",
    "semver": "1.0.9",
    "message": "becausf",
    "hash": "f" * 64,
}


@pytest.mark.parametrize(("field", "forged"), FORGED.items())
def test_a_changed_field_is_found_and_located(trail, field, forged):
    """Whatever field of whatever row: the first, one in the middle, the last."""
    name = _quoted(trail, field)
    with trail.engine.connect() as connection:
        kept = connection.execute(sa.text(f"SELECT sequence, {name} FROM events")).all()
    for sequence, value in [row for row in sorted(kept) if row[0] in (1, 3, 6)]:
        # The first row has no version before it.
        new = "0.9.0+00000000" if field == "before" and sequence == 1 else forged
        execute(trail, f"UPDATE events SET {name} = {_literal(new)} WHERE sequence = {sequence}")
        report = trail.verify_audit()
        assert (report.fault.kind, report.fault.sequence, report.rows) == (Fault.CHANGED, sequence, sequence - 1)
        execute(trail, f"UPDATE events SET {name} = {_literal(value)} WHERE sequence = {sequence}")
        assert found(trail) is None


def _literal(value: object) -> str:
    """Write a value so that each database reads it as what its column holds."""
    return "NULL" if value is None else f"'{value}'"


def _quoted(catalog, name: str) -> str:
    return catalog.engine.dialect.identifier_preparer.quote(name)


def test_the_fields_that_are_forged_above_are_all_fields():
    """No column of the table is left out of the test, and none but the hash out of the chain."""
    assert {"sequence", *FORGED} == {column.name for column in events.columns} == {*FIELDS, "hash"}


@pytest.mark.parametrize(
    ("statements", "kind", "place"),
    [
        (["DELETE FROM events WHERE sequence = 1"], Fault.REMOVED, 1),
        (["DELETE FROM events WHERE sequence = 4"], Fault.REMOVED, 4),
        (["DELETE FROM events WHERE sequence IN (3, 4, 5)"], Fault.REMOVED, 3),
        (["DELETE FROM events WHERE sequence = 6"], Fault.TRUNCATED, 6),
        (["DELETE FROM events WHERE sequence > 2"], Fault.TRUNCATED, 3),
        (["DELETE FROM events"], Fault.TRUNCATED, 1),
        # The last one removed, and the number set back: the hash of the head still tells.
        (["DELETE FROM events WHERE sequence = 6", "UPDATE counters SET value = 5"], Fault.CHANGED, 5),
        (["UPDATE counters SET value = 4"], Fault.INSERTED, 5),
        ([sa.update(counters).values(hash="0" * 64)], Fault.CHANGED, 6),
        (["DELETE FROM counters"], Fault.TRUNCATED, 0),
        # Row 4 removed, and the gap closed.
        (
            [
                "DELETE FROM events WHERE sequence = 4",
                "UPDATE events SET sequence = 4 WHERE sequence = 5",
                "UPDATE events SET sequence = 5 WHERE sequence = 6",
                "UPDATE counters SET value = 5",
            ],
            Fault.CHANGED,
            4,
        ),
        (["UPDATE events SET sequence = 9 WHERE sequence = 3"], Fault.REORDERED, 3),
        (["UPDATE events SET sequence = 0 WHERE sequence = 3"], Fault.INSERTED, 0),
    ],
)
def test_a_missing_or_cut_trail_is_found_and_located(trail, statements, kind, place):
    """One row or several, in the middle or at the end, with or without traces swept."""
    execute(trail, *statements)
    assert found(trail) == (kind, place)


@pytest.mark.parametrize(("one", "other"), [(2, 3), (2, 5), (1, 6), (5, 6)])
def test_swapped_rows_are_found_and_located(trail, one, other):
    """Neighbours or not, the first of the two places is named, and where its row went."""
    execute(
        trail,
        f"UPDATE events SET sequence = 99 WHERE sequence = {one}",
        f"UPDATE events SET sequence = {one} WHERE sequence = {other}",
        f"UPDATE events SET sequence = {other} WHERE sequence = 99",
    )
    report = trail.verify_audit()
    assert (report.fault.kind, report.fault.sequence) == (Fault.REORDERED, one)
    assert report.fault.found == f"row {other} in its place, and it in place {other}"


def _copy(catalog, place: int, **changes) -> None:
    """Insert a row like the second one at a place, chained as a forger would."""
    with catalog.engine.begin() as connection:
        rows = connection.execute(sa.select(events).where(events.c.sequence.in_([2, place - 1]))).mappings()
        by_number = {row["sequence"]: dict(row) for row in rows}
        forged = {**by_number[2], "sequence": place, "message": "forged", **changes}
        forged["hash"] = link(by_number[place - 1]["hash"], forged)
        connection.execute(sa.insert(events), forged)


def test_an_inserted_row_is_found_and_located(trail):
    """In the middle, where the rows behind it had to move, and behind the last one with a right hash."""
    _copy(trail, 7)
    assert found(trail) == (Fault.INSERTED, 7)
    execute(trail, "DELETE FROM events WHERE sequence = 7")
    for sequence in (6, 5, 4):
        execute(trail, f"UPDATE events SET sequence = {sequence + 1} WHERE sequence = {sequence}")
    _copy(trail, 4)
    execute(trail, "UPDATE counters SET value = 7")
    assert found(trail) == (Fault.INSERTED, 4)
    execute(trail, sa.update(events).where(events.c.sequence == 4).values(hash="f" * 64))
    assert found(trail) == (Fault.INSERTED, 4)


def test_without_its_counter_nothing_is_written(trail, desk):
    """A verb does not go on without its audit row."""
    execute(trail, "DELETE FROM counters")
    with pytest.raises(Corrupt, match="counter of audit rows is gone"):
        desk.add("2.0.0")
    assert trail.resource("datasets", "cifar10").versions == 6


def test_pages_are_checked_as_one_trail(catalog):
    """10,000 rows are verified in less than 5 seconds, and a fault far behind is found."""
    with catalog.engine.begin() as connection:
        hash, rows = GENESIS, []
        for number in range(1, 10_001):
            row = {"sequence": number, "at": catalog._clock(), "verb": "update", "type": "datasets", "name": "x"}
            row |= {"actor": "a", "origin": "", "operation": "0" * 32, "request_id": None, "outcome": "done"}
            row |= {"before": None, "after": None, "semver": "1.0.0", "message": f"number {number}"}
            hash = link(hash, row)
            rows.append({**row, "hash": hash})
        connection.execute(sa.insert(events), rows)
        connection.execute(sa.update(counters).values(value=10_000, hash=hash))
    # Of this process alone: whatever else the machine does.
    begun = time.process_time()
    report = catalog.verify_audit()
    took = time.process_time() - begun
    assert (report.rows, report.fault) == (10_000, None)
    assert took < 5
    execute(catalog, "UPDATE events SET name = 'X' WHERE sequence = 7654")
    assert found(catalog) == (Fault.CHANGED, 7654)


def test_writers_go_on_while_the_trail_is_checked(trail, desk):
    """A row that comes in between is neither taken for a forged one nor missed."""
    done = threading.Event()

    def write() -> None:
        for number in range(30):
            desk.add("1.0.0", f"other{number}")
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        faults = {found(trail)}
        while not done.is_set() and not writing.done():
            faults.add(found(trail))
        writing.result()
    assert faults == {None}
    assert trail.verify_audit().head == 36


def test_an_export_can_be_verified_by_anybody(trail):
    """Each line is JSON with the row's fields and its hash, which follow the rule in chain.py."""
    trail.deny(DENIAL)
    out = io.StringIO()
    assert trail.export_audit(out) == 7
    previous = "0" * 64
    for line in out.getvalue().splitlines():
        row = json.loads(line)
        hash = row.pop("hash")
        text = json.dumps(row, sort_keys=True, separators=(",", ":"))
        assert blake3((previous + text).encode()).hexdigest() == hash
        previous = hash
    assert previous == trail.verify_audit().head_hash
    assert json.loads(out.getvalue().splitlines()[0])["at"] == "2026-01-02T03:04:05.678901+00:00"
