"""Many processes on one model: they share its memory, none sees another's writes, and the sidecar may be gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alluxio.torch import save_model

pytestmark = pytest.mark.torch

SIZE = 32 << 20
URI = "alluxio://models/held"


def test_processes_share_a_model_and_outlive_its_sidecar(own_node):
    """Four processes cost the memory of one; after a rollback and the sidecar's death the bytes are still theirs."""
    state = {f"layer.{number}": torch.full((SIZE // 8,), number + 2, dtype=torch.uint8) for number in range(8)}
    first = save_model(URI, state, address=own_node.at)
    second = save_model(URI, {**state, "layer.0": torch.zeros(4, dtype=torch.uint8)}, address=own_node.at)
    own_node.call(lambda manager: manager.activate_resource("models", "held", first.semver))
    script = Path(__file__).with_name("holders.py")
    command = [sys.executable, "-P", "-W", "error", str(script), own_node.at, URI]
    wanted = {name: int(tensor.sum(dtype=torch.int64)) for name, tensor in state.items()}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as holders:
        try:
            told = json.loads(holders.stdout.readline())
            assert told["sums"] == [wanted] * 4
            assert 0.95 * SIZE < sum(told["shares"]) < 1.1 * SIZE
            own_node.call(lambda manager: manager.activate_resource("models", "held", second.semver))
            own_node.kill()
            holders.stdin.write("on\n")
            written, *others = json.loads(holders.stdout.readline())["sums"]
            assert written == dict.fromkeys(state, SIZE // 8)
            assert others == [wanted] * 3
            holders.stdin.write("end\n")
            assert holders.wait(60) == 0
        finally:
            holders.kill()
