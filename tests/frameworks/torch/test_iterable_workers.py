"""The iterable dataset with workers: the order of one process, epochs, states, and how batches come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 400
"""For what takes half a minute on two idle processors."""

pytestmark = [pytest.mark.torch, pytest.mark.timeout(LIMIT_S + 20)]

IGNORED = [
    # Three workers on two processors are no mistake here: their turns are what is tested.
    "ignore:This DataLoader will create",
    # torchdata calls what torch has since deprecated.
    "ignore:'set_vital' is deprecated",
]
SCENES = [
    *((scene, "fork") for scene in ("epochs", "turns", "states", "checkpoints", "handing")),
    ("spawned", "spawn"),
    ("handing", "spawn"),
]


def seen(address: str, method: str, scene: str) -> dict[str, Any]:
    """Run a scene in a process of its own."""
    script = Path(__file__).with_name("iterable_epochs.py")
    command = [
        sys.executable,
        "-P",
        "-W",
        "error",
        *(f"-W{text}" for text in IGNORED),
        str(script),
        address,
        method,
        scene,
        "alluxio://datasets/kinds",
    ]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("scene", "method"), SCENES)
def test_scenes(kinds, node, scene, method):
    """With workers everything is as without: see the scene of that name."""
    found = seen(node.at, method, scene)
    assert found
    assert [name for name, right in found.items() if right is not True] == []
