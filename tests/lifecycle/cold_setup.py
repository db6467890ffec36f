"""What the tests of the cold tier share: a folder with two versions, and a store that fails when it is told to."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.storage import LanceStore


def table(n, start=0):
    """Make n rows."""
    return pa.table({"id": pa.array(range(start, start + n), pa.int64())})


def opened(root, store=None, **options):
    """Open a manager without reconciling."""
    return LocalManager(
        DatabaseCatalog.open(catalog_url(root)), store or LanceStore.local(tables_folder(root)), **options
    )


@pytest.fixture
def root(tmp_path):
    """A folder with datasets/a in two versions of their own rows, the second one active."""
    with opened(tmp_path) as manager:
        manager.register_resource("datasets", "a", table(1000))
        manager.update_resource("datasets", "a", table(3), mode="overwrite")
    return tmp_path


@pytest.fixture
def manager(root):
    """A manager over the folder."""
    with opened(root) as manager:
        yield manager


def ids(manager, selector, **options):
    """Read the rows of a version."""
    return manager.get_resource("datasets", "a", selector, **options).to_lance().to_table()["id"].to_pylist()


def size(folder):
    """Sum the bytes below a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def holder(semver="1.0.0", **fields):
    """Describe a reader of datasets/a."""
    known = {"node": "node-b", "pid": 4711, "user": "eve", "command": "train.py", "since": datetime.now(UTC)}
    return Holder(id=uuid.uuid4().hex, type="datasets", name="a", semver=semver, **{**known, **fields})


class Broken(LanceStore):
    """A real store, one method of which fails as long as it is told to."""

    failing = ""

    def archive(self, *args):
        """Copy, and fail afterwards."""
        copy = super().archive(*args)
        self.fail("archive")
        return copy

    def remove(self, *args):
        """Fail before."""
        self.fail("remove")
        return super().remove(*args)

    def unarchive(self, *args):
        """Copy back, and fail afterwards."""
        super().unarchive(*args)
        self.fail("unarchive")

    def drop_cold(self, *args):
        """Fail before."""
        self.fail("drop_cold")
        super().drop_cold(*args)

    def fail(self, method):
        """Fail."""
        if method in self.failing.split():
            raise Unavailable("the cold tier does not answer", what="cold tier")


@pytest.fixture
def broken(root):
    """A manager over a store that fails."""
    store = Broken.local(tables_folder(root))
    with opened(root, store) as manager:
        yield manager, store
