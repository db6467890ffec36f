"""The verbs on a folder, by a real manager."""

import json
import os
import pty

import pytest

from alluxio_lance.cli.app import application


def test_a_resource_lives_through_all_verbs(embedded, first, more):
    """Register, update, roll back, activate, deprecate and delete leave the history that they should."""
    made = embedded.json(
        "register", "datasets/shop/rows", first, "-m", "the first", "--metadata", "license=MIT", "--metadata", "n=3"
    )["version"]
    assert (made["semver"], made["num_rows"], made["state"]) == ("1.0.0", 100, "active")
    assert made["metadata"] == {"license": "MIT", "n": 3}
    second = embedded.json("update", "datasets/shop/rows", more, "--mode", "upsert", "--on", "id")["version"]
    assert (second["semver"], second["num_rows"]) == ("1.1.0", 110)
    assert embedded.json("rollback", "datasets/shop/rows")["version"]["semver"] == "1.0.0"
    assert embedded.json("activate", "datasets/shop/rows@1.1.0")["version"]["state"] == "active"
    assert embedded.json("deprecate", "datasets/shop/rows", "1.0.0")["version"]["state"] == "deprecated"
    gone = embedded.json("delete", "datasets/shop/rows", "--yes", "-m", "done")
    assert (gone["deleted"]["name"], gone["deleted"]["semver"]) == ("shop/rows", None)
    assert embedded.json("list") == {"resources": []}
    events = embedded.json("history", "datasets/shop/rows")["events"]
    assert [event["verb"] for event in events] == [
        "register",
        "update",
        "rollback",
        "activate",
        "deprecate",
        "delete",
    ]
    assert (events[0]["message"], events[-1]["message"]) == ("the first", "done")


def test_list_and_show_tell_the_same_facts(embedded, first, more):
    """List names the active version, show any version, its schema and its siblings."""
    embedded("register", "datasets/rows", first, "--metadata", "license=MIT")
    embedded("update", "datasets/rows", more, "--no-activate", "--bump", "major")
    (resource,) = embedded.json("list", "datasets")["resources"]
    assert (resource["type"], resource["name"], resource["kind"], resource["versions"]) == (
        "datasets",
        "rows",
        "dataset",
        2,
    )
    assert resource["active"]["semver"] == "1.0.0"
    shown = embedded.json("show", "alluxio://datasets/rows@2")
    assert (shown["version"]["semver"], shown["version"]["state"]) == ("2.0.0", "registered")
    assert shown["version"]["schema"][0] == {"name": "id", "type": "int64", "nullable": True}
    assert [version["semver"] for version in shown["versions"]] == ["2.0.0", "1.0.0"]
    assert embedded.json("list", "models") == {"resources": []}


def test_show_names_the_newest_when_none_is_active(embedded, first):
    """Its state says that it is not served."""
    embedded("register", "datasets/rows", first)
    embedded("deprecate", "datasets/rows@1.0.0")
    assert embedded.json("show", "datasets/rows")["version"]["state"] == "deprecated"
    assert "deprecated" in embedded("show", "datasets/rows").stdout
    assert "none" in embedded("list").stdout


def test_metadata_alone_make_a_patch(embedded, first, tmp_path):
    """An update without data changes what is said about the rows, not the rows."""
    embedded("register", "datasets/rows", first)
    file = tmp_path / "about.json"
    file.write_text(json.dumps({"split": {"train": 0.9}}))
    made = embedded.json("update", "datasets/rows", "--metadata-file", file)["version"]
    assert (made["semver"], made["num_rows"], made["metadata"]) == ("1.0.1", 100, {"split": {"train": 0.9}})
    assert "train" in embedded("show", "datasets/rows").stdout


def test_a_request_id_makes_a_second_run_harmless(embedded, first):
    """It returns what the first run made."""
    one = embedded.json("register", "datasets/rows", first, "--request-id", "r1")
    assert embedded.json("register", "datasets/rows", first, "--request-id", "r1") == one


def test_options_go_to_the_importer(embedded, tmp_path):
    """A CSV file with another delimiter is read by telling so."""
    file = tmp_path / "rows.txt"
    file.write_text("a;b\n1;2\n3;4\n")
    made = embedded.json("register", "datasets/rows", file, "--format", "csv", "--option", 'delimiter=";"')["version"]
    assert made["num_rows"] == 2


