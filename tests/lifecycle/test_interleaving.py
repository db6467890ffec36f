"""Two managers on one resource: one does a whole verb while the other one stands before any call of its own.

What comes out must be what one order of the two gives, or one of them was refused; the one exception is meant: an update
during which the pointer moved comes in as registered, with the rows of the version from which it began.
``INTERLEAVINGS=500 pytest tests/lifecycle/test_interleaving.py`` searches longer, and elsewhere each time.
"""

import os
import shutil
import tempfile
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import AlluxioLanceError, AlreadyExists, Conflict, InvalidArgument, PolicyDenied, Restoring
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore

HERE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SEARCH = os.environ.get("INTERLEAVINGS")
RULES = """
[stages.experiment]
to = ["validation"]
[stages.validation]
to = ["production"]
[stages.production]
to = ["archived"]
holders = "one"
displaced = "archived"
[stages.archived]
"""
EDGES = {None: "validation", "validation": "production", "production": "archived"}


# -- the model ---------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """What a user sees: rows and state of each version, stages, tags, the pointer."""

    rows: dict = field(default_factory=dict)
    active: str = ""
    archived: set = field(default_factory=set)
    stages: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    been: set = field(default_factory=set)
    """What was active before."""

    def point(self, semver):
        """Move the pointer."""
        self.been.add(self.active)
        self.active = semver

    def seen(self):
        """Write it as `look` writes the world."""
        versions = {
            semver: (
                rows,
                "archived" if semver in self.archived else "active" if semver == self.active else "registered",
                self.stages.get(semver),
            )
            for semver, rows in self.rows.items()
        }
        return self.active, versions, dict(self.tags)


class Refused(Exception):
    """The model does not allow it."""


def do_update(model, tick, begun=None):
    """Rows come in, on top of what was active when it began; the pointer follows unless it has moved since."""
    base = begun or model
    minor = 1 + max(int(semver.split(".")[1]) for semver in model.rows)
    semver = f"1.{minor}.0"
    model.rows[semver] = base.rows[base.active] + Counter([tick])
    if base.active == model.active:
        model.point(semver)


def do_point(model, semver, begun=None):
    """The pointer moves, to what is hot."""
    if semver in model.archived:
        raise Refused
    model.point(semver)


def do_roll_back(model, semver, begun=None):
    """The pointer moves, to where it was before."""
    if semver not in model.been | {model.active}:
        raise Refused
    do_point(model, semver, begun)


def do_tag(model, semver, tag, move, begun=None):
    """A tag is given; it leaves another version only when that is wanted."""
    if not move and model.tags.get(tag, semver) != semver:
        raise Refused
    model.tags[tag] = semver


def do_promote(model, semver, to, begun=None):
    """A version goes one stage on, and displaces who held the last but one."""
    stage = model.stages.get(semver)
    if semver in model.archived or (stage != to and EDGES.get(stage) != to):
        raise Refused
    if to == "production" and stage != to:
        for other, held in model.stages.items():
            if held == to:
                model.stages[other] = "archived"
    model.stages[semver] = to


def do_archive(model, semver, begun=None):
    """A version goes to the cold tier."""
    if semver in model.archived or semver == model.active or model.stages.get(semver) == "production":
        raise Refused
    model.archived.add(semver)


def do_restore(model, semver, begun=None):
    """It comes back; one that is hot stays."""
    model.archived.discard(semver)


MODEL = {
    "update": do_update,
    "activate": do_point,
    "rollback": do_roll_back,
    "tag": do_tag,
    "promote": do_promote,
    "archive": do_archive,
    "restore": do_restore,
}


def after(model, *steps):
    """Give the model after steps, or None when it does not allow them."""
    changed = deepcopy(model)
    try:
        for verb, arguments, *begun in steps:
            MODEL[verb](changed, *arguments, *begun)
    except Refused:
        return None
    return changed


# -- the world ---------------------------------------------------------------------------------------------------------


def table(*ticks):
    """Make rows."""
    return pa.table({"tick": pa.array(ticks, pa.int64())})


WORLD = {
    "update": lambda manager, tick: manager.update_resource("datasets", "a", table(tick)),
    "activate": lambda manager, semver: manager.activate_resource("datasets", "a", semver),
    "rollback": lambda manager, semver: manager.rollback_resource("datasets", "a", semver),
    "tag": lambda manager, semver, tag, move: manager.tag_resource("datasets", "a", semver, tag, move=move),
    "promote": lambda manager, semver, to: manager.promote_resource("datasets", "a", semver, to=to),
    "archive": lambda manager, semver: manager.archive_resource("datasets", "a", semver),
    "restore": lambda manager, semver: manager.restore_resource("datasets", "a", semver),
}


