"""One flipped byte in the file of an SQLite catalog, in each field of an audit row: found and located, readable or not."""

from __future__ import annotations

import sqlite3

import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.catalog.schema import events
from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.ports import Fault

TEXTS = [column.name for column in events.columns if column.name not in ("sequence", "request_id")]


@pytest.fixture
def catalog_url(tmp_path) -> str:
    """A file whose bytes can be flipped."""
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.mark.parametrize("bit", [0x01, 0x80])
@pytest.mark.parametrize("field", TEXTS)
def test_a_flipped_byte_is_found_and_located(catalog, desk, tmp_path, field, bit):
    """Another letter, or no text at any more: the row is named."""
    for patch in range(4):
        change = desk.change(
            location="datasets/cifar10.lance", draft=desk.draft(f"1.0.{patch}"), activate=f"1.0.{patch}", origin="here"
        )
        catalog.commit(desk.begun(), change, locked=False)
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        (old,) = connection.execute(f'SELECT CAST("{field}" AS BLOB) FROM events WHERE sequence = 3').fetchone()
        for position in {0, len(old) // 2, len(old) - 1}:
            new = bytearray(old)
            new[position] ^= bit
            connection.execute(f'UPDATE events SET "{field}" = CAST(? AS TEXT) WHERE sequence = 3', (bytes(new),))
            connection.commit()
            report = catalog.verify_audit()
            assert (report.fault.kind, report.fault.sequence, report.rows) == (Fault.CHANGED, 3, 2)
    connection.close()


@pytest.mark.parametrize("value", ["2026-01-02T03:04:05.678901", "2026-01-02 03:04:05.6789010", b"\xff", 1.5])
def test_the_same_moment_in_other_letters_is_a_change(catalog, desk, tmp_path, value):
    """What reads as the moment that was written, but is not what was written, does not pass."""
    desk.add("1.0.0")
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("UPDATE events SET at = ?", (value,))
    connection.close()
    fault = catalog.verify_audit().fault
    assert (fault.kind, fault.sequence) == (Fault.CHANGED, 1)
    assert fault.found.startswith("unreadable: ")


def test_a_byte_where_text_should_be_is_a_change(catalog, desk, tmp_path):
    """A blob in a column of text is no JSON and no match."""
    desk.add("1.0.0")
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("UPDATE events SET message = CAST(message AS BLOB)")
    connection.close()
    assert catalog.verify_audit().fault.kind is Fault.CHANGED


def test_a_broken_file_is_no_fault_of_the_trail(catalog_url, tmp_path):
    """When the database itself cannot be read, that is said, and nobody is accused."""
    with DatabaseCatalog.open(catalog_url):
        pass
    path = tmp_path / "catalog.db"
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    engine_broken = pytest.raises(Unavailable)
    with engine_broken, DatabaseCatalog.open(catalog_url) as catalog:
        catalog.verify_audit()
