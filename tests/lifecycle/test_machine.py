"""Any sequence of verbs, with deaths in between, against a plain model of what a resource is.

``MACHINE_EXAMPLES=500 pytest tests/lifecycle/test_machine.py`` searches longer, and elsewhere each time.
"""

import os
import runpy
import tempfile
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import lance
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State

# The folders of tests are no packages.
DYING = runpy.run_path(str(Path(__file__).with_name("dying.py")))
Death, Fate, mortal = DYING["Death"], DYING["Fate"], DYING["mortal"]

EXAMPLES = os.environ.get("MACHINE_EXAMPLES")
PARTS = {"major": 0, "minor": 1, "patch": 2}


# -- the model ---------------------------------------------------------------------------------------------------------


@dataclass
class ModelVersion:
    """What a version holds, as a multiset of rows."""

    rows: Counter
    metadata: dict
    state: State = State.REGISTERED


@dataclass
class ModelResource:
    """A resource: its versions in the order in which they came, and where the pointer was before each verb."""

    versions: dict[str, ModelVersion] = field(default_factory=dict)
    active: str | None = None
    before: list = field(default_factory=list)

    def point(self, semver):
        """Move the pointer."""
        if self.active and self.versions[self.active].state is State.ACTIVE:
            self.versions[self.active].state = State.REGISTERED
        self.active = semver
        if semver:
            self.versions[semver].state = State.ACTIVE

    def add(self, semver, version, *, activate):
        """Take a version in."""
        self.before.append(self.active)
        self.versions[semver] = version
        if activate:
            self.point(semver)

    def base(self):
        """Name the version that an update continues from."""
        return self.active or list(self.versions)[-1]

    def following(self, bump):
        """Choose the next number: the part counts on from the highest of its line."""
        part = PARTS[bump]
        base = [int(number) for number in self.base().split(".")]
        line = [[int(number) for number in semver.split(".")] for semver in self.versions]
        highest = max(numbers[part] for numbers in line if numbers[:part] == base[:part])
        return ".".join(map(str, [*base[:part], highest + 1, 0, 0][:3]))

    def earlier(self):
        """Name the version that a rollback without a name means, if there is one."""
        usable = (semver for semver in reversed(self.before) if semver and semver != self.active)
        return next((semver for semver in usable if self.versions[semver].state is State.REGISTERED), None)


Refused = type("Refused", (Exception,), {})


def need(resources, name):
    """Give a resource that has to be there."""
    if name not in resources:
        raise Refused
    return resources[name]


def pick(resource, place):
    """Choose one of the versions."""
    return list(resource.versions)[place % len(resource.versions)]


# -- the machine -------------------------------------------------------------------------------------------------------

NAMES = ("a", "a/b")
IDS = st.lists(st.integers(0, 6), unique=True, max_size=4)
PLACES = st.integers(0, 20)
DEATHS = st.none() | st.builds(lambda at, answered: (at, answered), st.integers(1, 40), st.booleans())
BUMPS = st.sampled_from([None, "major", "minor", "patch"])
METADATA = st.none() | st.dictionaries(st.sampled_from("xyz"), st.none() | st.integers(0, 9), max_size=2)