class Stop:
    """Lets something happen before the call of a number, once."""

    def __init__(self):
        self.left = None
        self.then = None

    def meet(self):
        """Count a call."""
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left, then = None, self.then
            then()


class Port:
    """A port that can be stopped at."""

    def __init__(self, port, stop):
        self._port = port
        self._stop = stop
        self._within = False

    def __getattr__(self, name):
        method = getattr(self._port, name)

        @wraps(method)
        def called(*args, **options):
            # What is read together is one call to the catalog: nobody else works in its thread meanwhile.
            if not self._within:
                self._stop.meet()
            if name != "together" or self._within:
                return method(*args, **options)
            self._within = True
            try:
                return method(*args, **options)
            finally:
                self._within = False

        return called


class World:
    """Two managers over one catalog and one store."""

    def __init__(self, root):
        self.catalog, self.store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
        self.stop = Stop()
        self.first = LocalManager(Port(self.catalog, self.stop), Port(self.store, self.stop), lock_timeout=0)
        self.second = LocalManager(Borrowed(self.catalog), self.store, lock_timeout=0)

    def close(self):
        """End both."""
        self.second.close()
        self.first.close()

    def attempt(self, manager, verb, arguments):
        """Do a verb and give the error, if it was refused."""
        try:
            WORLD[verb](manager, *arguments)
        except AlluxioLanceError as error:
            return error
        return None

    def look(self):
        """Read what a user sees."""
        (resource,) = self.second.list_resources()
        versions, tags = {}, {}
        for version in self.second.list_versions("datasets", "a"):
            if version.state != "archived":
                found = self.store.dataset("datasets/a.lance", version.version).to_table()["tick"].to_pylist()
            else:
                found = None
            versions[version.semver] = (found and Counter(found), str(version.state), version.stage)
            tags |= dict.fromkeys(version.tags, version.semver)
        return resource.active.semver, versions, tags


class Borrowed:
    """A catalog that its manager must not close: it belongs to the other one, too."""

    def __init__(self, catalog):
        self._catalog = catalog

    def __getattr__(self, name):
        return (lambda: None) if name == "close" else getattr(self._catalog, name)


def plain(model):
    """Write a model as `World.look` sees it: rows of archived versions are not read."""
    active, versions, tags = model.seen()
    return (
        active,
        {s: (None if state == "archived" else rows, state, stage) for s, (rows, state, stage) in versions.items()},
        tags,
    )


LAST = {"update": 40, "activate": 22, "rollback": 19, "tag": 17, "promote": 24, "archive": 37, "restore": 33}
"""About how many calls of catalog and store a verb makes: a stop behind the last one would be none."""


# -- the search --------------------------------------------------------------------------------------------------------

PLACES = st.integers(0, 30)
STEP = st.one_of(
    st.tuples(st.just("update")),
    st.tuples(st.just("update")),
    st.tuples(st.sampled_from(["activate", "rollback", "archive", "archive", "restore"]), PLACES),
    st.tuples(st.just("tag"), PLACES, st.sampled_from(["golden", "best"]), st.booleans()),
    st.tuples(st.just("promote"), PLACES),
)
# A restore would wait for the other one, inside of it, and so for ever.
INNER = STEP.filter(lambda step: step[0] != "restore")
PAIRS = st.lists(st.tuples(STEP, st.tuples(st.integers(0, 999), INNER)), min_size=4, max_size=8)


@pytest.fixture(scope="module")
def prepared():
    """Give a root with three versions."""
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        with al.ResourceManager.embedded(Path(folder) / "root") as manager:
            manager.register_resource("datasets", "a", table(0))
            manager.update_resource("datasets", "a", table(1))
            manager.update_resource("datasets", "a", table(2))
            manager.set_rules(RULES)
        yield Path(folder) / "root"


def concrete(step, model, ticks):
    """Choose what a step is about: a version that is there, and the next stage of that."""
    verb, *rest = step
    if verb == "update":
        ticks.append(len(ticks) + 3)
        return verb, (ticks[-1],)
    semver = list(model.rows)[rest[0] % len(model.rows)]
    if verb == "promote":
        return verb, (semver, EDGES.get(model.stages.get(semver), "production"))
    return verb, (semver, *rest[1:])


