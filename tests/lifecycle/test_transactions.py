"""How many transactions a verb takes: each costs its caller time, and with a database server a way there and back each."""

from collections import Counter

import pyarrow as pa
import pytest
import sqlalchemy as sa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.catalog.dialects import WRITES
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore

ONE = pa.table({"id": [1]})
MOST = {"register": 22, "update": 28, "activate": 9, "rollback": 7, "deprecate": 7}
MOST_WRITES = {"register": 9, "update": 10, "activate": 3, "rollback": 3, "deprecate": 3}


@pytest.fixture
def manager(tmp_path):
    """Give a manager with a resource of three versions."""
    catalog = DatabaseCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    manager = LocalManager(catalog, LanceStore.local(tmp_path / "data"))
    manager.register_resource("datasets", "a", ONE)
    manager.update_resource("datasets", "a", ONE)
    manager.update_resource("datasets", "a", ONE)
    yield manager
    manager.close()


@pytest.mark.parametrize("verb", MOST)
def test_a_verb_takes_few_transactions(manager, verb):
    """All of them, those of its last step too."""
    calls = {
        "register": lambda: manager.register_resource("datasets", "b", ONE),
        "update": lambda: manager.update_resource("datasets", "a", ONE),
        "activate": lambda: manager.activate_resource("datasets", "a", "1.0.0"),
        "rollback": lambda: manager.rollback_resource("datasets", "a"),
        "deprecate": lambda: manager.deprecate_resource("datasets", "a", "1.0.0"),
    }
    begun = Counter()
    sa.event.listen(
        manager.catalog.engine,
        "begin",
        lambda connection: begun.update([bool(connection.get_execution_options().get(WRITES))]),
    )
    calls[verb]()
    found = f"{verb}: {begun.total()} transactions, {begun[True]} of them write"
    assert 0 < begun.total() <= MOST[verb], found
    assert 0 < begun[True] <= MOST_WRITES[verb], found
