"""The commands about Alluxio's cache, as a user runs them: on a real Alluxio, and on a folder, which has none."""

import pytest

from alluxio_lance.errors import Unavailable
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.storage.store import LanceStore

from .conftest import Command


@pytest.fixture
def below(alluxio, tmp_path, first, more):
    """The command on a sidecar whose tables lie in Alluxio; of a dataset's two versions the second is active."""
    settings = Settings(
        root=tmp_path / "root",
        run_dir=tmp_path / "run",
        store=alluxio,
        memory_budget="64MiB",
        disk_budget="64MiB",
        prefetch="none",
        janitor_interval=0,
    )
    with Sidecar(settings) as sidecar:
        command = Command(["--address", sidecar.address.grpc])
        command("register", "datasets/rows", first)
        command("update", "datasets/rows", more, "--mode", "overwrite")
        yield command


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_version_is_freed_explained_and_loaded(below, columns):
    """Each command says what is cached now; what a screen shows fits it."""
    assert "may leave the cache" in below("cache", "free", "datasets/rows@1.0.0").stdout
    explained = below("cache", "explain", "datasets/rows@1.0.0", env={"COLUMNS": columns}).stdout
    assert max(map(len, explained.splitlines())) <= int(columns)
    assert "endpoint" in explained
    assert "not cached on this node" in " ".join(explained.split())
    found = below.json("cache", "explain", "datasets/rows@1.0.0")
    assert found["share"]["percent"] < 100
    assert found["ways"].keys() == {"endpoint"}
    assert "cached" in below("show", "datasets/rows@1.0.0", env={"COLUMNS": columns}).stdout
    shown = below.json("show", "datasets/rows@1.0.0")
    assert (shown["cache"]["percent"], shown["cached_percent"]["1.1.0"]) == (found["share"]["percent"], 100)
    loaded = below("cache", "load", "datasets/rows@1.0.0").stdout
    assert loaded.startswith("loaded datasets/rows@1.0.0: 100% of ")
    assert below.json("cache", "load", "datasets/rows")["share"]["percent"] == 100
    assert below.json("cache", "explain", "datasets/rows@1.0.0")["ways"].keys() == {"short-circuit"}
    stored = below("show", "datasets/rows", "--storage", env={"COLUMNS": columns}).stdout
    assert stored.count("100%") == 2
    assert max(map(len, stored.splitlines())) <= int(columns)


def test_what_is_wrong_has_its_exit_code(below):
    """The active version is not freed; what is not there is not found; what is in the cold tier says so."""
    assert "is active" in below("cache", "free", "datasets/rows", code=2).stderr
    for verb in ("load", "free", "explain"):
        assert "none" in below("cache", verb, "datasets/none", code=4).stderr
        assert "plain file" in below("cache", verb, "alluxio:///x", code=2).stderr
    below("archive", "datasets/rows@1.0.0")
    assert "cold tier" in below("cache", "explain", "datasets/rows@1.0.0", code=1).stderr
    assert below.json("show", "datasets/rows@1.0.0")["cache"] is None
    assert below("cache", "load", "datasets/rows@1.0.0").stdout.startswith("loaded datasets/rows@1.0.0: 100% of ")


def test_a_version_is_shown_while_the_store_is_down(below, monkeypatch):
    """A stand-in for an Alluxio that went away: what the catalog knows is there, and why the rest is not."""

    def refuse(*_):
        raise Unavailable(
            "Alluxio does not answer (LanceError(IO): GET http://x/_versions/1, after 10 retries)", what=""
        )

    monkeypatch.setattr(LanceStore, "explain", refuse)
    text = " ".join(below("show", "datasets/rows").stdout.split())
    assert "cached not known: Alluxio does not answer made" in text
    assert "rows 20" in text
    assert below.json("show", "datasets/rows")["cache"] == {"error": "not known: Alluxio does not answer"}
    assert "does not answer" in below("cache", "explain", "datasets/rows", code=1).stderr


def test_a_folder_has_no_cache(embedded, first):
    """Without a sidecar, too: every file is local, nothing is to load or to free."""
    embedded("register", "datasets/rows", first)
    assert "no cache between" in embedded("cache", "load", "datasets/rows").stdout
    text = embedded("cache", "explain", "datasets/rows").stdout
    assert "(100%)" in text
    assert "Cached" not in text
    assert embedded.json("cache", "explain", "datasets/rows")["share"] is None
    embedded("deprecate", "datasets/rows@1.0.0")
    assert "nothing to free" in embedded("cache", "free", "datasets/rows@1.0.0").stdout
    assert embedded.json("cache", "free", "datasets/rows@1.0.0")["freed_bytes"] == 0
    assert "cached" not in embedded("show", "datasets/rows@1.0.0").stdout
