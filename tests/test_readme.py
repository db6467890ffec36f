"""The README's code runs as it stands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
RULES = re.search(r"^cat > rules.toml <<'END'\n(.*?)^END$", TEXT, re.MULTILINE | re.DOTALL)[1]
LINES = re.findall(r"^alluxio-lance (?!up ).*$", TEXT, re.MULTILINE)
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Reader(NamedTuple):
    """Somebody who follows the text: a working folder, and a sidecar that is found without an option."""

    folder: Path
    environment: dict

    def run(self, command):
        """Do one thing and return what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Run a sidecar for the whole text: later parts use what earlier ones registered and wrote."""
    folder = tmp_path_factory.mktemp("readme")
    with Sidecar(Settings(root=folder / "root", run_dir=folder / "run")) as sidecar:
        activated = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {"ALLUXIO_LANCE_ADDRESS": sidecar.address.grpc, "PATH": activated, "HOME": str(folder)}
        yield Reader(folder, {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **given})


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("register", r"^1\.0\.0\+[0-9a-f]{8}$"),
        pytest.param("torch", r"epoch 2: version 1\.0\.0, loss \d\.\d+", marks=pytest.mark.torch),
        pytest.param("model", r"^1\.0\.0\+[0-9a-f]{8}$", marks=pytest.mark.torch),
        pytest.param("tensorflow", r"accuracy: 0\.[6-9]", marks=pytest.mark.tf),
    ],
)
def test_a_block_of_the_readme_runs_as_it_stands(reader, block, says):
    """Copied into a file and run, it does what the text around it says."""
    said = reader.run([sys.executable, "-c", BLOCKS[block]])
    assert re.search(says, said, re.MULTILINE), said


def test_the_commands_of_the_readme_run_as_they_stand(reader):
    """After its first block, in their order, and what they print is what the text beside them says."""
    (reader.folder / "rules.toml").write_text(RULES, encoding="utf-8")
    ran = [(words := shlex.split(line, comments=True), reader.run(words)) for line in LINES]
    said = {words[1]: printed for words, printed in ran}
    assert [words[1] for words, _ in ran] == [
        *("update", "rollback", "history", "cache", "doctor"),
        *("rules", "promote", "measure", "promote", "tag", "archive", "policy", "show"),
    ]
    assert "updated datasets/digits: 1.1.0+" in said["update"]
    assert "rolled back datasets/digits: 1.0.0+" in said["rollback"]
    assert re.search(r"rollback +1\.0\.0 +1\.1\.0 → 1\.0\.0", said["history"])
    assert "datasets/digits" in said["cache"]
    assert "ready" in said["doctor"]
    assert "production" in said["promote"]
    assert "archived" in said["archive"]
    assert "1.0.0" in said["show"]


def test_a_version_that_is_not_good_enough_is_refused_as_the_readme_says(reader):
    """Exit code 3, and the report names the gate and what it saw."""
    for words in (
        ["update", "datasets/digits", "more.parquet", "--no-activate"],
        ["promote", "datasets/digits@1.2.0", "validation"],
    ):
        reader.run(["alluxio-lance", *words])
    reader.run(["alluxio-lance", "measure", "datasets/digits@1.2.0", "accuracy=0.91"])
    command = ["alluxio-lance", "promote", "datasets/digits@1.2.0", "production"]
    done = subprocess.run(
        command, cwd=reader.folder, env=reader.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "accurate-enough" in done.stdout + done.stderr
    assert "0.91" in done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """Every relative link of the documentation is a file or a folder."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
