"""The commands audit verify and audit export, on a folder and on a database URL."""

import json
import sqlite3

import pytest


@pytest.fixture
def trail(embedded, first, more, tmp_path):
    """Give a folder with three audit rows, and the path of its database."""
    embedded("register", "datasets/a", first)
    embedded("update", "datasets/a", more, "-m", "more rows")
    embedded("rollback", "datasets/a")
    return tmp_path / "root" / "catalog.db"


def forge(path, statement):
    """Change the database behind the catalog's back."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def test_an_intact_trail_is_said_to_be_one(embedded, trail):
    """People see how many rows and the last hash, programs the whole report."""
    assert "3 audit rows are as they were written" in embedded("audit", "verify").stdout
    report = embedded.json("audit", "verify")
    assert (report["rows"], report["head"], report["fault"], len(report["head_hash"])) == (3, 3, None, 64)


def test_a_fault_is_named_and_ends_with_1(embedded, trail, tmp_path):
    """Folder and URL find the same row."""
    forge(trail, "UPDATE events SET actor = 'nobody' WHERE sequence = 2")
    shown = embedded("audit", "verify", code=1).stdout
    assert "row 2 of the audit trail: changed" in shown
    assert "nobody" in shown
    embedded.options.clear()
    fault = json.loads(embedded("audit", "verify", "--catalog", f"sqlite:///{trail}", "--json", code=1).stdout)["fault"]
    assert (fault["kind"], fault["sequence"]) == ("changed", 2)


def test_an_export_is_lines_of_json(embedded, trail, tmp_path):
    """On stdout, or in a file with a count."""
    lines = [json.loads(line) for line in embedded("audit", "export").stdout.splitlines()]
    assert [(line["sequence"], line["verb"], line["outcome"]) for line in lines] == [
        (1, "register", "done"),
        (2, "update", "done"),
        (3, "rollback", "done"),
    ]
    output = tmp_path / "audit.jsonl"
    assert "3 audit rows are in" in embedded("audit", "export", "-o", output).stdout
    assert embedded.json("audit", "export", "-o", output) == {"rows": 3, "output": str(output)}
    assert [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()] == lines


@pytest.mark.parametrize(
    ("options", "words", "code", "message"),
    [
        ([], ["verify"], 2, "give audit … --catalog URL"),
        (["--embedded", "{}"], ["verify", "--catalog", "sqlite:////x"], 2, "exclude each other"),
        (["--embedded", "{}"], ["export", "--json"], 2, "--json goes with --output"),
        (["--embedded", "{}"], ["verify"], 4, "there is no catalog at"),
        ([], ["verify", "--catalog", "sqlite:////nowhere/at/all"], 4, "there is no catalog at /nowhere/at/all"),
        ([], ["verify", "--catalog", "mongodb://x"], 2, "cannot be kept in 'mongodb'"),
    ],
)
def test_what_cannot_be_read_is_refused_and_not_made(embedded, tmp_path, options, words, code, message):
    """A wrong place is a sentence, and no new database."""
    embedded.options[:] = [option.format(tmp_path / "none") for option in options]
    assert message in " ".join(embedded("audit", *words, code=code).stderr.split())
    assert not (tmp_path / "none").exists()
