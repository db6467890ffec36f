"""What ``kill -9`` leaves in the disk tier, at every step."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def test_no_half_column_is_ever_used():
    """After a death at any step all columns that are found are whole, nothing else is left, and work goes on."""
    program = Path(__file__).with_name("dying.py")
    # In memory: a process that dies takes nothing with it that a flush would have saved, and flushes are most of the time.
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="al-") as folder:
        command = [sys.executable, "-W", "error", program, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == {}
    assert found["survived"] == 0
    # Two versions of two columns of two segments, one of which is evicted: fewer steps would mean that they are not seen.
    assert found["steps"] > 50
