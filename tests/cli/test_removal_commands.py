"""The end of a resource, and the way back from it."""

import json
import os
import pty

import pytest

from alluxio_lance.client.table import Table


@pytest.fixture
def filled(embedded, first, more):
    """Give the command on a folder with two versions, of which the second is active."""
    embedded("register", "datasets/rows", first)
    embedded("update", "datasets/rows", more)
    return embedded


def test_a_deleted_resource_says_until_when_it_can_come_back(filled):
    """With the command that does it; it is out of sight, and not out of the catalog."""
    said = filled("delete", "datasets/rows", "--yes").stdout
    assert said.startswith("deleted datasets/rows\n")
    assert "in 7 days: then it is purged" in said
    assert said.endswith("undelete datasets/rows\n")
    assert "nothing is registered" in filled("list").stdout
    (gone,) = filled.json("list", "--deleted")["resources"]
    assert (gone["name"], gone["versions"]) == ("rows", 2)
    assert gone["purge_at"] is not None
    assert "in 7 days" in filled("list", "--deleted").stdout
    assert filled("undelete", "datasets/rows").stdout.startswith("undeleted datasets/rows\n")
    assert filled.json("show", "datasets/rows")["version"]["semver"] == "1.1.0"
    assert "nothing that was deleted" in filled("list", "--deleted").stdout


def test_one_version_can_be_deleted_alone(filled):
    """Its siblings stay; `show` has it among the deleted ones until it is purged."""
    record = filled.json("delete", "datasets/rows@1.0", "--yes")["deleted"]
    assert (record["semver"], record["name"]) == ("1.0.0", "rows")
    shown = filled.json("show", "datasets/rows")
    assert [each["semver"] for each in shown["versions"]] == ["1.1.0"]
    assert [each["semver"] for each in shown["deleted"]] == ["1.0.0"]
    assert "purge in 7 days" in filled("show", "datasets/rows").stdout
    assert filled.json("undelete", "datasets/rows@1.0.0") == {
        "undeleted": {"type": "datasets", "name": "rows", "semver": "1.0.0"}
    }
    assert filled.json("show", "datasets/rows@1.0.0")["version"]["state"] == "registered"
    assert "undelete datasets/rows@1.0.0\n" in filled("delete", "datasets/rows@1.0.0", "--yes").stdout
    assert filled.json("purge", "datasets/rows@1.0.0", "--yes") == {
        "purged": {"type": "datasets", "name": "rows", "semver": "1.0.0"}
    }
    assert filled.json("show", "datasets/rows")["deleted"] == []


def test_a_purge_leaves_the_history_alone(filled, tmp_path):
    """And no byte of the table; what was not deleted before is not purged."""
    assert "delete" in filled("purge", "datasets/rows", "--yes", code=2).stderr
    filled("delete", "datasets/rows", "--yes")
    assert "needs --yes" in filled("purge", "datasets/rows", code=2).stderr
    assert filled("purge", "datasets/rows", "-y").stdout == (
        "purged datasets/rows: no byte of it is left; its history stays\n"
    )
    assert not list((tmp_path / "root" / "data").rglob("*.lance"))
    assert [event["verb"] for event in filled.json("history", "datasets/rows")["events"]][-2:] == ["delete", "purge"]
    filled("undelete", "datasets/rows", code=4)


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_on_a_terminal_purge_asks(filled, process, answer, code, left):
    """Only yes removes anything."""
    filled("delete", "datasets/rows", "--yes")
    master, slave = pty.openpty()
    try:
        os.write(master, answer)
        done = process(*filled.options, "purge", "datasets/rows", stdin=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == code, done.stderr
    assert "Nothing brings it back." in done.stderr
    assert len(filled.json("list", "--deleted")["resources"]) == left


def test_force_deletes_what_is_being_read(connected, system, first):
    """The reader keeps what it has mapped; without force it is named."""
    connected("register", "datasets/forced", first)
    with Table.open("alluxio://datasets/forced", address=system.address.grpc) as table:
        assert str(os.getpid()) in connected("delete", "datasets/forced", "--yes", code=3).stderr
        connected("delete", "datasets/forced", "--yes", "--force")
        assert table.column("id").array.tolist() == list(range(100))


def test_a_grace_time_of_nothing_is_purged_by_the_janitor(filled, tmp_path):
    """`policy plan` shows it, `policy run` does it, and both say how much that frees."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[deletion]\ngrace = "0s"\n')
    filled("rules", "set", rules)
    filled("delete", "datasets/rows", "--yes")
    (row,) = filled.json("policy", "plan")["rows"]
    assert (row["action"], row["name"], row["semver"], row["policy"], row["blocked"]) == (
        "purge",
        "rows",
        None,
        "grace",
        None,
    )
    assert row["frees_hot"] > 0
    assert "1 to purge" in filled("policy", "plan").stdout
    ran = filled("policy", "run").stdout
    assert "✓ done" in ran
    assert "1 purged" in ran
    assert filled.json("list", "--deleted") == {"resources": []}
    assert "have nothing to do" in filled("policy", "plan", "datasets").stdout


def test_policies_say_what_they_would_do_and_do_it(filled, first, tmp_path):
    """Older versions than the last are deleted; a tag protects one; another resource is not meant."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[policies]]\nname = "few"\nkeep_last = 1\n')
    filled("rules", "set", rules)
    filled("register", "datasets/other", first)
    (row,) = filled.json("policy", "plan", "datasets/rows")["rows"]
    assert (row["action"], row["semver"], row["policy"]) == ("delete", "1.0.0", "few")
    assert filled.json("policy", "plan", "datasets/other")["rows"] == []
    ran = json.loads(filled("policy", "run", "--json").stdout)
    assert [(row["semver"], row["outcome"]) for row in ran["rows"]] == [("1.0.0", "done")]
    assert [each["semver"] for each in filled.json("show", "datasets/rows")["deleted"]] == ["1.0.0"]


def test_nothing_to_mend_says_so(embedded):
    """And is an empty list for a program."""
    assert embedded("reconcile").stdout == "nothing was left behind\n"
    assert embedded.json("reconcile") == {"findings": []}
