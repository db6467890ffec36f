"""A soak of the arenas: DataLoaders of every kind on a real sidecar, with something going wrong in every round.

``ALLUXIO_LANCE_SOAK`` says for how many seconds (120), ``ALLUXIO_LANCE_SOAK_SEED`` repeats a run; docs/soak.md has more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from known import NAME, table

SECONDS = float(os.environ.get("ALLUXIO_LANCE_SOAK", "120"))
MARGIN_S = 180
"""Beyond that a soak hangs, and so does its own watchdog."""

pytestmark = [pytest.mark.torch, pytest.mark.timeout(SECONDS + 2 * MARGIN_S)]


def soaked(address: str, seconds: float, seed: int) -> dict[str, object]:
    """Run the consumer; whatever it says goes into the failure, with the seed. No process of it survives."""
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), address, str(seconds), str(seed)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, complained = process.communicate(timeout=seconds + MARGIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, complained = process.communicate()
        pytest.fail(f"the soak with seed {seed} hangs\n{complained}")
    finally:
        if process.poll() != 0:
            # Workers of a consumer that was killed end by themselves, but not at once; where all have, it is no error that
            # would hide the one of the consumer.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"the soak with seed {seed} failed\n{complained}"
    record: dict[str, object] = json.loads(said.splitlines()[-1])
    return record


@pytest.mark.usefixtures("alone_with_pages")
def test_soak(own_node, capsys):
    """Whatever happens to whom: every byte is right, nobody hangs, and no slot, descriptor, process or memory is lost."""
    seed = int(os.environ.get("ALLUXIO_LANCE_SOAK_SEED", time.time_ns() % 2**32))
    own_node.register(NAME, table(0))
    own_node.update(NAME, table(1), mode="overwrite")
    with capsys.disabled():
        sys.stdout.write(f"\nsoak of {SECONDS:.0f} s, ALLUXIO_LANCE_SOAK_SEED={seed}\n")
    record = soaked(own_node.at, SECONDS, seed)
    with capsys.disabled():
        sys.stdout.write(f"{record}\n")
    assert record["handed_over"]
    assert record["rounds"]
