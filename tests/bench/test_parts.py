"""The parts beside the table of ways: how they repeat and compare, what they print, write and draw, and how they fail."""

from __future__ import annotations

import io
import json
import re

import pytest
from PIL import Image
from rich.console import Console

from alluxio_lance.bench import parts
from alluxio_lance.bench.__main__ import main
from alluxio_lance.bench.main import run_all
from alluxio_lance.bench.parts.report import number
from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.running import run_part
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.results import Spread
from alluxio_lance.errors import Corrupt, InvalidArgument, Unavailable


def setting(work, **options) -> Setting:
    """Make the smallest run."""
    given = {"quick": True, "repetitions": 1, "seed": 0, "limit_s": 120, "tell": lambda _: None}
    return Setting(work=work, **{**given, **options})


def found_by(name: str = "limit") -> Found:
    """Make what a part with both kinds of groups could find."""
    spread = Spread(median=1500.0, min=1000.0, max=2_500_000.0)
    beside = Group(
        title="beside each other",
        unit="rows per second",
        against="the other",
        lines=(
            Line(name="alluxio-lance", value=spread, ratio=Spread(median=2.0, min=1.5, max=3.0)),
            Line(name="the other [one]", value=spread),
        ),
    )
    growing = Group(
        title="over workers",
        unit="milliseconds",
        x="workers",
        lines=tuple(Line(name=name, x=x, value=spread) for name in ("a", "b") for x in (0, 1, 8)),
    )
    below = Spread(median=-1.0, min=-2.0, max=3.0)
    fitted = Group(title="fitted", unit="percent", lines=(Line(name="alluxio-lance", value=below),))
    return Found(
        part=name,
        title="A part",
        settings={"repetitions": 3},
        groups=(beside, growing, fitted),
        notes=("It says [nothing] of the rest.",),
        measurements={},
    )


