"""What cannot be measured is shown with its reason, and what goes wrong ends."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from alluxio_lance.bench import peers
from alluxio_lance.bench.__main__ import main
from alluxio_lance.bench.data import generate
from alluxio_lance.bench.driver import Plan, Run, prepare_all, run_plan
from alluxio_lance.bench.job import Job
from alluxio_lance.bench.main import run
from alluxio_lance.bench.report import print_report
from alluxio_lance.bench.results import Prepared
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.steps import environment, forget_pages, run_step
from alluxio_lance.bench.ways import WAYS, Entry, chosen
from alluxio_lance.errors import Internal, InvalidArgument, NotFound, Unavailable

PEER = Entry(title="a peer", shuffle="rows", distribution="webdataset", module="no_such_module", peer=True)


@pytest.fixture
def job(tmp_path):
    """A measurement whose source does not exist."""
    return Job(
        way="memmap",
        source=tmp_path / "nothing",
        folder=tmp_path,
        rows=8,
        batch_size=4,
        workers=0,
        epochs=2,
        seed=0,
        check_images=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rows": 1}, "rows is 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"repetitions": 0}, "repetitions is 0"),
        ({"epochs": 1}, "epochs is 1"),
        ({"workers": ()}, "workers is"),
        ({"workers": (0, 0)}, "workers is"),
        ({"workers": (-1,)}, "workers is"),
        ({"ways": ["memmap", "tape"]}, "no way named tape"),
    ],
)
def test_arguments_that_make_no_run_are_refused(arguments, said, tmp_path):
    """The sentence names the argument; nothing was written."""
    with pytest.raises(InvalidArgument, match=said):
        run(**arguments, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_it_and_returns_its_code(capsys):
    """``python -m alluxio_lance.bench`` with a wrong way exits with 2 and a sentence."""
    assert main(["--ways", "tape"]) == InvalidArgument.exit_code
    assert "no way named tape" in capsys.readouterr().err


def test_ratios_always_have_their_yardsticks():
    """One way alone brings np.memmap and memcpy with it; none means all."""
    assert chosen(["ours"]) == ["memcpy", "memmap", "ours"]
    assert chosen(None) == list(WAYS)


def test_a_peer_that_may_not_be_installed_is_unavailable(tmp_path):
    """Without permission to install, the reason names the pinned version; no environment was begun."""
    with pytest.raises(Unavailable, match=r"webdataset==.*not installed"):
        peers.python_for(PEER, tmp_path, install=False, on_install=print)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_package_that_is_no_peer_is_never_installed(tmp_path):
    """Only peers get environments; other packages belong into the project's own."""
    with pytest.raises(Unavailable, match="install webdataset"):
        peers.python_for(replace(PEER, peer=False), tmp_path, install=True, on_install=print)


def test_what_needs_no_package_runs_on_this_python(tmp_path):
    """np.memmap runs here, and so does what imports here."""
    for entry in (WAYS["memmap"], replace(PEER, module="json")):
        assert peers.python_for(entry, tmp_path, install=False, on_install=print) == Path(sys.executable)


def test_an_environment_cut_off_in_the_making_is_not_used(tmp_path):
    """Only the stamp, written last and for the same Python and packages, makes an environment complete."""
    assert not peers.complete(tmp_path, "webdataset==1")
    (tmp_path / "complete.txt").write_text(peers.stamp("webdataset==1"))
    assert peers.complete(tmp_path, "webdataset==1")
    assert not peers.complete(tmp_path, "webdataset==2")


def test_every_peer_is_pinned():
    """Each peer has one line in peers.txt; a name without one is said."""
    assert all("==" in peers.pinned(entry.distribution) for entry in WAYS.values() if entry.peer)
    with pytest.raises(NotFound, match=r"peers\.txt"):
        peers.pinned("tape")


def test_a_step_that_fails_says_its_last_line(job, tmp_path):
    """The reason is the error of the process, not only its exit code."""
    with pytest.raises(Unavailable, match=r"measure failed: FileNotFoundError: .*images\.npy"):
        run_step("measure", job, Path(sys.executable), env=environment(tmp_path), limit_s=60)


def test_a_step_that_takes_too_long_is_ended(job, tmp_path):
    """Its process is gone when the error comes."""
    with pytest.raises(Unavailable, match="more than 0 s"):
        run_step("measure", job, Path(sys.executable), env=environment(tmp_path), limit_s=0.01)


def test_pages_are_forgotten_without_touching_the_files(tmp_path):
    """Files keep their bytes, links are not followed."""
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    forget_pages(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"x" * 10_000


def plan(folder, *ways, **options):
    """Plan a run without a sidecar on 64 rows."""

    @contextmanager
    def no_sidecar(_):
        raise Unavailable("the sidecar did not start: no memory", what="sidecar")
        yield

    settings = {"rows": 64, "batch_size": 32, "workers": (0,), "repetitions": 1, "epochs": 2, "seed": 0, "limit_s": 60}
    places = {"work": folder, "venvs": folder / "venvs", "install": False, "sidecar": no_sidecar}
    return Plan(ways=ways, **{**settings, **places, **options})


def test_without_a_sidecar_only_our_own_way_is_out(tmp_path):
    """It is unavailable for the sidecar's reason, and is not measured."""
    run = Run(plan(tmp_path, "ours"), lambda _: None, generate(tmp_path / "source", 64), total=1)
    with ExitStack() as stack:
        prepare_all(run, stack)
    run.measure("ours", 0, 0, 0)
    assert (run.prepared["ours"].state, run.measurements) == ("unavailable", [])
    assert "no memory" in run.prepared["ours"].reason


def test_the_baseline_is_always_measured_without_workers(tmp_path):
    """Memcpy has no workers, and needs np.memmap without them for its ratio."""
    made = Run(plan(tmp_path, "memcpy", "memmap", workers=(2,)), lambda _: None, generate(tmp_path / "s", 64), total=1)
    assert made.turns() == [("memcpy", 0), ("memmap", 0), ("memmap", 2)]


def test_without_its_yardsticks_a_run_fails(tmp_path):
    """A measurement that fails takes its way out, and no ratios remain without memcpy and np.memmap."""
    with pytest.raises(Internal, match=r"memmap could not be measured.*more than 0 s"):
        run_plan(plan(tmp_path, "memcpy", "memmap", limit_s=0.01), lambda _: None)


def test_a_sidecar_that_does_not_start_says_why(tmp_path):
    """The error is the sidecar's own last line, and its process is gone."""
    (tmp_path / "catalog.db").write_bytes(b"this is no database, and was none before" * 100)
    with pytest.raises(Unavailable, match=r"the sidecar did not start: .+"), serving(tmp_path):
        pass


@pytest.mark.parametrize(
    ("way", "state", "ok"),
    [("mosaic", "unavailable", True), ("mosaic", "failed", False), ("ours", "unavailable", False)],
)
def test_a_way_without_a_number_is_shown(small_run, way, state, ok):
    """Its row says why; only a peer that could not be installed leaves the run in order."""
    missing = Prepared(
        way=way, title="the missing one", shuffle="rows", state=state, reason="no [such] thing", versions={}
    )
    others = tuple(prepared for prepared in small_run.results.ways if prepared.way != way)
    lines = tuple(line for line in small_run.results.lines if line.way != way)
    results = replace(small_run.results, ways=(*others, missing), lines=lines)
    console = Console(record=True, width=80, file=io.StringIO())
    print_report(results, console)
    assert f"the missing one {state}: no [such] thing" in console.export_text()
    assert results.ok is ok
