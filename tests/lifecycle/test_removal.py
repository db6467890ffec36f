"""Delete, undelete, purge: out of sight first, back as long as nothing was purged, and then gone to the last byte."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import lance
import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    Leased,
    NotActive,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State, Verb


def table(n):
    """Make n rows."""
    return pa.table({"id": pa.array(range(n), pa.int64())})


def opened(root, store=None):
    """Open a manager without reconciling."""
    return LocalManager(DatabaseCatalog.open(catalog_url(root)), store or LanceStore.local(tables_folder(root)))


@pytest.fixture
def manager(tmp_path):
    """A manager with datasets/a in three versions, the last one active, and datasets/a/b beside it."""
    with opened(tmp_path) as manager:
        for n in (1, 2, 3):
            if n == 1:
                manager.register_resource("datasets", "a", table(n))
            else:
                manager.update_resource("datasets", "a", table(n), mode="overwrite")
        manager.register_resource("datasets", "a/b", table(7))
        yield manager


@pytest.fixture
def root(tmp_path):
    """The manager's folder."""
    return tmp_path


def semvers(manager, **options):
    """List the versions of datasets/a."""
    return [version.semver for version in manager.list_versions("datasets", "a", **options)]


def files(root):
    """List what lies in both tiers, the tables of the neighbour left out."""
    return {path for path in root.rglob("*.lance*") if path.is_file() and "a/b.lance" not in str(path)}


def hold(manager, semver, **fields):
    """Let a reader of another node hold a version of datasets/a."""
    about = {"node": "node-b", "pid": 4711, "user": "eve", "command": "train.py", "since": datetime.now(UTC), **fields}
    holder = Holder(id=uuid.uuid4().hex, type="datasets", name="a", semver=semver, **about)
    manager.catalog.hold(holder, 60)
    return holder


# -- out of sight --------------------------------------------------------------------------------------------------------


def test_a_deleted_resource_is_out_of_sight_until_it_is_undeleted(manager):
    """Nothing of it moves, and it comes back with its pointer."""
    before = (manager.list_resources(), manager.list_versions("datasets", "a"))
    manager.delete_resource("datasets", "a", message="old")
    for look in (manager.get_resource, manager.list_versions, manager.find_version):
        with pytest.raises(NotFound):
            look("datasets", "a")
    assert [one.name for one in manager.list_resources()] == ["a/b"]
    (hidden,) = manager.list_resources(deleted=True)
    assert hidden.name == "a"
    assert timedelta(days=6) < hidden.purge_at - datetime.now(UTC) < timedelta(days=8)
    manager.undelete_resource("datasets", "a", message="oh no")
    after = (manager.list_resources(), manager.list_versions("datasets", "a"))
    assert [one.active for one in after[0]] == [one.active for one in before[0]]
    assert after[1] == before[1]
    told = [(event.verb, event.message) for event in manager.history("datasets", "a")][-2:]
    assert told == [(Verb.DELETE, "old"), (Verb.UNDELETE, "oh no")]
    assert manager.update_resource("datasets", "a", table(1)).num_rows == 4


def test_a_deleted_version_is_out_of_sight_until_it_is_undeleted(manager):
    """The others stay; plain Lance finds it by its tag no more."""
    before = manager.list_versions("datasets", "a")
    location = before[0].location
    manager.delete_resource("datasets", "a", "1.1.0")
    assert semvers(manager) == ["1.2.0", "1.0.0"]
    assert semvers(manager, deleted=True) == ["1.1.0"]
    (deleted,) = manager.list_versions("datasets", "a", deleted=True)
    assert deleted.state is State.DELETED
    assert deleted.purge_at > datetime.now(UTC)
    assert set(lance.dataset(location).tags.list()) == {"1.0.0", "1.2.0", "active"}
    for verb in (manager.get_resource, manager.activate_resource, manager.delete_resource, manager.archive_resource):
        with pytest.raises(NotFound):
            verb("datasets", "a", "1.1.0")
    manager.undelete_resource("datasets", "a", "1.1.0")
    assert manager.list_versions("datasets", "a") == before
    assert set(lance.dataset(location).tags.list()) == {"1.0.0", "1.1.0", "1.2.0", "active"}
    assert manager.activate_resource("datasets", "a", "1.1.0").state is State.ACTIVE


