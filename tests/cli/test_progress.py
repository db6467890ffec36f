"""The bar of long work."""

import io
import re

from rich.console import Console

from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.values import Progress


def test_a_terminal_sees_steps_amounts_and_rates():
    """Each step has a bar of its own, with rows, bytes and bytes per second; in the end all are gone."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with progress_bar(console) as on_progress:
        on_progress(Progress(step="write", rows=500, total_rows=1000, bytes=5 << 20))
        on_progress(Progress(step="write", rows=1000, total_rows=1000, bytes=10 << 20))
        on_progress(Progress(step="hash", bytes=1 << 20, total_bytes=2 << 20))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "write" in text
    assert "hash" in text
    assert "1,000 rows · 10.0 MiB" in text
    assert "MiB/s" in text


def test_nobody_else_sees_anything():
    """Without a terminal, or when silence is asked for, there is nothing to call and nothing printed."""
    file = io.StringIO()
    with progress_bar(Console(file=file)) as on_progress:
        assert on_progress is None
    with progress_bar(Console(file=file, force_terminal=True), silent=True) as on_progress:
        assert on_progress is None
    assert file.getvalue() == ""
