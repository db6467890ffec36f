"""Archive and restore, on a folder and on a running system."""

import json
import re

import pytest
from rich.console import Console

from alluxio_lance.cli.failure import report
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.client.table import Table
from alluxio_lance.errors import Restoring


def fill(command, name, first, more):
    """Bring two versions in; the second is active."""
    command("register", name, first)
    command("update", name, more)


@pytest.mark.parametrize("place", ["embedded", "connected"])
def test_an_archived_version_comes_back_as_it_was(request, place, first, more):
    """Listed meanwhile, with its bytes in the cold tier; its content hash is the same in the end."""
    command = request.getfixturevalue(place)
    name = f"datasets/cold/{place}"
    fill(command, name, first, more)
    before = command.json("show", f"{name}@1.0.0")["version"]
    archived = command.json("archive", f"{name}@1.0.0", "-m", "not needed now")["version"]
    assert (archived["state"], archived["content_hash"]) == ("archived", before["content_hash"])
    assert archived["cold_bytes"] > 0
    assert archived["archived_at"] is not None
    text = command("show", f"{name}@1.0.0", env={"COLUMNS": "80"}).stdout
    assert "in the cold tier since" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    versions = {each["semver"]: each for each in command.json("show", name, "--storage")["storage"]["versions"]}
    assert (versions["1.0.0"]["hot_bytes"], versions["1.0.0"]["cold_bytes"]) == (0, archived["cold_bytes"])
    assert "1.0.0" in command("show", name, "--storage").stdout
    said = command("restore", name, "1.0.0").stdout
    assert said.startswith(f"restored {name}: 1.0.0+")
    back = command.json("show", f"{name}@1.0.0")["version"]
    assert (back["state"], back["content_hash"], back["version"]) == (
        "registered",
        before["content_hash"],
        before["version"],
    )
    assert command.json("restore", f"{name}@1.0.0")["version"]["state"] == "registered"


def test_archive_says_what_is_next(embedded, first, more):
    """How to get it back, and how much lies where."""
    fill(embedded, "datasets/rows", first, more)
    said = embedded("archive", "datasets/rows", "1.0.0").stdout
    assert re.search(r"size +[\d.]+ \w+ in the cold tier", said)
    assert said.endswith("restore datasets/rows@1.0.0\n")


@pytest.mark.parametrize(
    "words",
    [("activate", "datasets/cold/wanted@1.0.0"), ("rollback", "datasets/cold/wanted@1.0.0")],
    ids=["activate", "rollback"],
)
def test_a_verb_that_needs_it_waits_for_it(embedded, first, more, words):
    """It says so, and goes on when it is back."""
    fill(embedded, "datasets/cold/wanted", first, more)
    embedded("archive", "datasets/cold/wanted@1.0.0")
    result = embedded(*words)
    assert "1.0.0 comes back from the cold tier first" in result.stderr
    assert "active" in result.stdout
    assert embedded.json("show", "datasets/cold/wanted")["version"]["semver"] == "1.0.0"


def test_a_reader_on_the_node_stops_an_archive(connected, system, first, more):
    """Exit code 3, with the process; when it has let go it works."""
    fill(connected, "datasets/cold/held", first, more)
    with Table.open("alluxio://datasets/cold/held@1.0.0", address=system.address.grpc):
        import os

        assert str(os.getpid()) in connected("archive", "datasets/cold/held@1.0.0", code=3).stderr
    assert connected.json("archive", "datasets/cold/held@1.0.0")["version"]["state"] == "archived"


def test_opening_an_archived_version_brings_it_back(connected, first, more):
    """`cache prefetch` waits for it, as every reader can."""
    fill(connected, "datasets/cold/opened", first, more)
    connected("archive", "datasets/cold/opened@1.0.0")
    assert "is hot: 100 rows" in connected("cache", "prefetch", "datasets/cold/opened@1.0.0").stdout
    assert connected.json("show", "datasets/cold/opened@1.0.0")["version"]["state"] == "registered"


def test_without_waiting_it_says_how_far_it_is(connected, first, more):
    """Exit code 1 while it is under way, 0 when it is back, which is soon for 100 rows."""
    fill(connected, "datasets/cold/later", first, more)
    connected("archive", "datasets/cold/later@1.0.0")
    refused = connected("restore", "datasets/cold/later@1.0.0", "--no-wait", "--json", code=1)
    error = json.loads(refused.stderr)["error"]
    assert (error["kind"], error["exit_code"]) == ("Restoring", 1)
    assert 0 <= error["details"]["progress"] <= 1
    assert connected.json("restore", "datasets/cold/later@1.0.0")["version"]["state"] == "registered"
    assert connected("restore", "datasets/cold/later@1.0.0", "--no-wait").stdout.startswith("restored ")


@pytest.mark.parametrize(
    "words",
    [("restore", "datasets/rows@1.0.0", "--no-wait"), ("activate", "datasets/rows@1.0.0", "--no-wait")],
    ids=["restore", "activate"],
)
def test_a_folder_has_nobody_who_goes_on(embedded, words):
    """Not to wait would be to give up, so it is refused."""
    assert "needs a sidecar" in embedded(*words, code=2).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [(("archive", "datasets/rows"), "which version of"), (("restore", "datasets/rows"), "which version of")],
)
def test_the_version_has_to_be_named(embedded, words, says):
    """The active one is never meant."""
    assert says in embedded(*words, code=2).stderr


def test_the_active_version_stays(embedded, first):
    """Exit code 2 with the way out."""
    embedded("register", "datasets/rows", first)
    assert "active" in embedded("archive", "datasets/rows@1.0.0", code=2).stderr


def test_how_far_a_restore_is_has_a_bar(capsys):
    """Of the error's own number, on every command that raises it."""
    code = report(Restoring("x 1.0.0 comes back (40%)", progress=0.4), Console(stderr=True, width=80), as_json=False)
    printed = capsys.readouterr().err
    assert code == 1
    assert "█" * 12 + "░" * 18 + "  40% is back" in printed


def test_not_to_wait_goes_through(connected, monkeypatch):
    """A verb that meets a restore answers with it at once."""

    def activate(self, *_names, **_more):
        raise Restoring("it comes back", progress=0.25, semver="1.0.0")

    # A restore of some hundred rows is over before a second command could see it.
    monkeypatch.setattr(RemoteManager, "activate_resource", activate)
    refused = connected("activate", "datasets/cold/x@1.0.0", "--no-wait", code=1)
    assert "25% is back" in refused.stderr
