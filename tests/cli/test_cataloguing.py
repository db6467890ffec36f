"""The commands catalog upgrade and catalog check."""

import sqlite3

import pytest


@pytest.fixture
def root(tmp_path):
    """Give an existing, empty root folder."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def bare(embedded):
    """Give the command without global options."""
    embedded.options.clear()
    return embedded


def forge(root, *statements):
    """Change the database behind the catalog's back."""
    with sqlite3.connect(root / "catalog.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_upgrade_makes_the_tables_and_then_has_nothing_to_do(bare, root):
    """By folder and by URL; the second run says so."""
    assert "schema none → 0003" in bare("catalog", "upgrade", "--root", root).stdout
    assert "the tables are current already: schema 0003" in bare("catalog", "upgrade", "--root", root).stdout
    url = f"sqlite:///{root}/catalog.db"
    assert bare.json("catalog", "upgrade", "--catalog", url) == {"before": "0003", "now": "0003", "changed": False}


def test_a_sound_catalog_is_said_to_be_one(embedded, first, root):
    """Engine, schema and rows, for people and programs."""
    embedded("register", "datasets/a", first)
    shown = embedded("catalog", "check").stdout
    assert "0003, current" in shown
    assert shown.endswith("sound\n")
    report = embedded.json("catalog", "check")
    assert (report["engine"], report["schema"], report["wanted"], report["current"]) == ("sqlite", "0003", "0003", True)
    assert (report["rows"]["versions"], report["rows"]["events"], report["sound"]) == (1, 1, True)
    assert set(report["orphans"].values()) == {0}


ORPHANS = {
    "versions without their resource": "UPDATE versions SET resource_id = 99",
    "files without their resource": "UPDATE files SET resource_id = 99",
    "leases without their version": "INSERT INTO leases SELECT 'x', 1, 99, 'n', 1, 'u', 'c', created_at, created_at FROM resources",
    "pointers without their version": "UPDATE pointers SET version_id = 99",
    "pointers to versions that are not active": "UPDATE versions SET state = 'deprecated'",
    "active versions without their pointer": "DELETE FROM pointers",
    "versions without their operation": "DELETE FROM operations",
    "commit locks of operations that ended": "INSERT INTO commit_locks SELECT type, name, 'x', created_at FROM resources",
    "fences of operations that ended": "INSERT INTO fences SELECT id, 'x' FROM versions",
    "tags without their version": "INSERT INTO tags SELECT id, 'x', 99 FROM resources",
    "versions without their branch": "UPDATE versions SET branch = 'x'",
    "archived versions without their copy": "UPDATE versions SET state = 'archived'",
    "files that no version lists": "DELETE FROM file_spans",
    "resources with a wrong count of versions": "UPDATE resources SET version_count = 7",
}


@pytest.mark.parametrize(("what", "statement"), ORPHANS.items())
def test_what_is_amiss_is_counted_and_ends_with_1(embedded, first, root, what, statement):
    """Every kind of orphan that no foreign key, or a careless repair, could leave."""
    embedded("register", "datasets/a", first)
    forge(root, statement)
    assert f"1 {what}" in embedded("catalog", "check", code=1).stdout
    report = embedded("catalog", "check", "--json", code=1)
    assert f'"{what}": 1' in report.stdout


def test_every_kind_of_orphan_is_tried(embedded, root):
    """The table above is complete."""
    embedded("catalog", "upgrade")
    assert set(embedded.json("catalog", "check")["orphans"]) == set(ORPHANS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE catalog_schema SET version_num = '0001'", "0001, this release wants 0003: run `alluxio-lance catalog"),
        ("UPDATE catalog_schema SET version_num = '9999'", "9999, this release wants 0003: upgrade alluxio-lance on"),
        ("DELETE FROM catalog_schema", "none: run `alluxio-lance catalog upgrade`"),
    ],
)
def test_tables_of_another_release_are_not_looked_into(bare, root, change, words):
    """The remedy is named, and the exit code is 1."""
    bare("catalog", "upgrade", "--root", root)
    forge(root, change)
    assert words in bare("catalog", "check", "--root", root, code=1).stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["check"], 2, "name one database"),
        (["check", "--root", "{}", "--catalog", "sqlite:////x"], 2, "name one database"),
        (["check", "--root", "{}"], 4, "there is no catalog at"),
        (["upgrade", "--root", "{}/none"], 1, "does not answer"),
    ],
)
def test_a_wrong_place_is_refused(bare, root, words, code, message):
    """Nothing is made by looking."""
    given = [word.format(root) for word in words]
    assert message in " ".join(bare("catalog", *given, code=code).stderr.split())
    assert list(root.iterdir()) == []
