"""The demo as people run it."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from alluxio_lance.cli.app import application
from alluxio_lance.cli.demo import material
from alluxio_lance.files.namespace import Namespace


def run(*words, code=0):
    """Run the demo in this process; the system and the frameworks have processes of their own."""
    result = CliRunner().invoke(application, ["demo", *map(str, words)], env={"COLUMNS": "100"})
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


@pytest.mark.torch
@pytest.mark.tf
def test_the_whole_demo_on_the_digits(tmp_path):
    """Every row of the summary is as expected, the summary comes last, and nothing is left behind."""
    folder = tmp_path / "demo"
    text = run("--folder", folder).stdout
    summary = text.partition("\nSummary")[2]
    assert "✗" not in text
    assert summary.count("✓") == 31
    for row in (
        "PyTorch and Keras read the same bytes",
        "PyTorch: 1.0.0 again",
        "Keras: 1.0.0 again",
        "history",
        "came back",
    ):
        assert row in summary
    assert summary.splitlines()[-1].startswith("all 31 rows are as expected")
    assert max(map(len, summary.splitlines())) <= 100
    assert not folder.exists()


def test_own_data_that_no_network_can_learn_from(tmp_path, first):
    """Without the frameworks the rest of the way is gone all the same; the folder stays when it is asked for."""
    folder = tmp_path / "demo"
    text = run("--folder", folder, "--data", first, "--no-torch", "--no-tf", "--keep").stdout
    assert "left out, as asked by --no-torch" in text
    assert "columns that are left out here" in text
    assert "nothing is trained" in text
    assert "✗" not in text
    assert (folder / "up.log").exists()
    assert (folder / "root" / "catalog.db").exists()


def test_on_a_real_alluxio(tmp_path, first, cluster):
    """Each file with its way, what a deprecation frees and a rollback brings back; the folder in Alluxio goes at the end."""
    store = cluster.uri.replace("/?", "/demos?")
    text = run("--folder", tmp_path / "demo", "--data", first, "--no-torch", "--no-tf", "--store", store).stdout
    assert "✗" not in text
    for row in ("short-circuit", "0 % in Alluxio", "one rollback later 1.1.0 has", "came back"):
        assert row in text
    with Namespace("localhost", cluster.plan.ports.proxy) as namespace:
        assert namespace.list("/demos") == []


@pytest.mark.parametrize(("store", "word"), [("alluxio", "Java"), ("s3://bucket", "alluxio://HOST")])
def test_a_store_that_cannot_be(tmp_path, first, store, word, monkeypatch):
    """Exit code 1 without Java, 2 for an address that is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    code = 1 if store == "alluxio" else 2
    result = run("--folder", tmp_path / "demo", "--data", first, "--store", store, code=code)
    assert word in " ".join(result.stderr.split())


def test_a_framework_that_is_not_installed_is_named(tmp_path, first, monkeypatch):
    """The way goes on without it, and the summary says so."""
    monkeypatch.setattr("alluxio_lance.cli.demo.story.missing", lambda _role: "the_package")
    text = run("--folder", tmp_path / "demo", "--data", first).stdout
    assert "not installed (the_package): pip install 'alluxio-lance[torch]'" in " ".join(text.split())
    assert "✗" not in text


def test_words_alone_are_not_read_by_the_frameworks(tmp_path):
    """It says so, and checks what is left."""
    file = tmp_path / "my words.parquet"
    pq.write_table(pa.table({"word": ["a", "b"]}), file)
    text = run("--folder", tmp_path / "demo", "--data", file, "--no-tf").stdout
    assert "datasets/my-words" in text
    assert "nothing that both frameworks read alike" in text
    assert "✗" not in text


def test_a_row_that_is_not_as_expected_is_exit_code_1(tmp_path, first, monkeypatch):
    """The demo expects a row too many here; its folder stays for a look."""
    own = material.own
    monkeypatch.setattr(material, "own", lambda path: dataclasses.replace(own(path), rows=101))
    folder = tmp_path / "demo"
    text = run("--folder", folder, "--data", first, "--no-torch", "--no-tf", code=1).stdout
    assert "✗" in text
    assert text.splitlines()[-1].startswith("1 of ")
    assert folder.exists()


def test_data_that_are_not_there(tmp_path):
    """Exit code 4, before anything is started."""
    assert "there is no" in run("--folder", tmp_path / "demo", "--data", tmp_path / "none", code=4).stderr
    assert not (tmp_path / "demo").exists()


def test_data_without_rows(tmp_path, first):
    """Nothing can be shown with them, and that is nobody's fault."""
    file = tmp_path / "none.parquet"
    pq.write_table(pq.read_table(first).slice(0, 0), file)
    result = run("--folder", tmp_path / "demo", "--data", file, "--no-torch", "--no-tf", code=2)
    assert "has no rows" in result.stderr


def test_data_that_cannot_be_read_leave_the_logs(tmp_path):
    """The error says why, and where to look."""
    file = tmp_path / "broken.parquet"
    file.write_bytes(b"this is no parquet file")
    result = run("--folder", tmp_path / "demo", "--data", file, "--no-torch", "--no-tf", code=2)
    assert f"what happened is in {tmp_path / 'demo'}" in " ".join(result.stderr.split())
    assert "broken.parquet" in result.stderr