@pytest.mark.parametrize("columns", ["80", "120"])
def test_text_fits_the_screen_and_says_what_comes_next(embedded, first, columns):
    """No line is longer than the screen; the next command works in the same place."""
    env = {"COLUMNS": columns}
    embedded("register", "datasets/" + "long-name-" * 5 + "x", first, env=env)
    made = embedded("register", "datasets/rows", first, "-m", "word " * 30, "--version", "3.2.1", env=env).stdout
    assert "registered datasets/rows: 3.2.1+" in made
    assert f"alluxio-lance {' '.join(embedded.options)} show datasets/rows@3.2.1\n" in made
    for command in (["list"], ["show", "datasets/rows"], ["history", "datasets/rows"]):
        text = embedded(*command, env=env).stdout
        assert max(map(len, text.splitlines())) <= int(columns), text
        assert "…" not in text


def test_without_a_terminal_names_are_whole(embedded, first):
    """A pipe has no width: what `grep` shall find is not folded."""
    name = "datasets/" + "long-name-" * 6 + "x"
    embedded("register", name, first)
    assert name in embedded("list").stdout


def test_delete_needs_a_terminal_or_yes(embedded, first):
    """Without either the resource stays."""
    embedded("register", "datasets/rows", first)
    assert "needs --yes" in embedded("delete", "datasets/rows", code=2).stderr
    assert len(embedded.json("list")["resources"]) == 1
    assert embedded("delete", "datasets/rows", "-y").stdout.startswith("deleted datasets/rows\n")


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0), (b"\x04", 1, 1)])
def test_on_a_terminal_delete_asks(connected, process, first, answer, code, left):
    """No, and the end of input, leave everything as it was."""
    connected("register", f"doomed/rows-{code}-{answer.hex()}", first)
    master, slave = pty.openpty()
    try:
        os.write(master, answer)
        done = process(*connected.options, "delete", f"doomed/rows-{code}-{answer.hex()}", stdin=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == code, done.stderr
    assert f"Delete doomed/rows-{code}-{answer.hex()} with 1 version?" in done.stderr
    assert len(connected.json("list", "doomed")["resources"]) == left
    if left:
        connected("delete", f"doomed/rows-{code}-{answer.hex()}", "--yes")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "datasets/nope"], 4, "there is no datasets/nope"),
        (["register", "datasets/rows", "/nope"], 4, "there is no /nope"),
        (["register", "datasets/rows@1.0.0", "FIRST"], 2, "the whole datasets/rows"),
        (["activate", "datasets/rows"], 2, "which version of datasets/rows"),
        (["update", "datasets/rows", "FIRST"], 4, "register"),
        (["show", "rows"], 2, "^"),
        (["update", "datasets/rows", "FIRST", "--mode", "upsert"], 2, "--on COLUMN"),
        (["update", "datasets/rows", "FIRST", "--on", "id"], 2, "--mode upsert"),
        (["cache", "status"], 2, "belongs to a sidecar"),
    ],
)
def test_a_refusal_is_one_message_and_its_exit_code(embedded, first, words, code, says):
    """On stderr, with nothing on stdout; with ``--json`` it is an object with the same code."""
    words = [first if word == "FIRST" else word for word in words]
    result = embedded(*words, code=code)
    assert says in result.stderr
    assert result.stdout == ""
    result = embedded(*words, "--json", code=code)
    record = json.loads(result.stderr)["error"]
    assert record["exit_code"] == code
    assert says in record["message"]
    assert result.stdout == ""


def test_an_existing_name_is_a_conflict(embedded, first):
    """Exit code 5, and the way out."""
    embedded("register", "datasets/rows", first)
    assert "alluxio-lance update" in embedded("register", "datasets/rows", first, code=5).stderr


def test_an_empty_folder_says_what_to_do(embedded):
    """The hint is a command that works in the same place."""
    assert "register datasets/NAME DATA" in embedded("list").stdout


def test_a_type_without_resources_is_not_an_empty_catalog(embedded, first):
    """The hint leads to what there is."""
    embedded("register", "datasets/rows", first)
    said = embedded("list", "dataset").stdout
    assert "'dataset'" in said
    assert "nothing is registered yet" not in said
    assert said.endswith(" list\n")


def test_a_file_is_no_folder_to_work_in(embedded, first):
    """Wrong usage, and not a fault of ours."""
    embedded.options = ["--embedded", str(first)]
    assert f"--embedded {first} is no folder" in embedded("list", code=2).stderr


def test_what_came_in_is_named(embedded, first):
    """The columns tell whether the importer understood the data."""
    assert "columns  id, price, name\n" in embedded("register", "datasets/rows", first).stdout


def test_every_command_has_a_help_text():
    """And the commands are those of the contract."""
    names = [command.name for command in application.registered_commands]
    wanted = """
        activate alert approve archive bench branch delete demo deprecate doctor history label list measure merge
        mount promote promotions purge reconcile register reject restore rollback show tag unbranch undelete unmount untag up update
        whoami
    """
    assert sorted(names) == wanted.split()
    for command in application.registered_commands:
        assert command.callback.__doc__
