"""How a dataset moves to another version: only when told to, never under an epoch, never unseen by its workers."""

from __future__ import annotations

import copy
import pickle
import queue

import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

from alluxio.torch import Dataset
from alluxio_lance.errors import Conflict, NotActive, Restoring

pytestmark = [
    pytest.mark.torch,
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]


def table(rows: int, value: int) -> pa.Table:
    """Make a table that tells its version by its values."""
    return pa.table({"a": [value] * rows})


def values(loader) -> list[int]:
    """Read an epoch."""
    return [number for batch in loader for number in batch["a"].tolist()]


def test_refresh_moves_to_the_active_version(node):
    """An update is seen after refresh() and not before; a rollback likewise; what was handed out stays."""
    node.register("versions/moves", table(3, 1))
    with Dataset("alluxio://datasets/versions/moves", address=node.at) as dataset:
        tensor = dataset.tensor("a")
        node.update("versions/moves", table(5, 2), mode="overwrite")
        assert (len(dataset), dataset.semver) == (3, "1.0.0")
        assert dataset.refresh()
        assert (len(dataset), dataset.semver) == (5, "1.1.0")
        assert values(DataLoader(dataset, batch_size=2)) == [2] * 5
        assert not dataset.refresh()
        node.call(lambda manager: manager.rollback_resource("datasets", "versions/moves"))
        assert dataset.refresh()
        assert values(DataLoader(dataset, batch_size=2)) == [1] * 3
        assert tensor.tolist() == [1] * 3


def test_a_pinned_version_stays(node):
    """A URI that names a version does not move."""
    node.register("versions/pinned", table(3, 1))
    with Dataset("alluxio://datasets/versions/pinned@1.0.0", address=node.at) as dataset:
        node.update("versions/pinned", table(5, 2))
        assert not dataset.refresh()
        assert dataset.semver == "1.0.0"


def test_an_archived_version_is_waited_for_when_told(node):
    """Otherwise the dataset says that it comes back."""
    node.register("versions/archived", table(3, 1))
    node.update("versions/archived", table(5, 2))
    node.call(lambda manager: manager.archive_resource("datasets", "versions/archived", "1.0.0"))
    uri = "alluxio://datasets/versions/archived@1.0.0"
    with pytest.raises(Restoring):
        Dataset(uri, address=node.at)
    with Dataset(uri, address=node.at, wait=True, on_progress=lambda _: None) as dataset:
        assert values(DataLoader(dataset, batch_size=2)) == [1] * 3


def test_a_failed_refresh_changes_nothing(node):
    """When no version is active any more refresh() says so, and the old version stays readable."""
    node.register("versions/gone", table(3, 1))
    with Dataset("alluxio://datasets/versions/gone", address=node.at) as dataset:
        node.call(lambda manager: manager.deprecate_resource("datasets", "versions/gone", "1.0.0"))
        with pytest.raises(NotActive):
            dataset.refresh()
        assert values(DataLoader(dataset)) == [1] * 3


def test_new_workers_read_the_new_version(node):
    """Workers that start after refresh() read the new version: the ordinary DataLoader needs nothing else."""
    node.register("versions/workers", table(40, 1))
    with Dataset("alluxio://datasets/versions/workers", address=node.at) as dataset:
        loader = DataLoader(dataset, batch_size=10, num_workers=2, multiprocessing_context="fork")
        assert values(loader) == [1] * 40
        node.update("versions/workers", table(60, 2), mode="overwrite")
        dataset.refresh()
        assert values(loader) == [2] * 60


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_persistent_workers_never_serve_the_old_version_unseen(node, start_method):
    """Workers that were there before refresh() raise Conflict with what to do, instead of serving the old version."""
    name = f"versions/persistent-{start_method}"
    node.register(name, table(40, 1))
    with Dataset(f"alluxio://datasets/{name}", address=node.at) as dataset:
        loader = DataLoader(
            dataset, batch_size=10, num_workers=1, persistent_workers=True, multiprocessing_context=start_method
        )
        assert values(loader) == [1] * 40
        assert values(loader) == [1] * 40
        node.update(name, table(40, 2), mode="overwrite")
        assert dataset.refresh()
        with pytest.raises(Conflict, match="make a new DataLoader") as caught:
            values(loader)
        assert "still read 1.0.0" in str(caught.value)
        assert values(DataLoader(dataset, batch_size=10)) == [2] * 40


def test_a_copy_that_refreshes_itself_goes_its_own_way(node, monkeypatch):
    """A copy in another process (one rank of several) may refresh on its own, and outdates nobody."""
    node.register("versions/ranks", table(3, 1))
    uri = "alluxio://datasets/versions/ranks"
    with Dataset(uri, address=node.at) as dataset, pickle.loads(pickle.dumps(dataset)) as copy:
        monkeypatch.setattr(copy._generation, "_owner", 1)
        node.update("versions/ranks", table(3, 2), mode="overwrite")
        assert copy.refresh()
        assert copy._generation.ours
        assert copy[0]["a"] == 2
        assert dataset[0]["a"] == 1
        assert dataset.refresh()
        assert copy[0]["a"] == 2


def test_on_change_tells_and_does_nothing_else(node):
    """The callback learns of the new version; the dataset stays where it is until refresh()."""
    node.register("versions/told", table(3, 1))
    told: queue.Queue = queue.Queue()
    with Dataset("alluxio://datasets/versions/told", address=node.at) as dataset:
        dataset.on_change(told.put)
        second = node.update("versions/told", table(3, 2), mode="overwrite")
        event = told.get(timeout=60)
        assert (event.semver, event.version) == ("1.1.0", second.version)
        assert dataset[0]["a"] == 1
        assert dataset.refresh()
        assert dataset[0]["a"] == 2
        with pickle.loads(pickle.dumps(dataset)) as copy:
            assert copy[0]["a"] == 2


def test_refresh_after_a_restart_takes_a_new_lease(own_node):
    """When the sidecar was restarted the same version is leased anew, which is no change."""
    own_node.register("x", table(3, 1))
    with Dataset("alluxio://datasets/x", address=own_node.at) as dataset:
        own_node.kill()
        assert values(DataLoader(dataset)) == [1] * 3
        own_node.start()
        assert not dataset.refresh()
        assert dataset._reader.table.lease.attached
        assert values(DataLoader(dataset)) == [1] * 3


def test_a_copy_in_the_same_process_refreshes_by_itself(node):
    """Such as one for validation, with a transform of its own: neither outdates the other."""
    node.register("versions/copies", table(3, 1))
    with Dataset("alluxio://datasets/versions/copies", address=node.at) as dataset, copy.deepcopy(dataset) as copied:
        node.update("versions/copies", table(5, 2), mode="overwrite")
        assert copied.refresh()
        assert values(DataLoader(copied, batch_size=2)) == [2] * 5
        assert values(DataLoader(dataset, batch_size=2)) == [1] * 3
        assert dataset.refresh()
        assert values(DataLoader(copied, batch_size=2)) == values(DataLoader(dataset, batch_size=2))
