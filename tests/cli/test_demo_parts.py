"""The parts of the demo, each with the real thing where there is one."""

import io
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from alluxio_lance import ResourceManager
from alluxio_lance.address import Address
from alluxio_lance.cli.demo import cast, dialogue
from alluxio_lance.cli.demo.choosing import choose
from alluxio_lance.cli.demo.dialogue import Partner
from alluxio_lance.cli.demo.ledger import Ledger
from alluxio_lance.cli.demo.material import own
from alluxio_lance.cli.demo.memory import footprint, memory_table
from alluxio_lance.cli.demo.pictures import write_digits, write_tiles, write_turned_digits
from alluxio_lance.cli.demo.sharing import check_sharing
from alluxio_lance.cli.demo.system import System
from alluxio_lance.cli.demo.workplace import workplace
from alluxio_lance.client.table import Table
from alluxio_lance.errors import AlreadyExists, Conflict, Internal, NotFound, Unavailable


def ledger():
    """Make a ledger that prints to nowhere."""
    return Ledger(Console(file=io.StringIO(), width=100))


# -- what it works on --------------------------------------------------------------------------------------------------


def test_the_pictures_are_the_real_ones(tmp_path):
    """1,797 digits of 8 x 8, 600 of them turned, and tiles of 64 x 64 of two photographs."""
    for write, rows, shape in (
        (write_digits, 1797, (8, 8)),
        (write_turned_digits, 600, (8, 8)),
        (write_tiles, 6716, (64, 64, 3)),
    ):
        write(tmp_path / "x.parquet")
        table = pq.read_table(tmp_path / "x.parquet")
        assert table.num_rows == rows
        assert tuple(table.schema.field("image").type.shape) == shape
        image = table["image"].combine_chunks().to_numpy_ndarray()
        assert image.dtype == np.uint8
        assert image.max() > 0


def test_without_scikit_learn_there_is_a_way_out(tmp_path, monkeypatch):
    """The sentence names the package and --data."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(Unavailable, match="--data"):
        write_digits(tmp_path / "x.parquet")


def test_own_pictures_are_scaled_and_other_data_are_not(tmp_path):
    """The name becomes one that fits into a URI."""
    folder = tmp_path / "my pictures!"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.PNG").write_bytes(b"")
    assert (own(folder).name, own(folder).options) == ("my-pictures", {"decode": [32, 32]})
    assert own(tmp_path / "rows.csv").options == {}
    assert own(tmp_path / "...").name == "data"


IMAGES = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((6, 4, 4), np.uint8))


@pytest.mark.parametrize(
    ("columns", "read", "pair"),
    [
        ({"image": IMAGES, "label": [0, 1, 2, 3, 4, 5]}, ["image", "label"], ("image", "label")),
        ({"x": IMAGES, "target": [0, 1, 2, 3, 4, 5], "n": [0.5] * 6}, ["n", "target", "x"], ("x", "target")),
        ({"image": IMAGES, "id": [0, 1, 2, 3, 4, 5]}, ["id", "image"], None),
        ({"image": IMAGES, "label": [0, 1, 2, 3, 4, 5000]}, ["image", "label"], None),
        ({"image": IMAGES, "label": [-1, 1, 2, 3, 4, 5]}, ["image", "label"], None),
        ({"image": IMAGES, "label": [None, 1, 2, 3, 4, 5]}, ["image"], None),
        ({"word": list("abcdef"), "label": [0, 1, 2, 3, 4, 5]}, ["label"], None),
    ],
)
def test_columns_are_chosen_by_what_they_hold(system, columns, read, pair):
    """An image has values enough, a label is named so and holds few classes, and nulls are left out."""
    with ResourceManager.connect(system.address.grpc) as manager:
        version = manager.register_resource("datasets", "chosen", pa.table(columns))
        try:
            with Table.open(version.uri, address=system.address.grpc) as table:
                choice = choose(table)
        finally:
            manager.delete_resource("datasets", "chosen")
            manager.purge_resource("datasets", "chosen")
    assert (sorted(choice.columns), choice.pair) == (read, pair)
    assert sorted([*choice.columns, *choice.left_out]) == sorted(columns)


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_the_ledger_is_as_good_as_its_worst_row():
    """Equal is well, a verdict of the caller's counts, what was skipped does not; an empty one is not well."""
    rows = ledger()
    assert not rows.ok
    rows.check("a", 1797, 1797)
    rows.check("b", "over 3", 4, ok=True)
    rows.skip("c", "not installed")
    assert rows.ok
    rows.check("d", 1, 2)
    assert not rows.ok
    screen = Console(file=io.StringIO(), width=80)
    screen.print(rows.view())
    text = screen.file.getvalue()
    assert "1,797" in text
    assert [line[0] for line in text.splitlines()[3:]] == ["✓", "✓", "-", "✗"]


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_footprint_counts_what_is_mapped(system):
    """A version that is mapped and touched is in the process' segments, and in no other memory of it."""
    name, rows = "datasets", np.arange(1 << 20, dtype=np.int64)
    with ResourceManager.connect(system.address.grpc) as manager:
        version = manager.register_resource(name, "mapped", pa.table({"n": rows}))
        with Table.open(version.uri, address=system.address.grpc) as table:
            assert table.column("n").array.sum() == rows.sum()
            found = footprint("me", os.getpid())
        manager.delete_resource(name, "mapped")
    assert found.segments_rss >= rows.nbytes
    assert found.segments_pss <= found.segments_rss <= found.rss
    assert len(found.inodes) == 1
    screen = Console(file=io.StringIO(), width=80)
    screen.print(memory_table([found, found]))
    assert "8.0 MiB" in screen.file.getvalue()
    assert "16.0 MiB" in screen.file.getvalue()


