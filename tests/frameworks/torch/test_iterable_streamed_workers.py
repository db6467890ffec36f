"""Versions that do not fit into the sidecar's memory, read with workers and by ranks of torch.distributed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import _running
from tests.frameworks.torch.test_iterable_streamed import LARGE, ROWS, SMALL, URI, large, opened
from torch.utils.data import DataLoader

from alluxio_lance.errors import Unavailable

LIMIT_S = 400
"""Far more than a scene takes on a machine with other work."""

pytestmark = [
    pytest.mark.torch,
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(LIMIT_S + 20),
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_end_of_the_sidecar_is_said(workers):
    """Killed in the middle of an epoch, the sidecar is missed with the next window, in a sentence."""
    with _running(*SMALL) as node:
        node.register("large", large())
        with opened(node) as dataset:
            options = {"num_workers": workers, "multiprocessing_context": "fork", "timeout": 60} if workers else {}
            iteration = iter(DataLoader(dataset, batch_size=None, **options))
            next(iteration)
            node.kill()
            with pytest.raises(Unavailable):
                list(iteration)


@pytest.mark.parametrize("scene", ["streaming", "ranks"])
def test_scenes(scene):
    """With workers and with ranks everything is as without: see the scene of that name in iterable_epochs.py."""
    script = Path(__file__).with_name("iterable_epochs.py")
    with _running(*(SMALL if scene == "streaming" else LARGE)) as node:
        node.register("large", large(), version="1.0.0")
        node.update("large", large(ROWS + 9), mode="overwrite", version="2.0.0")
        ignored = ["-W", "ignore:'set_vital' is deprecated"]
        command = [sys.executable, "-P", "-W", "error", *ignored, str(script), node.at, "fork", scene, URI]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert [name for name, right in json.loads(done.stdout).items() if right is not True] == []