def test_updates_go_on_beside_a_deleted_version(manager):
    """They take no number of it, and leave its data alone."""
    manager.rollback_resource("datasets", "a", "1.1.0")
    manager.delete_resource("datasets", "a", "1.2.0")
    assert manager.update_resource("datasets", "a", table(4)).semver == "1.3.0"
    manager.undelete_resource("datasets", "a", "1.2.0")
    assert manager.get_resource("datasets", "a", "1.2.0").to_lance().count_rows() == 3
    assert manager.get_resource("datasets", "a").to_lance().count_rows() == 6


def test_how_long_it_can_be_undeleted_stands_in_the_rules(manager):
    """As the grace time."""
    manager.set_rules('[deletion]\ngrace = "2h"\n')
    manager.delete_resource("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a/b")
    (version,) = manager.list_versions("datasets", "a", deleted=True)
    (resource,) = manager.list_resources(deleted=True)
    for at in (version.purge_at, resource.purge_at):
        assert timedelta(hours=1) < at - datetime.now(UTC) <= timedelta(hours=2)


def test_the_name_of_a_deleted_resource_is_taken(manager):
    """The refusal says what can be done."""
    manager.delete_resource("datasets", "a")
    with pytest.raises((AlreadyExists, Conflict), match="undelete"):
        manager.register_resource("datasets", "a", table(1))


REFUSED = [
    ("delete_resource", ["9.9.9"], NotFound, "9.9.9"),
    ("delete_resource", ["1.2.0"], InvalidArgument, "activate another version"),
    ("undelete_resource", ["1.0.0"], InvalidArgument, "is not deleted"),
    ("undelete_resource", ["9.9.9"], NotFound, "9.9.9"),
    ("undelete_resource", [], InvalidArgument, "is not deleted"),
    ("purge_resource", ["1.0.0"], InvalidArgument, "is not deleted"),
    ("purge_resource", ["9.9.9"], NotFound, "9.9.9"),
    ("purge_resource", [], InvalidArgument, "is not deleted"),
]


@pytest.mark.parametrize("request_id", [None, "r"])
@pytest.mark.parametrize(("verb", "version", "error", "says"), REFUSED)
def test_what_makes_no_sense_is_refused(manager, verb, version, error, says, request_id):
    """And changes nothing."""
    before = manager.list_versions("datasets", "a")
    with pytest.raises(error, match=says):
        getattr(manager, verb)("datasets", "a", *version, request_id=request_id)
    assert manager.list_versions("datasets", "a") == before
    assert manager.catalog.open_operations() == []


@pytest.mark.parametrize("verb", ["delete_resource", "undelete_resource", "purge_resource"])
def test_a_resource_that_never_was_is_not_found(manager, verb):
    """Whichever verb asks."""
    with pytest.raises(NotFound):
        getattr(manager, verb)("datasets", "nope")


def test_the_last_version_goes_with_its_resource_only(manager):
    """A resource without a version is none."""
    manager.deprecate_resource("datasets", "a/b", "1.0.0")
    with pytest.raises(InvalidArgument, match="delete the resource instead"):
        manager.delete_resource("datasets", "a/b", "1.0.0")


# -- readers -------------------------------------------------------------------------------------------------------------


def test_readers_stop_a_deletion_unless_it_is_forced(manager):
    """The refusal names them; by force no new one begins, and a purge waits until the old ones have ended."""
    reader = hold(manager, "1.0.0")
    for version in (["1.0.0"], []):
        with pytest.raises(Leased, match="node-b"):
            manager.delete_resource("datasets", "a", *version)
    manager.delete_resource("datasets", "a", "1.1.0")
    manager.delete_resource("datasets", "a", "1.0.0", force=True)
    with pytest.raises(NotFound):
        hold(manager, "1.0.0")
    with pytest.raises(Leased, match=r"eve on node-b \(process 4711, train.py\)") as caught:
        manager.purge_resource("datasets", "a", "1.0.0")
    assert [one["semver"] for one in caught.value.details["holders"]] == ["1.0.0"]
    manager.purge_resource("datasets", "a", "1.1.0")
    manager.catalog.release([reader.id])
    manager.purge_resource("datasets", "a", "1.0.0")
    assert semvers(manager) == ["1.2.0"]


