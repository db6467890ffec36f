"""Restore: how versions come back from the cold tier, by themselves or because somebody says so."""

import runpy
import threading
from pathlib import Path

import pytest

from alluxio_lance.embedded import tables_folder
from alluxio_lance.errors import (
    Corrupt,
    NotFound,
    PermissionDenied,
    Restoring,
    Unavailable,
)
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.ports import OperationState
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import Progress, State, Verb

# The folders of tests are no packages.
SETUP = runpy.run_path(str(Path(__file__).with_name("cold_setup.py")))
Broken, broken, ids, manager, opened, root, size, table = (
    SETUP[name] for name in ("Broken", "broken", "ids", "manager", "opened", "root", "size", "table")
)
PAUSE, PROGRESS = threading.Event(), Progress(step="copy", bytes=1, total_bytes=2)
VIEWER = Identity(actor="eve@x", roles=("viewer",), method="peer")


def test_a_version_comes_back_under_its_number_with_its_content_and_state(manager, root):
    """The folder afterwards is what it was, the copy is gone."""
    manager.deprecate_resource("datasets", "a", "1.0.0")
    before = manager.find_version("datasets", "a", "1.0.0")
    hot = size(root / "data")
    manager.archive_resource("datasets", "a", "1.0.0")
    told = []
    after = manager.restore_resource("datasets", "a", "1.0.0", message="needed", on_progress=told.append)
    assert (after.state, after.version, after.content_hash) == (State.DEPRECATED, before.version, before.content_hash)
    assert (after.cold_bytes, after.archived_at) == (None, None)
    assert ids(manager, "1.0.0") == list(range(1000))
    assert size(root / "cold") == 0
    assert abs(size(root / "data") - hot) < 500
    assert [progress.bytes for progress in told] == sorted(progress.bytes for progress in told)
    assert told[-1].bytes == told[-1].total_bytes
    event = manager.history("datasets", "a")[-1]
    assert (event.verb, event.semver, event.message) == (Verb.RESTORE, "1.0.0", "needed")
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.DEPRECATED
    assert len(manager.history("datasets", "a")) == 5


def test_archive_and_restore_again_and_again(manager):
    """Each copy has a place of its own, so that what is late of one cannot hurt the next."""
    for _ in range(3):
        manager.archive_resource("datasets", "a", "1.0.0")
        assert ids(manager, "1.0.0", wait=True) == list(range(1000))
    assert manager.catalog.open_operations() == []


def test_getting_an_archived_version_starts_its_restore(manager):
    """At first Restoring with its progress, soon the data; looking alone leaves it where it is."""
    manager.archive_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    with pytest.raises(Restoring) as caught:
        manager.get_resource("datasets", "a", "1.0.0")
    assert 0 <= caught.value.details["progress"] <= 1
    operation = caught.value.details["operation"]
    assert manager.catalog.operation(operation).verb is Verb.RESTORE
    assert ids(manager, "1.0.0", wait=True) == list(range(1000))
    assert manager.catalog.operation(operation).state is OperationState.DONE
    assert manager.find_version("datasets", "a", "1.0.0").read_at is not None