class Machine(RuleBasedStateMachine):
    """Verbs on two names, each of which may be the last of its process."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.root = Path(self.folder.name)
        self.catalog = DatabaseCatalog.open(catalog_url(self.root))
        self.store = LanceStore.local(tables_folder(self.root))
        self.resources = {}
        self.ticks = 0
        self.manager = None
        self.open()
        for name in NAMES:
            self.register(name, [1, 2], activate=True, metadata={"x": 1}, death=None, mending=None)

    def open(self, death=None):
        """Begin a new process, which mends what the one before left."""
        self.shut()
        self.fate = Fate(*(death or (None, False)))
        self.manager = mortal(self.catalog, self.store, self.fate)
        try:
            assert [found.outcome for found in self.manager.reconcile() if found.outcome == "failed"] == []
            self.fate.at = None
        except Death:
            self.open()

    def shut(self):
        """End the thread of a process that is gone."""
        if self.manager is not None:
            self.manager._rooms.journal.close()

    def rows(self, ids):
        """Make rows that were never there before."""
        self.ticks += 1
        return [(id, self.ticks) for id in ids]

    def data(self, rows):
        """Hand rows over in two batches, with a moment to die in between."""
        schema = pa.schema([("id", pa.int64()), ("tick", pa.int64())])

        def batches():
            for part in (rows[:1], rows[1:]):
                yield pa.RecordBatch.from_pylist([{"id": id, "tick": tick} for id, tick in part], schema=schema)
                if self.fate.meet("stream"):
                    raise Death("stream")

        return pa.RecordBatchReader.from_batches(schema, batches())

    def act(self, verb, change, death, mending=None):
        """Do a verb in the world and in the model, and compare them; after a death it is wholly there or not at all."""
        after = deepcopy(self.resources)
        try:
            change(after)
        except Refused:
            after = None
        if death:
            self.fate.at, self.fate.answered = self.fate.calls + death[0], death[1]
        try:
            verb(self.manager)
        except Death:
            self.open(mending)
            seen = self.seen()
            possible = [self.resources] if after is None else [self.resources, after]
            matching = [each for each in possible if plain(each) == seen]
            assert matching, f"died after {self.fate.told}: {seen} is none of {list(map(plain, possible))}"
            # When both are alike (a pointer that stays), only the history can tell.
            self.resources = matching[-1] if len(matching) == 1 or self.count() == counted(after) else matching[0]
        except AlluxioLanceError as error:
            if after is not None:
                raise AssertionError("it should not have been refused") from error
        else:
            assert after is not None, "it should have been refused"
            self.resources = after
        self.fate.at = None
        assert plain(self.resources) == self.seen()

    def seen(self):
        """Read everything that a user can see."""
        found = {}
        for resource in self.manager.list_resources():
            versions = {}
            for version in self.manager.list_versions(resource.type, resource.name):
                table = self.manager.get_resource(resource.type, resource.name, version.semver).to_lance().to_table()
                rows = Counter(zip(table["id"].to_pylist(), table["tick"].to_pylist(), strict=True))
                assert version.num_rows == table.num_rows
                versions[version.semver] = (rows, dict(version.metadata), version.state)
            assert resource.versions == len(versions)
            found[resource.name] = (resource.active.semver if resource.active else None, versions)
        return found

    def count(self):
        """Count the verbs that the audit trail tells of, by name, since the name was free."""
        return {
            name: len(self.manager._rooms.pointer.events("datasets", name)) - self.deleted.get(name, 0)
            for name in self.resources
        }

    @property
    def deleted(self):
        """Count the verbs up to the last deletion of each name."""
        found = {}
        for name in NAMES:
            verbs = [event.verb for event in self.manager._rooms.pointer.events("datasets", name)]
            found[name] = max((place + 1 for place, verb in enumerate(verbs) if verb == "delete"), default=0)
        return found

    def known(self, which):
        """Choose a name that is there."""
        return sorted(self.resources)[which % len(self.resources)]

    @precondition(lambda self: len(self.resources) < len(NAMES))
    @rule(which=PLACES, ids=IDS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def register_again(self, which, ids, activate, metadata, death, mending):
        """A name that was deleted comes in again."""
        missing = sorted({*NAMES} - {*self.resources})
        self.register(missing[which % len(missing)], ids, activate, metadata, death, mending)

    def register(self, name, ids, activate, metadata, death, mending):
        """A name comes in."""
        rows = self.rows(ids)

        def change(resources):
            if name in resources:
                raise Refused
            resources[name] = ModelResource()
            resources[name].add("1.0.0", ModelVersion(Counter(rows), metadata or {}), activate=activate)

        self.act(
            lambda manager: manager.register_resource(
                "datasets", name, self.data(rows), activate=activate, metadata=metadata
            ),
            change,
            death,
            mending,
        )

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, ids=IDS, bump=BUMPS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def append(self, which, ids, bump, activate, metadata, death, mending):
        """Rows are added."""
        self.update("append", which, ids, bump, activate, metadata, death, mending)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, ids=IDS, bump=BUMPS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def overwrite(self, which, ids, bump, activate, metadata, death, mending):
        """Other rows take the place of all."""
        self.update("overwrite", which, ids, bump, activate, metadata, death, mending)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, ids=IDS, bump=BUMPS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def upsert(self, which, ids, bump, activate, metadata, death, mending):
        """Rows take the place of those with their keys."""
        self.update("upsert", which, ids, bump, activate, metadata, death, mending)

    def update(self, mode, which, ids, bump, activate, metadata, death, mending):
        """Rows come in."""
        name = self.known(which)
        rows = self.rows(ids)

        def change(resources):
            resource = need(resources, name)
            base = resource.versions[resource.base()]
            kept = {"append": lambda _: True, "overwrite": lambda _: False, "upsert": lambda key: key not in ids}[mode]
            content = Counter({row: count for row, count in base.rows.items() if kept(row[0])}) + Counter(rows)
            version = ModelVersion(content, merged(base.metadata, metadata))
            resource.add(resource.following(bump or "minor"), version, activate=activate)

        self.act(
            lambda manager: manager.update_resource(
                "datasets",
                name,
                self.data(rows),
                mode=mode,
                on="id" if mode == "upsert" else None,
                bump=bump,
                activate=activate,
                metadata=metadata,
            ),
            change,
            death,
            mending,
        )

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, metadata=METADATA, death=DEATHS, mending=DEATHS)
    def describe(self, which, metadata, death, mending):
        """Only metadata come in."""
        name = self.known(which)

        def change(resources):
            resource = need(resources, name)
            if metadata is None:
                raise Refused
            base = resource.versions[resource.base()]
            version = ModelVersion(base.rows, merged(base.metadata, metadata))
            resource.add(resource.following("patch"), version, activate=True)

        self.act(lambda manager: manager.update_resource("datasets", name, metadata=metadata), change, death, mending)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, place=PLACES, death=DEATHS)
    def activate(self, which, place, death):
        """The pointer moves."""
        name = self.known(which)
        self.point("activate_resource", name, place, death)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, place=PLACES, death=DEATHS)
    def roll_back(self, which, place, death):
        """The pointer moves back, to a named version."""
        name = self.known(which)
        self.point("rollback_resource", name, place, death)

    def point(self, verb, name, place, death):
        """Move the pointer by one of two verbs."""
        semver = pick(self.resources[name], place)

        def change(resources):
            resource = need(resources, name)
            resource.before.append(resource.active)
            resource.point(semver)

        self.act(lambda manager: getattr(manager, verb)("datasets", name, semver), change, death)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, death=DEATHS)
    def roll_back_to_the_one_before(self, which, death):
        """The pointer moves back, to the version that was active before."""
        name = self.known(which)

        def change(resources):
            resource = need(resources, name)
            semver = resource.earlier()
            if semver is None:
                raise Refused
            resource.before.append(resource.active)
            resource.point(semver)

        self.act(lambda manager: manager.rollback_resource("datasets", name), change, death)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, place=PLACES, death=DEATHS)
    def deprecate(self, which, place, death):
        """A version goes out of use."""
        name = self.known(which)
        semver = pick(self.resources[name], place)

        def change(resources):
            resource = need(resources, name)
            if resource.versions[semver].state is State.DEPRECATED:
                raise Refused
            resource.before.append(resource.active)
            if semver == resource.active:
                resource.point(None)
            resource.versions[semver].state = State.DEPRECATED

        self.act(lambda manager: manager.deprecate_resource("datasets", name, semver), change, death)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, death=DEATHS, mending=DEATHS)
    def delete(self, which, death, mending):
        """A name goes."""
        name = self.known(which)

        def change(resources):
            need(resources, name)
            del resources[name]

        self.act(lambda manager: manager.delete_resource("datasets", name), change, death, mending)

    @rule(death=DEATHS)
    def reopen(self, death):
        """A process ends, and another one begins."""
        self.open(death)
        assert plain(self.resources) == self.seen()

    def teardown(self):
        """Everything is settled, mirrored and swept."""
        self.open()
        try:
            assert plain(self.resources) == self.seen()
            assert self.catalog.open_operations() == []
            on_disk = {
                path for path in tables_folder(self.root).rglob("*") if path.suffix == ".lance" and path.is_dir()
            }
            assert on_disk == {Path(self.store.absolute(f"datasets/{name}.lance")) for name in self.resources}
            for name, resource in self.resources.items():
                self.check_table(name, resource)
        finally:
            self.shut()
            self.catalog.close()
            self.folder.cleanup()

    def check_table(self, name, resource):
        """Tags follow the catalog, and no data lie there that no version needs."""
        versions = self.manager.list_versions("datasets", name)
        location = versions[0].location
        numbers = {version.semver: version.version for version in versions}
        tags = {tag: each["version"] for tag, each in lance.dataset(location).tags.list().items()}
        assert tags == numbers | ({"active": numbers[resource.active]} if resource.active else {})
        used = set()
        for number in numbers.values():
            for fragment in lance.dataset(location, version=number).get_fragments():
                used |= {each.path for each in fragment.metadata.files}
        folder = Path(location) / "data"
        assert {path.name for path in folder.glob("*.lance")} == used


def plain(resources):
    """Write a model as `Machine.seen` writes the world."""
    return {
        name: (
            resource.active,
            {semver: (each.rows, each.metadata, each.state) for semver, each in resource.versions.items()},
        )
        for name, resource in resources.items()
    }


def counted(resources):
    """Count the verbs of a model, as `Machine.count` does."""
    return {name: len(resource.before) for name, resource in resources.items()}


def merged(old, new):
    """Lay metadata over metadata; None takes a key away."""
    new = new or {}
    return {key: value for key, value in {**old, **new}.items() if key not in new or value is not None}


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=int(EXAMPLES or 60),
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=EXAMPLES is None,
    suppress_health_check=list(HealthCheck),
)
