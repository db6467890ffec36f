"""What the lifecycle wants of the cache, on a real Alluxio: pins follow pointers, versions are warmed, cooled, freed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import InvalidArgument, NotActive, PermissionDenied, Restoring
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.caching import loads
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.alluxio.caching import AlluxioCache
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.values import State

TABLE = "datasets/a.lance"
PIN = "[[cache]]\nname = 'hot'\npin = true\n"
COUNT = 20_000


def rows(seed, count=COUNT):
    """Rows that nothing can compress."""
    return pa.table({"id": np.arange(count), "x": np.random.default_rng(seed).integers(0, 1 << 60, count)})


def opened(address, folder, **options):
    """A manager over the tables at an address, and a catalog in a folder."""
    store = LanceStore.at(address, folder / "data")
    return LocalManager(DatabaseCatalog.open(f"sqlite:///{folder}/catalog.db"), store, **options)


@pytest.fixture
def manager(alluxio, tmp_path):
    """A manager without rules."""
    with opened(alluxio, tmp_path) as found:
        yield found


@pytest.fixture
def three(manager):
    """With three versions: 1.0.0, 1.1.0 that shares its file and adds one, and 1.2.0 that shares both and is active."""
    manager.register_resource("datasets", "a", rows(0))
    manager.update_resource("datasets", "a", rows(1))
    manager.update_resource("datasets", "a", rows(2))
    return manager


def percents(manager, wanted=lambda _: True, patience=30.0):
    """How much of each data file is cached, by path, as soon as it is as wanted, or in the end."""
    deadline = time.monotonic() + patience
    while True:
        files = manager.store._place.cache().look(TABLE)
        found = {path: file.percent for path, file in files.items() if path.startswith("data/")}
        if wanted(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def pinned(manager):
    """The versions all of whose files are pinned, and how many files are pinned at all."""
    versions = manager.list_versions("datasets", "a")
    files = manager.store._place.cache().look(TABLE).values()
    whole = [v.semver for v in versions if v.state is not State.ARCHIVED and shared(manager, v.version).pinned]
    return whole, sum(file.pinned for file in files)


def shared(manager, version):
    """How a version stands in the cache."""
    return manager.store.share(TABLE, version)


# -- warm, cool, deprecate ---------------------------------------------------------------------------------------------


def test_what_deprecation_frees_a_rollback_finds_again(three):
    """The file that only the deprecated version needs goes to 0 %, those that it shares stay; once the pointer is back there, warming it brings all back."""
    three.rollback_resource("datasets", "a", "1.1.0")
    before = percents(three)
    assert list(before.values()) == [100] * 3
    three.deprecate_resource("datasets", "a", "1.2.0")
    after = percents(three, lambda found: 0 in found.values())
    gone = {path for path, percent in after.items() if percent == 0}
    assert sorted(after.values()) == [0, 100, 100]
    report = {row.semver: row for row in three.storage("datasets", "a").versions}
    assert report["1.1.0"].cached_bytes == report["1.1.0"].hot_bytes
    assert report["1.2.0"].hot_bytes > report["1.2.0"].cached_bytes > report["1.1.0"].cached_bytes
    three.rollback_resource("datasets", "a", "1.2.0")
    assert percents(three)[gone.pop()] == 0
    told = []
    assert three.warm_resource("datasets", "a", on_progress=told.append).percent == 100
    assert told[-1].bytes == told[-1].total_bytes == report["1.2.0"].hot_bytes
    assert list(percents(three).values()) == [100] * 3


def test_cooling_spares_what_is_served(three):
    """The active version is refused; of others only the files go that no active or registered version needs."""
    with pytest.raises(InvalidArgument, match="is active"):
        three.cool_resource("datasets", "a", "1.2.0")
    assert three.cool_resource("datasets", "a", "1.0.0") == 0
    three.rollback_resource("datasets", "a", "1.0.0")
    three.deprecate_resource("datasets", "a", "1.1.0")
    assert three.cool_resource("datasets", "a", "1.1.0") == 0
    freed = three.cool_resource("datasets", "a", "1.2.0")
    found = percents(three, lambda files: list(files.values()).count(0) == 2)
    sizes = three.store._place.cache().look(TABLE)
    assert sorted(found.values()) == [0, 0, 100]
    assert freed == sum(sizes[path].bytes for path, percent in found.items() if percent == 0)
    assert three.get_resource("datasets", "a", "1.2.0").to_lance().count_rows() == 3 * COUNT


def test_who_may_not_is_refused(three):
    """Warming is prefetching, cooling is evicting; whoever may only look can do neither."""
    viewer = three.acting_as(Identity(actor="eve@node", roles=("viewer",), method="token", origin="tcp"))
    with pytest.raises(PermissionDenied, match="prefetch"):
        viewer.warm_resource("datasets", "a")
    with pytest.raises(PermissionDenied, match="evict"):
        viewer.cool_resource("datasets", "a", "1.0.0")


def test_an_archived_version_comes_back_before_it_is_warmed(three):
    """As when it is opened: who warms it has it restored; who only asks how it would be read has not."""
    three.archive_resource("datasets", "a", "1.0.0")
    assert three.cool_resource("datasets", "a", "1.0.0") == 0
    with pytest.raises(Restoring, match="cold tier") as told:
        three.explain_resource("datasets", "a", "1.0.0")
    assert told.value.details == {"progress": 0.0, "semver": "1.0.0"}
    assert three.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    with pytest.raises(Restoring, match="comes back"):
        three.warm_resource("datasets", "a", "1.0.0")
    three.restore_resource("datasets", "a", "1.0.0")
    assert three.warm_resource("datasets", "a", "1.0.0").percent == 100


def test_an_explanation_names_every_file_and_its_share(three):
    """Those of the active version, or of one that is named; all of it is what the cache holds of the version."""
    found = three.explain_resource("datasets", "a")
    assert found.share == shared(three, 3)
    assert sum(file.bytes for file in found.files if file.path.startswith("data/")) > 3 * 8 * COUNT
    assert {file.cached_percent for file in found.files} == {100}
    three.rollback_resource("datasets", "a", "1.0.0")
    three.cool_resource("datasets", "a", "1.2.0")
    percents(three, lambda files: sorted(files.values()) == [0, 100, 100])
    assert three.explain_resource("datasets", "a", "1.2.0").share == shared(three, 3)


def test_an_explanation_of_what_is_just_leaving_says_where_it_goes(three, monkeypatch):
    """A version that is archived while somebody looks at it is in the cold tier, and not unknown."""
    explain = three.store.explain

    def leaving(*args):
        if three.find_version("datasets", "a", "1.0.0").state is not State.ARCHIVED:
            three.archive_resource("datasets", "a", "1.0.0")
        return explain(*args)

    monkeypatch.setattr(three.store, "explain", leaving)
    with pytest.raises(Restoring, match="comes back"):
        three.explain_resource("datasets", "a", "1.0.0")


def test_without_an_active_version_nothing_is_warmed(three):
    """Unless one is named."""
    three.deprecate_resource("datasets", "a", "1.2.0")
    with pytest.raises(NotActive):
        three.warm_resource("datasets", "a")
    assert three.warm_resource("datasets", "a", "1.1.0").percent == 100


# -- pins follow the pointer -------------------------------------------------------------------------------------------


def test_pins_follow_the_pointer(manager):
    """Whichever verb moves it: all files of the active version, and no other."""
    manager.set_rules(PIN)
    manager.register_resource("datasets", "a", rows(0))
    assert pinned(manager)[0] == ["1.0.0"]
    manager.update_resource("datasets", "a", rows(1))
    manager.update_resource("datasets", "a", rows(2), activate=False)
    one = pinned(manager)
    assert one[0] == ["1.1.0"]
    manager.activate_resource("datasets", "a", "1.2.0")
    assert pinned(manager)[0] == ["1.2.0"]
    manager.rollback_resource("datasets", "a")
    assert pinned(manager) == one
    manager.promote_resource("datasets", "a", "1.2.0", to="validation")
    assert pinned(manager) == one
    manager.promote_resource("datasets", "a", "1.2.0", to="production")
    assert pinned(manager)[0] == ["1.2.0"]
    manager.rollback_resource("datasets", "a", "1.1.0")
    manager.archive_resource("datasets", "a", "1.0.0")
    assert pinned(manager) == one
    manager.deprecate_resource("datasets", "a", "1.1.0")
    assert pinned(manager) == ([], 0)
    manager.activate_resource("datasets", "a", "1.1.0")
    assert pinned(manager) == one
    manager.delete_resource("datasets", "a")
    assert not any(file.pinned for file in manager.store._place.cache().look(TABLE).values())
    manager.undelete_resource("datasets", "a")
    assert pinned(manager) == one


def test_other_rules_are_followed_by_the_janitor_and_labels_at_once(three):
    """A policy that comes, no longer covers the resource, or goes; a pin that somebody set by hand goes as well."""
    three.run_policies()
    assert pinned(three) == ([], 0)
    three.set_rules(PIN + "labels = { tier = 'gold' }\n")
    three.label_resource("datasets", "a", {"tier": "gold"})
    assert pinned(three)[0] == ["1.2.0"]
    three.label_resource("datasets", "a", {"tier": "tin"})
    assert pinned(three) == ([], 0)
    three.set_rules(PIN)
    three.run_policies()
    assert pinned(three)[0] == ["1.2.0"]
    three.set_rules("")
    three.run_policies("datasets", "other")
    assert pinned(three)[0] == ["1.2.0"]
    three.run_policies("datasets", "a")
    assert pinned(three) == ([], 0)
    three.store.pin(TABLE, [1])
    three.run_policies(go_on=lambda: False)
    assert pinned(three)[0] == ["1.0.0"]
    three.run_policies()
    assert pinned(three) == ([], 0)


def test_pins_that_cannot_be_set_do_not_fail_the_verb(three, alluxio, tmp_path):
    """The pointer has moved; the janitor sets them later."""
    three.set_rules(PIN)
    place = three.store._place
    right, place._cache = place._cache, AlluxioCache(Namespace(port=Ports.free().proxy), place._bucket, place.path)
    assert three.rollback_resource("datasets", "a", "1.0.0").state is State.ACTIVE
    place._cache = right
    assert three.catalog.open_operations() == []
    assert pinned(three) == ([], 0)
    three.run_policies()
    assert pinned(three)[0] == ["1.0.0"]


VICTIM = """
import os, signal, sys
from pathlib import Path
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore
address, folder = sys.argv[1], Path(sys.argv[2])
def die(verb, step):
    if step == "committed":
        os.kill(os.getpid(), signal.SIGKILL)
