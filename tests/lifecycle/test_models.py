"""Models in the lifecycle: every verb on a resource whose versions are models, and what is refused."""

import runpy
import shutil
import tempfile
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.models import delta
from alluxio_lance.values import Kind, State
from alluxio_lance.weights.rows import MODEL_SCHEMA, Notes

# The folders of tests are no packages.
DYING = runpy.run_path(str(Path(__file__).with_name("dying.py")))
Death, Fate, mortal = DYING["Death"], DYING["Fate"], DYING["mortal"]
PARTS = runpy.run_path(str(Path(__file__).with_name("model_parts.py")))
rows_of, tensors_of, weights = PARTS["rows_of"], PARTS["tensors_of"], PARTS["weights"]

HERE = "/dev/shm" if Path("/dev/shm").is_dir() else None
FIRST = weights()
TUNED = {**FIRST, "layer.3": FIRST["layer.3"] ^ 1}
NAME = ("models", "m")


def plain(arrays):
    """Say what `tensors` finds of a model."""
    return {name: array.tobytes() for name, array in arrays.items()}


def tensors(manager, selector=None):
    """Read the tensors of a version."""
    found = manager.find_version(*NAME, selector)
    return tensors_of(found.location, found.version)


def tune(manager, arrays=TUNED, **options):
    """Make the next version."""
    return manager.update_resource(*NAME, rows_of(arrays), mode="overwrite", **options)


@pytest.fixture
def embedded(tmp_path):
    """Give an embedded manager with a model of two versions."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource(*NAME, rows_of(FIRST), metadata={"accuracy": 0.9})
        tune(manager)
        yield manager


# -- through both managers ---------------------------------------------------------------------------------------------


def test_a_model_is_registered_updated_and_rolled_back(manager):
    """Embedded and through a sidecar: versions, numbers, metadata, the pointer."""
    first = manager.register_resource(*NAME, rows_of(FIRST), metadata={"accuracy": 0.9})
    assert (first.semver, first.state, dict(first.metadata)) == ("1.0.0", State.ACTIVE, {"accuracy": 0.9})
    (resource,) = manager.list_resources("models")
    assert resource.kind is Kind.MODEL
    second = tune(manager, message="tuned")
    assert (second.semver, second.num_rows) == ("1.1.0", first.num_rows)
    assert second.content_hash != first.content_hash
    third = manager.update_resource(*NAME, metadata={"accuracy": 0.95})
    assert (third.semver, third.content_hash) == ("1.1.1", second.content_hash)
    manager.rollback_resource(*NAME, "1.0.0")
    assert tensors(manager) == plain(FIRST)
    assert tensors(manager, "1.1.0") == tensors(manager, "1.1.1") == plain(TUNED)
    fourth = tune(manager, {**FIRST, "layer.0": FIRST["layer.1"]})
    assert fourth.semver == "1.2.0"
    assert tensors(manager) == plain({**FIRST, "layer.0": FIRST["layer.1"]})
    assert tensors(manager, "1.1.0") == plain(TUNED)


TABLE = pa.table({"id": [1]})
WRONG = [row for row in rows_of(FIRST).read_all().to_pylist() if row["name"] != "layer.3"]
REFUSED = {
    "register a table": (lambda m: m.register_resource("models", "new", TABLE), "save_model"),
    "register a number": (lambda m: m.register_resource("models", "new", 7), "not accepted"),
    "register a dataset": (lambda m: m.register_resource("datasets", "new", rows_of(FIRST)), "models/new"),
    "overwrite by a table": (lambda m: m.update_resource(*NAME, TABLE, mode="overwrite"), "save_model"),
    "overwrite a dataset": (lambda m: m.update_resource("datasets", "d", rows_of(FIRST), mode="overwrite"), "models/d"),
    "append to a dataset": (lambda m: m.update_resource("datasets", "d", rows_of(FIRST)), "models/d"),
    "append": (lambda m: m.update_resource(*NAME, rows_of(FIRST)), "model save"),
    "append a table": (lambda m: m.update_resource(*NAME, TABLE), "save_model"),
    "upsert": (lambda m: m.update_resource(*NAME, rows_of(FIRST), mode="upsert", on="name"), "save_model"),
    "a model without notes": (
        lambda m: m.register_resource("models", "new", pa.Table.from_pylist(WRONG[1:], MODEL_SCHEMA)),
        "no notes",
    ),
    "a model twice": (
        lambda m: m.update_resource(*NAME, pa.Table.from_pylist(WRONG * 2, MODEL_SCHEMA), mode="overwrite"),
        "twice",
    ),
}


def test_what_is_no_model_is_refused_and_changes_nothing(manager, tmp_path):
    """Each with a sentence that names the verb for models, in which nothing stays on the disk."""
    manager.register_resource(*NAME, rows_of(FIRST))
    manager.register_resource("datasets", "d", TABLE)

    def state():
        files = [path for path in (tmp_path / "root" / "data").rglob("data/*.lance") if path.is_file()]
        return manager.list_resources(), manager.find_version(*NAME), sorted(files)

    before = state()
    for name, (call, message) in REFUSED.items():
        with pytest.raises(InvalidArgument, match=message):
            pytest.fail(f"{name}: {call(manager)}")
        assert state() == before, name


# -- embedded ----------------------------------------------------------------------------------------------------------


def test_storage_shows_what_a_difference_takes(tmp_path):
    """One tensor of fifty changes: the second version takes less than 3 % of the first alone."""
    arrays = weights(count=50, size=40_000)
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource(*NAME, rows_of(arrays))
        tune(manager, {**arrays, "layer.7": arrays["layer.7"] ^ 1})
        newest, oldest = manager.storage(*NAME).versions
        assert (newest.semver, oldest.semver) == ("1.1.0", "1.0.0")
        assert newest.unique_bytes < 0.03 * oldest.hot_bytes
        assert newest.shared_bytes > 0.99 * 50 * 40_000


def test_an_archived_version_comes_back(embedded):
    """What it shares with others stays, what it has alone goes to the cold tier and returns."""
    embedded.archive_resource(*NAME, "1.0.0")
    assert tensors(embedded) == plain(TUNED)
    embedded.restore_resource(*NAME, "1.0.0")
    assert tensors(embedded, "1.0.0") == plain(FIRST)
    tune(embedded, FIRST)
    embedded.archive_resource(*NAME, "1.1.0")
    assert tensors(embedded) == tensors(embedded, "1.0.0") == plain(FIRST)
    embedded.restore_resource(*NAME, "1.1.0")
    assert tensors(embedded, "1.1.0") == plain(TUNED)


def test_a_branch_of_a_model_goes_on_and_is_merged(embedded):
    """Its own versions are differences, and what comes to the main line is exactly the branch's model."""
    embedded.branch_resource(*NAME, "exp", version="1.0.0")
    other = {**FIRST, "layer.5": FIRST["layer.5"] ^ 7, "more": FIRST["layer.0"]}
    made = tune(embedded, other, branch="exp")
    assert (made.semver, tensors(embedded, "exp")) == ("1.0.0-exp.2", plain(other))
    with pytest.raises(InvalidArgument, match="save_model"):
        embedded.update_resource(*NAME, rows_of(other), branch="exp")
    merged = embedded.merge_resource(*NAME, "exp")
    assert (merged.semver, tensors(embedded)) == ("1.2.0", plain(other))
    newest = embedded.storage(*NAME).versions[0]
    assert newest.shared_bytes > 4 * 1000
    embedded.unbranch_resource(*NAME, "exp")
    assert tensors(embedded) == plain(other)
    assert tensors(embedded, "1.1.0") == plain(TUNED)


