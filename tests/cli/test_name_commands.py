"""Tags, labels, branches, metrics: what people call things by."""

import json

import pytest


@pytest.fixture
def filled(embedded, first, more):
    """Give the command on a folder with two versions."""
    embedded("register", "datasets/rows", first, "-m", "the needle is in this message")
    embedded("update", "datasets/rows", more)
    return embedded


def test_a_tag_names_a_version_until_it_is_moved_or_taken(filled):
    """It stands behind the @; another version does not get it by accident."""
    assert filled("tag", "datasets/rows@1.0.0", "golden").stdout.startswith(
        "gave the tag golden to datasets/rows: 1.0.0+"
    )
    assert filled.json("show", "datasets/rows@golden")["version"]["semver"] == "1.0.0"
    assert "golden" in filled("tag", "datasets/rows", "golden", code=5).stderr
    moved = filled.json("tag", "datasets/rows", "golden", "--move")["version"]
    assert (moved["semver"], moved["tags"]) == ("1.1.0", ["golden"])
    assert "golden" in filled("show", "datasets/rows").stdout
    assert filled("untag", "datasets/rows", "golden").stdout.startswith(
        "took the tag golden from datasets/rows: 1.1.0+"
    )
    filled("show", "datasets/rows@golden", code=4)
    filled("untag", "datasets/rows", "golden", code=4)


def test_labels_are_set_removed_and_searched_by(filled, first):
    """A number is text here; all of several labels have to fit."""
    filled("register", "datasets/other", first)
    said = filled("label", "datasets/rows", "team=vision", "n=1").stdout
    assert said == "labelled datasets/rows\n  n     1\n  team  vision\n"
    record = filled.json("label", "datasets/rows", "tier=gold", "--remove", "n")["resource"]
    assert record["labels"] == {"team": "vision", "tier": "gold"}

    def found(*words):
        return [each["name"] for each in filled.json("list", *words)["resources"]]

    assert found("--label", "team=vision") == ["rows"]
    assert found("--label", "team=vision", "--label", "tier=silver") == []
    assert "that fits" in filled("list", "--label", "team=audio").stdout
    assert "team=vision" in filled("list").stdout
    assert "team=vision" not in filled("show", "datasets/other").stdout
    assert "team=vision" in filled("show", "datasets/rows").stdout
    assert "none" in filled("label", "datasets/other", "--remove", "none").stdout
    assert "nothing to label" in filled("label", "datasets/rows", code=2).stderr


@pytest.mark.parametrize(("text", "names"), [("row", ["rows"]), ("needle", ["rows"]), ("haystack", [])])
def test_search_finds_names_and_messages(filled, text, names):
    """Of any version."""
    assert [each["name"] for each in filled.json("list", "--search", text)["resources"]] == names


def test_a_branch_has_a_line_of_its_own_and_is_merged(filled, more):
    """Its versions are not active; the merge is the next version of the main line."""
    said = filled("branch", "datasets/rows@1.0.0", "exp").stdout
    assert "1.0.0-exp.1+" in said
    assert said.endswith("update datasets/rows DATA --branch exp\n")
    made = filled.json("update", "datasets/rows", more, "--branch", "exp")["version"]
    assert (made["semver"], made["branch"], made["num_rows"], made["state"]) == (
        "1.0.0-exp.2",
        "exp",
        120,
        "registered",
    )
    shown = filled.json("show", "datasets/rows@exp")
    assert shown["version"]["semver"] == "1.0.0-exp.2"
    assert shown["resource"]["branches"] == ["exp"]
    assert "branch exp" in " ".join(filled("show", "datasets/rows@exp").stdout.split())
    merged = filled.json("merge", "datasets/rows", "exp", "--bump", "major", "--no-activate", "-m", "good")["version"]
    assert (merged["semver"], merged["branch"], merged["state"]) == ("2.0.0", "", "registered")
    assert filled("unbranch", "datasets/rows", "exp").stdout == "removed branch exp of datasets/rows\n"
    filled("show", "datasets/rows@exp", code=4)
    filled("branch", "datasets/rows", "exp")
    assert filled.json("unbranch", "datasets/rows", "exp") == {
        "unbranched": {"type": "datasets", "name": "rows", "branch": "exp"}
    }


def test_metrics_come_from_words_files_and_stdin(filled, tmp_path):
    """Words win over the file; null and --remove take one away."""
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps({"accuracy": 0.9, "loss": 0.3}))
    first = filled.json("measure", "datasets/rows@1.0.0", "accuracy=0.93", "--file", file)["version"]
    assert (first["semver"], first["metrics"]) == ("1.0.0", {"accuracy": 0.93, "loss": 0.3})
    said = filled("measure", "datasets/rows", "--file", "-", input='{"f1": {"a": 1}}').stdout
    assert said.startswith("measured datasets/rows: 1.1.0+")
    assert '  metrics  f1={"a": 1}\n' in said
    assert filled.json("measure", "datasets/rows@1.0.0", "loss=null")["version"]["metrics"] == {"accuracy": 0.93}
    assert filled.json("measure", "datasets/rows@1.0.0", "--remove", "accuracy")["version"]["metrics"] == {}