@settings(
    max_examples=int(SEARCH or 15),
    # What is found is short already, and shrinking it takes minutes.
    phases=tuple(Phase) if SEARCH else (Phase.generate,),
    deadline=None,
    database=None,
    derandomize=SEARCH is None,
    suppress_health_check=list(HealthCheck),
)
@given(pairs=PAIRS)
def test_two_managers_do_what_one_would(prepared, pairs):
    """Whatever the one does in the middle of a verb of the other, no state comes out that no order explains."""
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        root = Path(folder) / "root"
        shutil.copytree(prepared, root)
        model = Model(
            rows={f"1.{n}.0": Counter(range(n + 1)) for n in range(3)}, active="1.2.0", been={"1.0.0", "1.1.0"}
        )
        world, ticks = World(root), []
        try:
            for outer, inner in pairs:
                model = check_pair(world, model, outer, inner, ticks)
            check_end(world, model)
        finally:
            world.close()


def check_pair(world, model, outer, inner, ticks):
    """Do one verb, with another one in its middle, and find the order that explains what came out."""
    first = concrete(outer, model, ticks)
    done = [(first, None)]
    place, step = inner
    second = concrete(step, model, ticks)
    world.stop.left = 1 + place % LAST[first[0]]
    world.stop.then = lambda: done.append((second, world.attempt(world.second, *second)))
    error = world.attempt(world.first, *first)
    world.stop.left = None
    done[0] = (first, error)
    done += bring_back(world, done)
    went = [(step, error) for step, error in done if error is None]
    refused = [(step, error) for step, error in done if error is not None]
    event(f"{len(went)} went, {len(refused)} refused")
    candidates = [found for found in orders(model, [step for step, _ in went]) if found is not None]
    seen = world.look()
    matching = [found for found in candidates if plain(found) == seen]
    assert matching, f"{done} on {model.seen()} gave {seen}, and no order of {went} does"
    for step, error in refused:
        assert is_explained(model, matching[0], step, error), (
            f"{step} was refused by {error!r} in {done} on {model.seen()}"
        )
    return matching[0]


def bring_back(world, done):
    """Restore by hand what a verb began to restore by itself, so that the threads that do so are through."""
    found = []
    for (verb, arguments), error in done:
        if isinstance(error, Restoring):
            semver = error.details.get("semver", arguments[0] if verb != "update" else None)
            found.append((("restore", (semver,)), world.attempt(world.first, "restore", (semver,))))
    return found


def orders(model, steps):
    """Give the model after the steps in every order, and with an update that began before the others."""
    if len(steps) < 2:
        yield after(model, *steps)
        return
    one, two, *rest = steps
    for way in ((one, two), (two, one)):
        yield after(model, *way, *rest)
    for late, early in ((one, two), (two, one)):
        if late[0] == "update":
            yield after(model, early, (*late, model), *rest)


def is_explained(before, now, step, error):
    """Tell whether an error is one that either the model or the other manager gives a reason for."""
    if isinstance(error, Conflict | Restoring):
        return True
    if isinstance(error, PolicyDenied) and any(each["gate"] == "standing" for each in error.details.get("report", ())):
        return True  # somebody else moved it while it was judged
    assert isinstance(error, AlreadyExists | InvalidArgument | PolicyDenied), repr(error)
    return after(before, step) is None or after(now, step) is None


def check_end(world, model):
    """Nothing is left to do, and plain Lance sees the same."""
    world.second.reconcile()
    assert world.catalog.open_operations() == []
    versions = {v.semver: v for v in world.second.list_versions("datasets", "a")}
    hot = {semver: v.version for semver, v in versions.items() if semver not in model.archived}
    found = {
        tag: each["version"]
        for tag, each in lance.dataset(world.store.absolute("datasets/a.lance")).tags.list().items()
    }
    wanted = {tag: hot[semver] for tag, semver in model.tags.items() if semver in hot}
    assert found == hot | wanted | {"active": hot[model.active]}
    for semver in model.archived:
        world.second.restore_resource("datasets", "a", semver)
        number = versions[semver].version
        assert (
            Counter(world.store.dataset("datasets/a.lance", number).to_table()["tick"].to_pylist())
            == model.rows[semver]
        )