def test_old_versions_are_deprecated_deleted_and_purged(embedded):
    """The others keep what they share with them."""
    embedded.deprecate_resource(*NAME, "1.0.0")
    assert embedded.find_version(*NAME, "1.0.0").state is State.DEPRECATED
    embedded.delete_resource(*NAME, "1.0.0")
    embedded.purge_resource(*NAME, "1.0.0")
    with pytest.raises(NotFound):
        embedded.find_version(*NAME, "1.0.0")
    assert tensors(embedded) == plain(TUNED)
    embedded.delete_resource(*NAME)
    embedded.undelete_resource(*NAME)
    assert tensors(embedded) == plain(TUNED)
    embedded.delete_resource(*NAME)
    embedded.purge_resource(*NAME)
    assert embedded.list_resources() == []


def test_a_model_is_registered_from_a_table_of_another_place(embedded, tmp_path):
    """The rows of a version lie in any order after an update; a copy of them is a model again."""
    folder = embedded.find_version(*NAME).location
    embedded.register_resource("models", "copy", folder)
    found = embedded.find_version("models", "copy")
    assert tensors_of(found.location, found.version) == plain(TUNED)


def test_a_stranger_in_the_middle_of_an_update_is_a_conflict(embedded, monkeypatch):
    """Rows that somebody appends while a difference is written do not become part of the model."""
    uri = embedded.find_version(*NAME).location
    real = lance.LanceDataset.commit

    def late(*args, **options):
        monkeypatch.setattr(delta.lance.LanceDataset, "commit", staticmethod(real))
        lance.write_dataset(lance.dataset(uri).to_table(limit=1), uri, mode="append")
        return real(*args, **options)

    monkeypatch.setattr(delta.lance.LanceDataset, "commit", staticmethod(late))
    with pytest.raises(Conflict, match="another writer"):
        tune(embedded, FIRST)
    assert tensors(embedded) == plain(TUNED)
    made = tune(embedded, FIRST)
    assert (made.semver, tensors(embedded)) == ("1.2.0", plain(FIRST))


