"""Saving in a distributed job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alluxio.torch import load_model

pytestmark = pytest.mark.torch


def test_rank_0_saves_and_all_get_the_version(node, tmp_path):
    """One version, with the numbers of rank 0; what is refused there is refused everywhere, with the same words."""
    script = Path(__file__).with_name("ranks.py")
    command = [sys.executable, "-P", str(script), node.at, str(tmp_path / "store")]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, timeout=100).stdout)
    assert told[0][:3] == told[1][:3]
    assert told[0][0] == ["alluxio://models/ranks@v1", "1.0.0", {"of": {"rank": 0}}]
    assert told[0][1].startswith("InvalidArgument: entry 'w' is a NoneType")
    assert told[0][2].startswith("InvalidArgument: the module is sharded over the ranks")
    assert told[0][3] == "interrupted"
    assert told[1][3].startswith("Unavailable: rank 0 was interrupted")
    assert node.call(lambda manager: len(manager.list_versions("models", "ranks"))) == 1
    assert load_model("alluxio://models/ranks", address=node.at)["w"].tolist() == [0.0] * 4
