"""Several reads in one transaction, and writes that need not wait for the disk."""

import threading

import pytest
import sqlalchemy as sa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import Internal, NotFound
from alluxio_lance.values import Verb


@pytest.fixture
def begun(catalog):
    """Collect the transactions that begin."""
    found = []
    sa.event.listen(catalog.engine, "begin", found.append)
    return found


def test_what_is_read_together_is_read_in_one_transaction(catalog, begun):
    """Within another one, too; and what is read afterwards is read anew."""
    revision = catalog.together(lambda: (catalog.last_event(), catalog.together(lambda: catalog.rules().revision))[1])
    assert (revision, len(begun)) == (0, 1)
    catalog.rules()
    assert len(begun) == 2


def test_what_is_read_in_another_thread_is_not_part_of_it(catalog, begun):
    """Each thread has its own."""

    def look():
        other = threading.Thread(target=catalog.last_event)
        other.start()
        other.join()
        catalog.last_event()

    catalog.together(look)
    assert len(begun) == 2


def test_who_only_reads_may_not_write_and_an_error_ends_the_transaction(catalog, desk, begun):
    """The next read is one of its own again."""
    operation = desk.operation()
    with pytest.raises(Internal, match="only reads"):
        catalog.together(lambda: catalog.begin(operation))
    with pytest.raises(NotFound):
        catalog.together(lambda: catalog.operation("0" * 32))
    before = len(begun)
    assert catalog.begin(operation) == operation
    assert len(begun) == before + 1


def test_only_what_a_power_failure_may_take_back_does_not_wait_for_the_disk(tmp_path, desk_of):
    """On SQLite: what begins waits with the first step, whose commit takes both to the disk."""
    catalog = DatabaseCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    waits = []
    sa.event.listen(
        catalog.engine,
        "commit",
        lambda connection: waits.append(connection.exec_driver_sql("PRAGMA synchronous").scalar()),
    )
    normal, full = 1, 2
    operation = desk_of(catalog).operation(Verb.REGISTER)
    catalog.begin(operation)
    catalog.try_lock(operation.type, operation.name, operation.id, 60.0)
    catalog.record_step(operation.id, "locked")
    catalog.heartbeat(operation.id, 60.0)
    catalog.record_step(operation.id, "written")
    catalog.abandon(operation.id, "enough")
    catalog.close()
    assert waits == [normal, normal, full, normal, full, full]