def test_a_forced_deletion_of_a_whole_resource_is_purged_when_its_readers_have_ended(manager, root):
    """Not before."""
    reader = hold(manager, "1.2.0")
    manager.delete_resource("datasets", "a", force=True)
    with pytest.raises(Leased):
        manager.purge_resource("datasets", "a")
    manager.catalog.release([reader.id])
    manager.purge_resource("datasets", "a")
    assert files(root) == set()


def test_force_needs_what_a_purge_needs(manager):
    """A role that may delete only may not take data from under readers."""
    manager.set_rules('[roles.cleaner]\ngrants=[{verbs=["delete", "read"]}]\n')
    cleaner = manager.acting_as(Identity(actor="ann@x", roles=("cleaner",), method="peer"))
    with pytest.raises(PermissionDenied):
        cleaner.delete_resource("datasets", "a", force=True)
    with pytest.raises(PermissionDenied):
        cleaner.purge_resource("datasets", "a")
    cleaner.delete_resource("datasets", "a")
    with pytest.raises(PermissionDenied):
        cleaner.undelete_resource("datasets", "a")


# -- for good ------------------------------------------------------------------------------------------------------------


def test_a_purge_leaves_no_byte_and_a_row_in_the_history(manager, root):
    """Hot, cold and catalog are empty of it; the name is free, its neighbour below untouched."""
    manager.archive_resource("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a")
    manager.purge_resource("datasets", "a", message="law")
    assert files(root) == set()
    assert manager.list_resources(deleted=True) == []
    assert manager.catalog.location("datasets", "a") is None
    last = manager.history("datasets", "a")[-1]
    assert (last.verb, last.message) == (Verb.PURGE, "law")
    assert manager.get_resource("datasets", "a/b").to_lance().count_rows() == 7
    assert manager.register_resource("datasets", "a", table(1)).semver == "1.0.0"
    with pytest.raises(NotActive):
        manager.rollback_resource("datasets", "a")


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("semver", ["1.0.0", "1.2.0"])
def test_a_purged_version_leaves_no_byte_in_any_tier(manager, root, semver, archived):
    """Also the one that is Lance's newest, also one that was archived."""
    manager.rollback_resource("datasets", "a", "1.1.0")
    if archived:
        manager.archive_resource("datasets", "a", semver)
    (version,) = (one for one in manager.list_versions("datasets", "a") if one.semver == semver)
    manager.delete_resource("datasets", "a", semver)
    manager.purge_resource("datasets", "a", semver)
    assert not [path for path in files(root) if "cold" in path.parts]
    left = lance.dataset(version.location)
    assert version.version not in {one["version"] for one in left.version_refs()}
    assert len(list((root / "data/datasets/a.lance/data").iterdir())) == 2
    assert semver not in semvers(manager) + semvers(manager, deleted=True)
    for other in semvers(manager):
        assert manager.get_resource("datasets", "a", other).to_lance().count_rows() > 0
    with pytest.raises(NotFound):
        manager.undelete_resource("datasets", "a", semver)
    assert manager.update_resource("datasets", "a", table(4)).num_rows == 6


def test_an_archived_version_is_archived_again_after_an_undelete(manager):
    """And comes back from there as it went, in its first state."""
    manager.deprecate_resource("datasets", "a", "1.0.0")
    manager.archive_resource("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a", "1.0.0")
    manager.undelete_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.DEPRECATED