def test_huge_pages_are_counted_as_the_kernel_lists_them(tmp_path):
    """Their lines have other names; sockets and libraries are no segments. The files are made up."""
    place = tmp_path / "7"
    place.mkdir()
    (place / "smaps_rollup").write_text("0-1 ---p 00 00:00 0 [rollup]\nRss: 100 kB\nPss: 50 kB\n")
    (place / "smaps").write_text(
        "10-20 r--s 00000000 00:01 11 /memfd:alluxio-lance:x:image:0 (deleted)\nRss: 0 kB\nPss: 0 kB\n"
        "Shared_Hugetlb: 2048 kB\nPrivate_Hugetlb: 4096 kB\nVmFlags: rd sh\n"
        "20-30 r--s 00000000 00:01 12 /usr/lib/x.so\nRss: 8 kB\nPss: 8 kB\n"
        "30-40 rw-p 00000000 00:00 0 \nRss: 8 kB\nPss: 8 kB\n"
    )
    found = footprint("x", 7, proc=tmp_path)
    assert (found.segments_rss, found.segments_pss, found.inodes) == (6144 * 1024, 0, frozenset({11}))
    assert (found.rss, found.pss) == (100 * 1024, 50 * 1024)


@pytest.mark.parametrize(
    ("inodes", "pss", "well"), [([{1, 2}, {1, 2}], 100, True), ([{1}, {2}], 100, False), ([{1}, {1}], 103, False)]
)
def test_sharing_means_the_same_segments_counted_once(inodes, pss, well):
    """Two copies in two processes, or a copy beside the segments, are found out."""
    sidecar = footprint("sidecar", os.getpid())
    readers = [
        type(sidecar)(f"reader {place}", place, 0, 0, 0, pss // 2 + pss % 2 * place, frozenset(each))
        for place, each in enumerate(inodes)
    ]
    rows = ledger()
    check_sharing(rows, [type(sidecar)("sidecar", 1, 0, 0, 0, 0, frozenset()), *readers], 100)
    assert rows.ok is well


# -- processes ---------------------------------------------------------------------------------------------------------

PARTNER = """
import os, sys, threading
from alluxio_lance.cli.demo.dialogue import serve
from alluxio_lance.errors import NotFound

def missing():
    raise NotFound("there is no x", name="x")

def fault():
    return {"x": 1 // 0}

def talk():
    print("this goes to the log")
    return {"said": True}

def end():
    sys.stderr.write("the last words\\n")
    sys.stderr.flush()
    os._exit(3)

def ponder():
    threading.Event().wait()

serve({"missing": missing, "fault": fault, "talk": talk, "end": end, "ponder": ponder})
"""


@pytest.fixture
def partner(tmp_path):
    """Give a partner that fails in every way."""
    (tmp_path / "partner_for_a_test.py").write_text(PARTNER)
    environment = {"PYTHONPATH": str(tmp_path)}
    with Partner("Tester", "partner_for_a_test", tmp_path / "log", environment) as partner:
        yield partner


def test_a_partner_answers_and_its_errors_come_home(partner, tmp_path):
    """Ours in their class, others as a fault with the log's name; what it prints is in the log."""
    assert partner.ask("talk") == {"said": True}
    with pytest.raises(NotFound, match="Tester: there is no x") as caught:
        partner.ask("missing")
    assert caught.value.details == {"name": "x"}
    with pytest.raises(Internal, match=r"ZeroDivisionError.*log"):
        partner.ask("fault")
    log = (tmp_path / "log").read_text()
    assert "this goes to the log" in log
    assert "Traceback" in log


def test_a_partner_that_dies_leaves_its_last_words(partner):
    """Now and at the next question."""
    for _ in range(2):
        with pytest.raises(Unavailable, match="the last words"):
            partner.ask("end")
    partner.close()


def test_a_silent_partner_is_not_waited_for_for_ever(partner, monkeypatch):
    """The message says what was asked."""
    assert partner.ask("talk")
    monkeypatch.setattr(dialogue, "_PATIENCE", 0.0)
    monkeypatch.setattr(dialogue, "_FAREWELL", 0.1)
    with pytest.raises(Unavailable, match="no answer to 'ponder'"):
        partner.ask("ponder")
    partner.close()


def test_a_partner_that_does_not_go_is_killed(tmp_path, monkeypatch):
    """Closing is bounded; its stdin has ended, and it sleeps on."""
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(dialogue, "_FAREWELL", 0.1)
    sleeper = Partner("Sleeper", "sleeper", tmp_path / "log", {"PYTHONPATH": str(tmp_path)})
    sleeper.close()
    sleeper.close()
    assert not Path(f"/proc/{sleeper.pid}").exists()


def test_a_role_lacks_what_is_not_installed():
    """The first missing package is named."""
    assert cast.missing(cast.Role("X", "x", ("os", "no_such_package"), "x")) == "no_such_package"
    assert cast.missing(cast.Role("X", "x", ("os",), "x")) is None


def test_a_system_that_does_not_start_says_why(tmp_path):
    """The end of its log is in the message."""
    (tmp_path / "root").write_text("")
    with System(tmp_path / "root", tmp_path / "run", tmp_path / "log") as failed:
        with pytest.raises(Unavailable, match=r"ended with code \d+.*\n.*error:"):
            failed.wait_until_ready()
        assert failed.stop() != 0
    assert failed.address == Address(tmp_path / "run")


def test_a_system_ends_with_the_demo_that_is_killed(tmp_path):
    """Nothing goes on running after `kill -9`."""
    code = (
        "import sys; from pathlib import Path; from alluxio_lance.cli.demo.system import System; p = Path(sys.argv[1]);"
        "s = System(p / 'root', p / 'run', p / 'log'); s.wait_until_ready(); print(s.pid, flush=True); input()"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as demo:
        system = int(demo.stdout.readline())
        handle = os.pidfd_open(system)
        demo.kill()
    try:
        ended, _, _ = select.select([handle], [], [], 30)
    finally:
        os.close(handle)
    assert ended


# -- the folder --------------------------------------------------------------------------------------------------------


def test_a_workplace_replaces_an_earlier_one(tmp_path):
    """What a demo left, a killed one too, is cleared; links are not followed."""
    folder, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("")
    with workplace(folder) as place:
        (place / "root").mkdir()
        (place / "root" / "x").write_text("")
        (place / "link").symlink_to(elsewhere)
    with workplace(folder) as place:
        assert [file.name for file in place.iterdir()] == ["made-by-alluxio-lance-demo"]
    assert (elsewhere / "mine").exists()


def test_a_workplace_is_never_somebody_elses(tmp_path):
    """A folder with other things in it is left alone; an empty one is taken."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis").write_text("")
    with pytest.raises(AlreadyExists, match="not made by a demo"), workplace(tmp_path / "a"):
        pass
    assert (tmp_path / "a" / "thesis").exists()
    (tmp_path / "b").mkdir()
    with workplace(tmp_path / "b"):
        pass


def test_two_demos_do_not_share_a_workplace(tmp_path):
    """The second one is refused, and what the first one made stays."""
    with workplace(tmp_path / "demo") as place:
        (place / "x").write_text("")
        found = []

        def second():
            try:
                with workplace(tmp_path / "demo"):
                    pass
            except Conflict as error:
                found.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert len(found) == 1
        assert (place / "x").exists()
