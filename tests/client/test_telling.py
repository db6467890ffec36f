"""The bar of those who wait for an archived version and have not said how to tell it."""

import io

from alluxio_lance.client.telling import told_on_terminal
from alluxio_lance.values import Progress


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self):
        """Say so."""
        return True


def test_no_line_is_longer_than_the_screen(monkeypatch):
    """A long name is cut: a line that the terminal wraps could not be drawn over."""
    monkeypatch.setenv("COLUMNS", "40")
    screen = Terminal()
    with told_on_terminal("alluxio://datasets/" + "x" * 60, screen) as tell:
        tell(Progress(step="restore"))
        tell(Progress(step="copy", bytes=3 << 20, total_bytes=6 << 20))
    assert [len(line) for line in screen.getvalue().split("\r\x1b[K")] == [0, 39, 39, 0]


def test_a_terminal_shows_one_line_that_goes_away(monkeypatch):
    """It grows with the bytes, and names what comes back."""
    monkeypatch.setenv("COLUMNS", "80")
    screen = Terminal()
    with told_on_terminal("alluxio://datasets/x@v1", screen) as tell:
        tell(Progress(step="restore"))
        tell(Progress(step="copy", bytes=3 << 20, total_bytes=6 << 20))
    drawn = screen.getvalue().split("\r\x1b[K")
    assert drawn[0] == drawn[-1] == ""
    assert drawn[1] == "alluxio://datasets/x@v1 comes back"
    assert drawn[2] == f"{'█' * 10}{'░' * 10}  50%, 3.0 of 6.0 MiB: {drawn[1]}"
    assert "\n" not in screen.getvalue()


def test_a_log_gets_nothing(monkeypatch):
    """Neither a file, nor a process without a stderr."""
    log = io.StringIO()
    with told_on_terminal("x", log) as tell:
        assert tell is None
    monkeypatch.setattr("sys.stderr", None)
    with told_on_terminal("x") as tell:
        assert tell is None
    assert log.getvalue() == ""