def test_a_repeated_request_is_answered_by_what_was_done(manager):
    """A client that lost the answer may ask again, whatever is left of the version."""
    for verb in (manager.delete_resource, manager.undelete_resource):
        for _ in range(2):
            verb("datasets", "a", "1.0.0", request_id=f"{verb.__name__} version")
    for verb in (manager.delete_resource, manager.purge_resource):
        for _ in range(2):
            verb("datasets", "a", "1.0.0", request_id=f"{verb.__name__} version again")
    for verb in (manager.delete_resource, manager.purge_resource):
        for _ in range(2):
            verb("datasets", "a", request_id=f"{verb.__name__} resource")
    verbs = [event.verb for event in manager.history("datasets", "a")][3:]
    assert verbs == [Verb.DELETE, Verb.UNDELETE, Verb.DELETE, Verb.PURGE, Verb.DELETE, Verb.PURGE]


def test_a_purge_that_another_process_took_over_stops(root):
    """Who stood still for too long must not remove a table that came later."""
    with opened(root) as other:
        other.register_resource("datasets", "a", table(1))
        other.delete_resource("datasets", "a")

        def taken_over(verb, step):
            if (verb, step) == (Verb.PURGE, "purging"):
                (operation,) = other.catalog.open_operations()
                assert other.catalog.adopt(operation, replace(other._rooms.journal.owner, started=-1))

        catalog, store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
        with LocalManager(catalog, store, observer=taken_over) as manager, pytest.raises(Conflict, match="another"):
            manager.purge_resource("datasets", "a")
        assert (root / "data/datasets/a.lance").exists()
        assert [one.outcome for one in other.reconcile()] == ["completed"]
        assert not (root / "data/datasets/a.lance").exists()


# -- who sees what -------------------------------------------------------------------------------------------------------


def test_everybody_sees_what_he_may_read(manager):
    """Lists leave out the rest, looking closer is refused."""
    manager.label_resource("datasets", "a/b", {"team": "vision"})
    manager.set_rules('[roles.painter]\ngrants=[{verbs=["read"], labels={team="vision"}}]\n')
    painter = manager.acting_as(Identity(actor="ann@x", roles=("painter",), method="peer"))
    assert [one.name for one in painter.list_resources()] == ["a/b"]
    assert painter.get_resource("datasets", "a/b").num_rows == 7
    for look in (painter.get_resource, painter.list_versions, painter.find_version, painter.history):
        with pytest.raises(PermissionDenied):
            look("datasets", "a")
    events = painter.watch(after=0)
    assert next(events).name == "a/b"
    events.close()


def test_lists_can_be_searched(manager):
    """By name and by message, by label, deleted ones apart."""
    manager.label_resource("datasets", "a/b", {"team": "vision"})
    manager.update_resource("datasets", "a", metadata={"x": 1}, message="Fixed the Labels")
    assert [one.name for one in manager.list_resources(search="fixed the")] == ["a"]
    assert [one.name for one in manager.list_resources(search="A/B")] == ["a/b"]
    assert [one.name for one in manager.list_resources(labels={"team": "vision"})] == ["a/b"]
    assert manager.list_resources(labels={"team": "audio"}) == []
    assert manager.list_resources(deleted=True) == []


def test_the_disk_can_fail_in_a_purge(root, monkeypatch):
    """Then the purge is pending, and goes on when somebody comes by."""

    class Stubborn(LanceStore):
        stuck = True

        def drop_cold(self, cold):
            if self.stuck:
                raise Unavailable("the bucket does not answer", what="cold tier")
            super().drop_cold(cold)

    store = Stubborn.local(tables_folder(root))
    with opened(root, store) as manager:
        manager.register_resource("datasets", "a", table(1))
        manager.update_resource("datasets", "a", table(2), mode="overwrite")
        manager.archive_resource("datasets", "a", "1.0.0")
        manager.delete_resource("datasets", "a")
        with pytest.raises(Unavailable):
            manager.purge_resource("datasets", "a")
        with pytest.raises(NotFound):
            manager.get_resource("datasets", "a")
        store.stuck = False
        assert [one.outcome for one in manager.reconcile()] == ["completed"]
        assert files(root) == set()