store = LanceStore.at(address, folder / "data")
LocalManager(DatabaseCatalog.open(f"sqlite:///{folder}/catalog.db"), store, observer=die).rollback_resource("datasets", "a", "1.1.0")
"""


def test_a_process_that_dies_behind_the_move_of_the_pointer_leaves_the_pins_to_the_janitor(three, alluxio, tmp_path):
    """Killed when the catalog has the move and the cache does not know of it."""
    three.set_rules(PIN)
    three.run_policies()
    died = subprocess.run([sys.executable, "-c", VICTIM, alluxio, str(tmp_path)], check=False, timeout=100)
    assert died.returncode == -signal.SIGKILL
    assert three.find_version("datasets", "a").semver == "1.1.0"
    assert pinned(three)[0] == ["1.2.0"]
    three.run_policies()
    assert pinned(three)[0] == ["1.1.0"]
    assert three.catalog.open_operations() == []


# -- what is loaded ----------------------------------------------------------------------------------------------------


LOADS = """
[[cache]]
name = "scratch"
labels = { tier = "scratch" }
load = "none"

[[cache]]
name = "sets"
types = ["datasets"]
"""


@pytest.mark.parametrize(
    ("text", "type", "labels", "expected"),
    [
        ("", "datasets", {}, False),
        (LOADS, "datasets", {}, True),
        (LOADS, "datasets", {"tier": "gold"}, True),
        (LOADS, "datasets", {"tier": "scratch"}, False),
        (LOADS, "models", {}, False),
    ],
)
def test_the_first_policy_that_covers_a_resource_says_whether_it_is_loaded(tmp_path, text, type, labels, expected):
    """Without one reads bring it in."""
    store = LanceStore.local(Path(tmp_path / "data"))
    with LocalManager(DatabaseCatalog.open(f"sqlite:///{tmp_path}/catalog.db"), store) as manager:
        manager.set_rules(text)
        assert loads(manager._rooms.book, type, "a", labels) is expected
