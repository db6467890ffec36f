"""Models among what is hot: parts that come one by one, leases, eviction, the previous version, and what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest
from tests.sidecar.models.conftest import FILES, TENSORS

from alluxio_lance.errors import Corrupt, InvalidArgument, Leased, NoSpace, NotFound
from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.sidecar.selections import Selections
from alluxio_lance.sidecar.statistics import Role, Status
from alluxio_lance.sidecar.windows import Asker
from alluxio_lance.ways import Way
from alluxio_lance.weights.rows import Notes

ASKER = Asker("me", "me", lambda: True)
WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""


class Library:
    """Models by version, and the readers that were opened of them."""

    def __init__(self, table_double) -> None:
        self._double = table_double
        self.tables: dict[tuple[str, int], pa.Table] = {}
        self.readers: list = []

    def check(self, version) -> None:
        return None

    def warm(self, version, on_progress, go_on) -> None:
        return None

    share = check

    def open(self, version):
        self.readers.append(self._double(self.tables[version.name, version.version]))
        return self.readers[-1]


@pytest.fixture
def library(table_double) -> Library:
    """What residencies of this test can open."""
    return Library(table_double)


@pytest.fixture
def add(library, model_version):
    """Add a model to the library."""

    def make(table: pa.Table, version: int = 1, name: str = "m"):
        library.tables[name, version] = table
        return model_version(table, version, name)

    return make


@pytest.fixture
def open_residency(library, memfds):
    """Make residencies that are closed at the end, leaving no memfd and no claim."""
    made = []

    def make(limit: int = 1 << 30, **options) -> Residency:
        budget = Budget(limit, available=lambda: 1 << 40)
        residency = Residency(Loading(library), budget, prefer=Pages.SMALL, **options)
        made.append((residency, budget))
        return residency

    yield make
    for residency, budget in made:
        residency.close()
        assert budget.used == 0
    assert memfds() == []
    assert all(reader.closed == 1 for reader in library.readers)


@pytest.fixture
def residency(open_residency) -> Residency:
    """A residency with room for everything."""
    return open_residency()


def test_a_model_is_opened_as_two_columns(residency, add, table):
    """A hold has both files, one descriptor each, and the rows of the table."""
    hold = residency.open(add(table))
    assert [column.name for column in hold.layout.columns] == ["tensors", "files"]
    assert len(hold.descriptors) == 2
    assert hold.layout.num_rows == table.num_rows
    assert hold.layout.uri == "alluxio://models/m@v1"
    (found,) = residency.statistics().versions
    assert (found.status, found.rows, found.segments, found.leases) == (Status.HOT, table.num_rows, 2, 1)
    assert found.bytes == residency.statistics().used_bytes
    assert found.ways.keys() == {Way.LOCAL}
    hold.release()


def test_parts_come_when_they_are_asked_for(residency, add, table):
    """Who wants the files loads no tensors; the tensors come later, and the files stay what they were."""
    version = add(table)
    files = residency.open(version, ["files"])
    assert residency.is_hot(version, ["files"])
    assert not residency.is_hot(version)
    small = residency.statistics().used_bytes
    assert small < sum(len(data) for data in FILES.values()) + (64 << 10)
    both = residency.open(version, ["files", "tensors"])
    assert both.descriptors[0] == files.descriptors[0]
    assert residency.statistics().used_bytes > small + (8 << 20)
    again = residency.open(version)
    assert residency.statistics().hits == 1
    for hold in (files, both, again):
        hold.release()


def test_other_columns_are_refused(residency, add, table, library):
    """The error lists the two there are, and nothing is opened."""
    with pytest.raises(NotFound, match="models/m@v1 has no column 'weight': its columns are tensors, files"):
        residency.open(add(table), ["weight"])
    assert library.readers == []


def test_many_openers_share_one_load(residency, add, table, library):
    """Threads that want a model at once cause one load."""
    version = add(table)
    gate = threading.Barrier(4)
    holds = []

    def work() -> None:
        gate.wait(WAIT)
        holds.append(residency.open(version))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(library.readers) == 1
    assert len({hold.descriptors for hold in holds}) == 1
    for hold in holds:
        hold.release()


def test_a_held_model_is_not_evicted(residency, add, table):
    """The refusal names the reader; afterwards all of its memory is free."""
    version = add(table)
    hold = residency.open(version, holder="ada")
    with pytest.raises(Leased, match="ada"):
        residency.evict(version)
    hold.release()
    used = residency.statistics().used_bytes
    assert residency.evict(version) == used > 0
    assert residency.statistics().versions == ()


def test_the_previous_version_stays_for_a_rollback(residency, add, table, model_table):
    """After an update the version before stays hot; to go back loads nothing."""
    first, second = add(table), add(model_table(notes=Notes(extra={"step": 2})), 2)
    residency.open(first).release()
    residency.set_active("models", "m", first.semver)
    residency.open(second).release()
    residency.set_active("models", "m", second.semver)
    assert {found.version: found.role for found in residency.statistics().versions} == {
        1: Role.PREVIOUS,
        2: Role.ACTIVE,
    }
    residency.set_active("models", "m", first.semver)
    residency.open(first).release()
    assert residency.statistics().hits == 1


def test_a_model_makes_room_for_another_one(open_residency, add, table):
    """What nobody reads goes when the exact need of the next one is known; what is read stays."""
    residency = open_residency(24 << 20)
    first, second = add(table), add(table, 1, "n")
    hold = residency.open(first)
    with pytest.raises(NoSpace):
        residency.open(second)
    assert residency.is_hot(first)
    hold.release()
    residency.open(second).release()
    assert residency.is_hot(second)
    assert not residency.is_hot(first)


def test_one_that_never_fits_evicts_nothing(open_residency, add, table, model_table):
    """It is refused by its exact size, and the others stay."""
    residency = open_residency(16 << 20)
    small = add(model_table({"a": ("U8", (10,))}, {}, Notes()), 1, "small")
    residency.open(small).release()
    large = add(model_table({**TENSORS, "more": ("U8", (8 << 20,))}), 1)
    with pytest.raises(NoSpace, match=r"are needed, but of the budget of 16\.0 MiB"):
        residency.open(large)
    assert residency.is_hot(small)
    assert residency.statistics().failed_loads == 1


def test_a_damaged_model_takes_nothing_with_it(residency, add, table):
    """It fails for who opens it, stays unclaimed, and other models are opened as before."""
    broken = add(table.slice(0, table.num_rows - 1), 1, "broken")
    good = add(table)
    first = residency.open(good)
    used = residency.statistics().used_bytes
    for _ in range(2):
        with pytest.raises(Corrupt, match="models/broken@v1 is damaged"):
            residency.open(broken)
    assert residency.statistics().used_bytes == used
    residency.open(good).release()
    first.release()


def test_progress_comes_in_bytes(residency, add, table):
    """A prefetch is told all bytes that there are."""
    told = []
    residency.prefetch(add(table), on_progress=told.append)
    assert told[-1].bytes == told[-1].total_bytes > 8 << 20
    assert told[-1].rows == told[-1].total_rows == table.num_rows


def test_a_model_is_not_read_window_by_window(residency, add, table):
    """The refusal says how to open it; and nobody is told to stream it."""
    version = add(table)
    assert not residency.windows.could_stream(version)
    with pytest.raises(InvalidArgument, match=r"models/m@v1 is a model, .* load_model"):
        residency.windows.open(version, None, ASKER)


def test_a_model_has_no_filters(add, table, library):
    """The refusal comes before the store is asked."""
    with (
        Selections(library.open) as selections,
        pytest.raises(InvalidArgument, match="is a model: filters select rows of datasets"),
    ):
        selections.find(add(table), "chunk = 0", lambda: True)
    assert library.readers == []


def test_datasets_beside_models(residency, add, table, library, make_version):
    """Both are hot in one residency, each in its own way."""
    data = pa.table({"x": np.arange(100)})
    library.tables["x", 1] = data
    dataset, model = make_version(data), add(table)
    residency.open(dataset).release()
    residency.open(model).release()
    assert {(found.type, found.columns) for found in residency.statistics().versions} == {
        ("datasets", ("x",)),
        ("models", ("tensors", "files")),
    }