class Stub:
    """A part without a measurement."""

    def __init__(self, outcome) -> None:
        self.outcome = outcome

    def measure(self, setting: Setting) -> Found:
        """Find what was prepared, or fail as prepared."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_rounds_interleave_and_compare_within_a_repetition():
    """Each repetition has every way once; ratios pair the numbers of one repetition."""
    calls: list[str] = []
    speeds = iter([1.0, 2.0, 3.0])
    rounds = Rounds()

    def way(name, numbers):
        def call():
            calls.append(name)
            return {"rate": next(numbers)}

        return call

    rounds.run({"a": way("a", speeds), "b": way("b", iter([10.0, 5.0, 3.0]))}, 3, 1, lambda _: None)
    assert [sorted(calls[at : at + 2]) for at in (0, 2, 4)] == [["a", "b"]] * 3
    line = rounds.line("b", "rate", against=("a", "rate"))
    assert (line.ratio.min, line.ratio.median, line.ratio.max) == (1.0, 2.5, 10.0)
    assert rounds.line("b", "rate", against=("a", "rate"), inverse=True).ratio.max == 1.0
    assert rounds.line("a", "rate", name="A", x=4) == Line(name="A", x=4, value=Spread(median=2.0, min=1.0, max=3.0))


def test_numbers_are_written_with_the_digits_that_say_something():
    """Three digits, thousands and millions."""
    written = [number(value) for value in (0.01234, 1.5, 99.9, 1234, 123_456, 12_345_678)]
    assert written == ["0.0123", "1.5", "99.9", "1,234", "123k", "12.3M"]


def test_a_part_prints_its_table_and_writes_json_and_a_plot(tmp_path, monkeypatch):
    """The table has medians, ranges and ratios in 80 columns; the JSON names no place of this machine; the plot opens."""
    monkeypatch.setattr("alluxio_lance.bench.parts.running.load", lambda _: Stub(found_by()))
    text = io.StringIO()
    console = Console(file=text, width=80)
    found = run_part(
        "limit", quick=True, repetitions=1, seed=0, out=tmp_path, work=tmp_path, limit_s=1, console=console
    )
    assert found.machine["cpus"] >= 1
    assert re.search(r"^alluxio-lance +1,500 +1,000-2.5M +2.00 \[1.50-3.00\]$", text.getvalue(), re.MULTILINE)
    assert "the other [one]" in text.getvalue()
    record = (tmp_path / "limit.json").read_text()
    assert json.loads(record)["groups"][1]["lines"][1]["x"] == 1
    assert str(tmp_path) not in record
    with Image.open(tmp_path / "limit.png") as image:
        image.load()
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["limit.json", "limit.png"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unavailable("the sidecar did not start: no [memory]"), "could not be measured: .*no \\[memory\\]"),
        (ModuleNotFoundError("", name="tensorflow"), "needs tensorflow, which is not installed"),
        (OSError(28, "No space left on device"), "could not be measured: .*No space left on device"),
    ],
)
def test_a_part_that_fails_says_why_and_the_run_fails(tmp_path, monkeypatch, error, said):
    """The others are still measured; nothing is written for the one that failed."""
    outcomes = {"limit": error, "growth": found_by("growth")}
    monkeypatch.setattr("alluxio_lance.bench.parts.running.load", lambda name: Stub(outcomes[name]))
    console = Console(record=True, width=200, file=io.StringIO())
    assert not run_all(only=["limit", "growth"], quick=True, out=tmp_path, work=tmp_path, console=console)
    assert re.search(said, console.export_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.json", "growth.png"]


def test_parts_are_chosen_by_name(capsys):
    """All without names, in one order; an unknown one is refused with the names that there are."""
    assert parts.chosen(None) == ["ways", *parts.PARTS]
    assert parts.chosen(["tf", "ways"]) == ["ways", "tf"]
    with pytest.raises(InvalidArgument, match=r"no part named weight.*growth"):
        parts.chosen(["weight"])
    assert main(["--only", "weight"]) == InvalidArgument.exit_code
    assert "no part named weight" in capsys.readouterr().err
    with pytest.raises(InvalidArgument, match="repetitions is 0"):
        run_all(only=["limit"], repetitions=0)
    with pytest.raises(InvalidArgument, match="not among limit"):
        run_all(only=["limit"], ways=["memmap"])
    with pytest.raises(InvalidArgument, match="size is 'big': give bytes as a number, or with a unit"):
        run_all(only=["models"], size="big")


def test_options_can_be_repeated(monkeypatch):
    """Given twice, both hold, as in `alluxio-lance bench`; what is given replaces the default."""
    seen: list[dict[str, object]] = []
    monkeypatch.setattr("alluxio_lance.bench.__main__.run_all", lambda **options: not seen.append(options))
    assert main(["--only", "limit", "--only", "tf", "growth", "--workers", "1", "--ways", "a", "--ways", "b"]) == 0
    assert main([]) == 0
    assert [(one["only"], one["workers"], one["ways"]) for one in seen] == [
        (["limit", "tf", "growth"], [1], ["a", "b"]),
        (None, (0, 2), None),
    ]


def test_every_part_can_be_loaded():
    """Each name of the list is a module that measures."""
    for name in parts.PARTS:
        assert callable(parts.load(name).measure)


def test_the_lifecycle_is_measured(tmp_path):
    """A real sidecar answers every verb; rates and slowest calls are numbers."""
    found = parts.load("lifecycle").measure(setting(tmp_path))
    rates = {line.name: line.value.median for line in found.groups[0].lines}
    assert {"register", "update (append)", "activate", "rollback", "find"} <= rates.keys()
    assert all(rate > 0 for rate in rates.values())


def test_a_fresh_process_that_fails_says_its_last_line(tmp_path):
    """The error of the process is the reason."""
    with pytest.raises(Unavailable, match="measuring failed: KeyError: 'rows'"):
        setting(tmp_path).fresh("growth", {})


@pytest.mark.torch
def test_pictures_that_do_not_come_are_noticed(monkeypatch):
    """A way of the JPEG part that leaves pictures out gets no number."""
    from alluxio_lance.bench.parts import jpeg

    monkeypatch.setattr(jpeg, "_our_stages", lambda: {"read": lambda: 9})
    with pytest.raises(Corrupt, match="alluxio-lance, read: 9 of 10 pictures"):
        jpeg.probe({"way": "alluxio-lance", "folder": ".", "rows": 10})


@pytest.mark.torch
def test_readers_read_together(node):
    """Two processes open a version, wait, and read all of its rows; one that cannot open it is an error."""
    from alluxio_lance.bench.parts.reader import Reading, start
    from alluxio_lance.bench.parts.rows import register

    register(node.address.grpc, "bench-wide", 300, 64)
    with start(node.address.grpc, "alluxio://datasets/bench-wide", 100, 0) as process:
        reading = Reading.of(process, 60)
        reading.go()
        assert reading.finished()["rows"] == 300
    with (
        start(node.address.grpc, "alluxio://datasets/bench-absent", 100, 0) as process,
        pytest.raises(Unavailable, match="a reader ended"),
    ):
        Reading.of(process, 60)
