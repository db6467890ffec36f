"""The README's code runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alluxio_lance.sidecar.server import Sidecar

from alluxio_lance.sidecar.settings import Settings

README = Path(__file__).parent.parent / "README.md"
BLOCKS = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Run a sidecar for all blocks: the later ones use what the first one registers."""
    folder = tmp_path_factory.mktemp("readme")
    with Sidecar(Settings(root=folder / "root", run_dir=folder / "run")) as sidecar:
        yield sidecar.address.grpc


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("register", r"^1\.0\.0\+[0-9a-f]{8}$"),
        pytest.param("torch", r"epoch 2: version 1\.0\.0, loss \d\.\d+", marks=pytest.mark.torch),
        pytest.param("tensorflow", r"accuracy: 0\.[6-9]", marks=pytest.mark.tf),
    ],
)
def test_a_block_of_the_readme_runs_as_it_stands(address, block, says):
    """Copied into a file and run, it does what the text around it says."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[block]],
        env={**os.environ, "ALLUXIO_LANCE_ADDRESS": address, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(says, done.stdout, re.MULTILINE), done.stdout
