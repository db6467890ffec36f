"""What a run leaves: numbers in JSON, plots that open, a table, and nothing else."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from PIL import Image

pytestmark = pytest.mark.torch


def test_every_way_has_a_line(small_run):
    """The ways that were asked for and the yardsticks are measured, in the order of the table."""
    assert [(line.way, line.workers) for line in small_run.results.lines] == [("memcpy", 0), ("memmap", 0), ("ours", 0)]
    assert small_run.results.ok, [way.reason for way in small_run.results.ways]


def test_json_has_measurements_and_their_summary(small_run):
    """The JSON holds settings, machine, versions, each epoch's time, and ratios that follow from them."""
    record = small_run.record()
    assert record["schema"] == 1
    assert record["settings"]["rows"] == 512
    assert {"cpus", "memory_bytes", "filesystem", "load_average"} <= record["machine"].keys()
    assert all(way["state"] == "measured" and way["versions"]["torch"] for way in record["ways"])
    assert all(way["prepare_s"] > 0 for way in record["ways"])
    later = {m["way"]: 512 / m["epochs"][1]["seconds"] for m in record["measurements"]}
    assert all(len(m["epochs"]) == 2 and m["open_s"] >= 0 for m in record["measurements"])
    for line in record["lines"]:
        assert line["later"]["min"] <= line["later"]["median"] <= line["later"]["max"]
        assert line["of_memmap"]["median"] == pytest.approx(later[line["way"]] / later["memmap"])
        assert line["of_memcpy"]["median"] == pytest.approx(later[line["way"]] / later["memcpy"])
    assert len(record["notes"]) >= 5


def test_plots_open(small_run):
    """The PNG is an image with several colours and the SVG a drawing that names the ways."""
    with Image.open(small_run.folder / "bench.png") as image:
        image.load()
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10
    drawing = ET.parse(small_run.folder / "bench.svg").getroot()
    assert drawing.tag.endswith("svg")
    assert "alluxio-lance" in (small_run.folder / "bench.svg").read_text()


@pytest.mark.parametrize("text", ["alluxio-lance", "np.memmap, batches", "x memcpy", "do not say", "bench.json"])
def test_table_is_printed(small_run, text):
    """The table fits into 80 columns without cut names, and the notes stand below it."""
    assert text in small_run.printed
    assert "…" not in small_run.printed


def test_markdown_has_a_row_for_each_way(small_run):
    """The table for the documentation has ratios only; np.memmap is 1 by definition."""
    rows = [line.split("|")[1:-1] for line in (small_run.folder / "bench.md").read_text().splitlines() if "|" in line]
    assert [row[0].strip() for row in rows] == [
        "way",
        "---",
        "memcpy, one thread",
        "np.memmap, batches",
        "alluxio-lance",
    ]
    assert len({len(row) for row in rows}) == 1
    assert [head.strip() for head in rows[0][2:]] == [
        "0 workers, epoch 1, x np.memmap",
        "0 workers, later, x np.memmap",
        "0 workers, later, x memcpy",
    ]
    assert rows[3][2].strip() == rows[3][3].strip() == "1.00 [1.00 - 1.00]"


def test_work_folder_is_left_empty(small_run):
    """What the run wrote on the measured disk is gone."""
    assert list(small_run.work.iterdir()) == []


def test_no_place_of_this_machine_is_in_the_json(small_run):
    """Results are shared, so they name no folder of the machine."""
    assert str(small_run.work) not in (small_run.folder / "bench.json").read_text()