def test_notes_alone_make_a_version(embedded):
    """What belongs to the bytes is part of the content hash."""
    before = embedded.find_version(*NAME)
    made = embedded.update_resource(*NAME, rows_of(TUNED, Notes(extra={"epoch": 3})), mode="overwrite")
    assert made.content_hash != before.content_hash
    assert tensors(embedded) == plain(TUNED)


def test_a_file_that_is_no_table_is_refused_with_the_way_for_models(embedded, tmp_path):
    """Whoever gives the file of a model to register learns of the verb for it."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(8))
    with pytest.raises(InvalidArgument, match=r"models/new is a model: save it with save_model"):
        embedded.register_resource("models", "new", path)


# -- deaths ------------------------------------------------------------------------------------------------------------

VERBS = {
    "create": lambda m: m.register_resource("models", "new", rows_of(FIRST)),
    "overwrite": lambda m: tune(m, FIRST),
    "merge": lambda m: m.merge_resource(*NAME, "exp"),
}
"""By the call of the store that writes."""


@pytest.fixture(scope="module")
def prepared():
    """Give a folder with a model of two versions and a branch."""
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        with al.ResourceManager.embedded(Path(folder) / "root") as manager:
            manager.register_resource(*NAME, rows_of(FIRST))
            tune(manager)
            manager.branch_resource(*NAME, "exp", version="1.0.0")
            tune(manager, {**TUNED, "more": FIRST["layer.0"]}, branch="exp")
        yield Path(folder) / "root"


def state(manager):
    """Read everything that a user can see."""
    versions = [each for found in manager.list_resources() for each in manager.list_versions("models", found.name)]
    return {
        (version.name, version.semver): (version.state.value, tensors_of(version.location, version.version))
        for version in versions
    }


@pytest.mark.parametrize("call", ["overwrite", "merge"])
def test_a_death_right_after_a_stranger_came_in_between_is_undone(prepared, tmp_path, monkeypatch, call):
    """The commit went through over rows of somebody else, and nobody was left to say so: the next process removes it."""
    root = tmp_path / "root"
    shutil.copytree(prepared, root)
    with al.ResourceManager.embedded(root) as manager:
        before, uri = state(manager), manager.find_version(*NAME).location
    real = lance.LanceDataset.commit
    fate = Fate()

    def late(*args, **options):
        lance.write_dataset(lance.dataset(uri).to_table(limit=1), uri, mode="append")
        return real(*args, **options)

    def overtaken(_):
        fate.dead = True
        raise Death

    catalog, store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
    victim = mortal(catalog, store, fate)
    with monkeypatch.context() as patch:
        patch.setattr(delta.lance.LanceDataset, "commit", staticmethod(late))
        patch.setattr(delta, "_overtaken", overtaken)
        with pytest.raises(Death):
            VERBS[call](victim)
    victim._rooms.journal.close()
    catalog.close()
    with al.ResourceManager.embedded(root) as manager:
        assert manager.catalog.open_operations() == []
        assert state(manager) == before
        VERBS[call](manager)
        assert tensors(manager) == plain(FIRST if call == "overwrite" else {**TUNED, "more": FIRST["layer.0"]})


@pytest.mark.parametrize("call", VERBS)
def test_a_death_beside_the_write_leaves_the_verb_done_or_undone(prepared, tmp_path, call):
    """Before the store writes nothing is there; after it the next process completes the version."""

    def run(fate, folder):
        shutil.copytree(prepared, folder)
        catalog, store = DatabaseCatalog.open(catalog_url(folder)), LanceStore.local(tables_folder(folder))
        victim = mortal(catalog, store, fate)
        try:
            VERBS[call](victim)
        except Death:
            pass
        finally:
            victim._rooms.journal.close()
            catalog.close()
        with al.ResourceManager.embedded(folder) as manager:
            assert manager.catalog.open_operations() == []
            return state(manager)

    whole = Fate()
    after = run(whole, tmp_path / "whole")
    assert whole.told.count(call) == 1
    at = whole.told.index(call) + 1
    with al.ResourceManager.embedded(prepared) as manager:
        before = state(manager)
    assert before != after
    assert run(Fate(at=at), tmp_path / "before") == before
    assert run(Fate(at=at, answered=True), tmp_path / "after") == after