def test_a_restore_without_waiting_says_that_it_is_under_way(manager):
    """And is joined by the next call."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring):
        manager.restore_resource("datasets", "a", "1.0.0", wait=False)
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.REGISTERED
    assert [event.verb for event in manager.history("datasets", "a")].count(Verb.RESTORE) == 1


def test_a_handle_finds_its_version_again(manager):
    """One that was made before the archive brings it back when it is opened."""
    patient = manager.get_resource("datasets", "a", "1.0.0", wait=True)
    hasty = manager.get_resource("datasets", "a", "1.0.0")
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring):
        hasty.to_lance()
    assert patient.to_lance().count_rows() == 1000
    assert hasty.to_lance().count_rows() == 1000


def test_a_viewer_brings_back_what_he_wants_to_read(manager):
    """Though he may not order a restore."""
    manager.archive_resource("datasets", "a", "1.0.0")
    view = manager.acting_as(VIEWER)
    with pytest.raises(PermissionDenied):
        view.restore_resource("datasets", "a", "1.0.0")
    assert view.get_resource("datasets", "a", "1.0.0", wait=True).to_lance().count_rows() == 1000
    assert manager.history("datasets", "a")[-1].actor == "eve@x"


def damage(root):
    """Change one byte of a data file in the cold tier; the function that is given mends it."""
    path = next((root / "cold").rglob("data/*.lance"))
    good = path.read_bytes()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    return lambda: path.write_bytes(good)


def test_a_damaged_copy_is_said_to_be_one(root, manager):
    """To who waits at once, to who does not when he asks again; nothing half stays, and a mended copy comes back."""
    manager.archive_resource("datasets", "a", "1.0.0")
    hot = size(root / "data")
    mend = damage(root)
    with pytest.raises(Corrupt):
        manager.get_resource("datasets", "a", "1.0.0", wait=True)
    assert size(root / "data") == hot
    with pytest.raises(Restoring):
        manager.get_resource("datasets", "a", "1.0.0")
    manager._rooms.restorer.close()
    with pytest.raises((Corrupt, Unavailable)):
        manager.get_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    mend()
    with opened(root) as other:
        assert ids(other, "1.0.0", wait=True) == list(range(1000))


def test_a_restore_that_fails_at_its_end_leaves_no_half_version(broken, root):
    """What came back goes again, and the copy stays."""
    manager, store = broken
    manager.archive_resource("datasets", "a", "1.0.0")
    hot = size(root / "data")
    store.failing = "unarchive"
    with pytest.raises(Unavailable):
        manager.restore_resource("datasets", "a", "1.0.0")
    assert size(root / "data") == hot
    store.failing = ""
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.REGISTERED


def test_a_copy_that_cannot_be_removed_is_removed_later(broken, root):
    """The version is back all the same."""
    manager, store = broken
    manager.archive_resource("datasets", "a", "1.0.0")
    store.failing = "drop_cold"
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.REGISTERED
    assert size(root / "cold") > 0
    store.failing = ""
    assert [one.outcome for one in manager.reconcile()] == ["settled"]
    assert size(root / "cold") == 0


def test_a_manager_that_is_closed_interrupts_its_restores(root):
    """The next one begins anew."""
    arrived = threading.Event()

    class Slow(LanceStore):
        def unarchive(self, cold, location, version, known, write):
            arrived.set()
            while True:
                write.on_progress(PROGRESS)
                PAUSE.wait(0.01)

    with opened(root, Slow.local(tables_folder(root))) as manager:
        manager.archive_resource("datasets", "a", "1.0.0")
        with pytest.raises(Restoring):
            manager.get_resource("datasets", "a", "1.0.0")
        assert arrived.wait(30)
    with opened(root) as manager:
        assert ids(manager, "1.0.0", wait=True) == list(range(1000))
        assert manager.catalog.open_operations() == []


def test_a_version_that_is_deleted_while_somebody_waits_for_it(manager, root):
    """He is told that it is gone."""
    manager.archive_resource("datasets", "a", "1.0.0")
    found = manager.find_version("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a", "1.0.0")
    with pytest.raises(NotFound):
        manager.bring_back(found, wait=True)
    manager.delete_resource("datasets", "a")
    manager.purge_resource("datasets", "a")
    manager.register_resource("datasets", "a", table(2))
    with pytest.raises(NotFound, match="deleted since"):
        manager.bring_back(found, wait=True)


def test_an_archived_version_without_a_copy_is_said_to_be_damaged(manager, monkeypatch):
    """Nobody waits for ever for what cannot come back."""
    manager.archive_resource("datasets", "a", "1.0.0")
    monkeypatch.setattr(manager.catalog, "cold_copies", lambda _type, _name: {})
    with pytest.raises(Corrupt, match="there is no copy of it"):
        manager.get_resource("datasets", "a", "1.0.0")


def test_a_fence_of_an_archive_that_died_beside_a_waiting_reader_is_mended(root):
    """Its copy was verified: the archive is completed, and then undone by the reader's restore."""
    store = Broken.local(tables_folder(root))
    store.failing = "remove"
    with opened(root, store) as dying, opened(root) as other:
        found = other.find_version("datasets", "a", "1.0.0")
        with pytest.raises(Unavailable):
            dying.archive_resource("datasets", "a", "1.0.0")
        assert other.bring_back(found, wait=True).state is State.REGISTERED
        verbs = [event.verb for event in other.history("datasets", "a")]
        assert verbs[-2:] == [Verb.ARCHIVE, Verb.RESTORE]
