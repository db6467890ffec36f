"""Any sequence of verbs, with deaths in between, against a plain model of what a resource is.

``MACHINE_EXAMPLES=500 pytest -o faulthandler_timeout=0 tests/lifecycle/test_machine.py`` searches longer, and elsewhere each
time.
"""

import os
import runpy
import tempfile
from collections import Counter
from copy import deepcopy
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.pointing import events_of
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State, Verb

# The folders of tests are no packages.
DYING = runpy.run_path(str(Path(__file__).with_name("dying.py")))
Death, Fate, mortal = DYING["Death"], DYING["Fate"], DYING["mortal"]
MODEL = runpy.run_path(str(Path(__file__).with_name("machine_model.py")))
ModelResource, ModelVersion, Refused, counted, merged, need, pick, plain = (
    MODEL[name] for name in ("ModelResource", "ModelVersion", "Refused", "counted", "merged", "need", "pick", "plain")
)

EXAMPLES = os.environ.get("MACHINE_EXAMPLES")
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
            self.fate.at = None
            return
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
                rows = version.num_rows
                if version.state is not State.ARCHIVED:
                    rows = self.content(version)
                versions[version.semver] = (rows, dict(version.metadata), version.state)
            assert resource.versions == len(versions)
            for version in self.manager.list_versions(resource.type, resource.name, deleted=True):
                versions[version.semver] = (version.num_rows, dict(version.metadata), version.state)
            found[resource.name] = (resource.active.semver if resource.active else None, versions)
        for resource in self.manager.list_resources(deleted=True):
            found[resource.name] = "hidden"
        return found

    def content(self, version):
        """Read the rows of a version that is hot; past the manager, since this is what takes most of the time."""
        table = self.store.dataset(f"{version.type}/{version.name}.lance", version.version).to_table()
        assert version.num_rows == table.num_rows
        return Counter(zip(table["id"].to_pylist(), table["tick"].to_pylist(), strict=True))

    def count(self):
        """Count the verbs that the audit trail tells of, by name, since the name was free."""
        found = {}
        for name in self.resources:
            events = events_of(self.catalog, "datasets", name)
            ends = [place for place, each in enumerate(events, 1) if each.verb is Verb.PURGE and each.semver is None]
            found[name] = len(events) - max(ends, default=0)
        return found

    def shown(self):
        """Give the resources that are not deleted."""
        return {name: resource for name, resource in self.resources.items() if not resource.hidden}

    def known(self, which, *, hidden=False):
        """Choose a name that is there."""
        names = sorted(name for name, resource in self.resources.items() if resource.hidden is hidden)
        return names[which % len(names)] if names else None

    @precondition(lambda self: len(self.shown()) < len(NAMES))
    @rule(which=PLACES, ids=IDS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def register_again(self, which, ids, activate, metadata, death, mending):
        """A name that was deleted comes in again, once it was purged."""
        missing = sorted({*NAMES} - {*self.shown()})
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

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, ids=IDS, bump=BUMPS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def append(self, which, ids, bump, activate, metadata, death, mending):
        """Rows are added."""
        self.update("append", which, ids, bump, activate, metadata, death, mending)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, ids=IDS, bump=BUMPS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def overwrite(self, which, ids, bump, activate, metadata, death, mending):
        """Other rows take the place of all."""
        self.update("overwrite", which, ids, bump, activate, metadata, death, mending)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, ids=IDS, bump=BUMPS, activate=st.booleans(), metadata=METADATA, death=DEATHS, mending=DEATHS)
    def upsert(self, which, ids, bump, activate, metadata, death, mending):
        """Rows take the place of those with their keys."""
        self.update("upsert", which, ids, bump, activate, metadata, death, mending)

    def base_is_cold(self, name):
        """Tell whether an update would begin a restore in the background: when that ends, no model can know."""
        resource = self.resources[name]
        return resource.versions[resource.base()].state is State.ARCHIVED

    def update(self, mode, which, ids, bump, activate, metadata, death, mending):
        """Rows come in."""
        name = self.known(which)
        if self.base_is_cold(name):
            return
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

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, metadata=METADATA, death=DEATHS, mending=DEATHS)
    def describe(self, which, metadata, death, mending):
        """Only metadata come in."""
        name = self.known(which)
        if self.base_is_cold(name):
            return

        def change(resources):
            resource = need(resources, name)
            if metadata is None:
                raise Refused
            base = resource.versions[resource.base()]
            version = ModelVersion(base.rows, merged(base.metadata, metadata))
            resource.add(resource.following("patch"), version, activate=True)

        self.act(lambda manager: manager.update_resource("datasets", name, metadata=metadata), change, death, mending)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, place=PLACES, death=DEATHS)
    def activate(self, which, place, death):
        """The pointer moves."""
        name = self.known(which)
        self.point("activate_resource", name, place, death)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, place=PLACES, death=DEATHS)
    def roll_back(self, which, place, death):
        """The pointer moves back, to a named version."""
        name = self.known(which)
        self.point("rollback_resource", name, place, death)

    def point(self, verb, name, place, death):
        """Move the pointer by one of two verbs."""
        hot = {semver: each for semver, each in self.resources[name].listed().items() if not each.is_cold}
        if not hot:
            return
        semver = pick(hot, place)

        def change(resources):
            resource = need(resources, name)
            if verb == "rollback_resource" and semver not in resource.been:
                raise Refused
            resource.before.append(resource.active)
            resource.point(semver)

        self.act(lambda manager: getattr(manager, verb)("datasets", name, semver), change, death)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, death=DEATHS)
    def roll_back_to_the_one_before(self, which, death):
        """The pointer moves back, to the version that was active before."""
        name = self.known(which)
        if self.resources[name].purged:
            return  # a later version may have the number, and even the content, of one that is gone

        def change(resources):
            resource = need(resources, name)
            semver = resource.earlier()
            if semver is None:
                raise Refused
            resource.before.append(resource.active)
            resource.point(semver)

        self.act(lambda manager: manager.rollback_resource("datasets", name), change, death)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, place=PLACES, death=DEATHS)
    def deprecate(self, which, place, death):
        """A version goes out of use."""
        name = self.known(which)
        semver = pick(self.resources[name].listed(), place)

        def change(resources):
            resource = need(resources, name)
            if resource.versions[semver].state in (State.DEPRECATED, State.ARCHIVED):
                raise Refused
            resource.before.append(resource.active)
            if semver == resource.active:
                resource.point(None)
            resource.versions[semver].state = State.DEPRECATED

        self.act(lambda manager: manager.deprecate_resource("datasets", name, semver), change, death)

    # -- the cold tier -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, place=PLACES, death=DEATHS, mending=DEATHS)
    def archive(self, which, place, death, mending):
        """A version goes to the cold tier."""
        name = self.known(which)
        semver = pick(self.resources[name].listed(), place)

        def change(resources):
            resource = need(resources, name)
            if resource.versions[semver].state in (State.ACTIVE, State.ARCHIVED):
                raise Refused
            resource.change(semver).leave(State.ARCHIVED)

        self.act(lambda manager: manager.archive_resource("datasets", name, semver), change, death, mending)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, place=PLACES, read=st.booleans(), death=DEATHS, mending=DEATHS)
    def restore(self, which, place, read, death, mending):
        """A version comes back, because somebody says so or wants to read it."""
        name = self.known(which)
        cold = [semver for semver, each in self.resources[name].listed().items() if each.state is State.ARCHIVED]
        semver = pick(cold or self.resources[name].listed(), place)

        def change(resources):
            resource = need(resources, name)
            if resource.versions[semver].state is State.ARCHIVED:
                resource.change(semver).come_back()

        def verb(manager):
            if read:
                manager.get_resource("datasets", name, semver, wait=True)
            else:
                manager.restore_resource("datasets", name, semver)

        self.act(verb, change, death, mending)

    # -- the end -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, death=DEATHS, mending=DEATHS)
    def delete(self, which, death, mending):
        """A name goes out of sight."""
        self.end("delete_resource", self.known(which), death, mending)

    @precondition(lambda self: len(self.shown()) < len(self.resources))
    @rule(which=PLACES, death=DEATHS, mending=DEATHS)
    def undelete(self, which, death, mending):
        """A name comes back."""
        self.end("undelete_resource", self.known(which, hidden=True), death, mending)

    @precondition(lambda self: self.resources)
    @rule(which=PLACES, hidden=st.booleans(), death=DEATHS, mending=DEATHS)
    def purge(self, which, hidden, death, mending):
        """A name goes for good, if it was deleted before."""
        name = self.known(which, hidden=hidden) or self.known(which, hidden=not hidden)
        self.end("purge_resource", name, death, mending)

    def end(self, verb, name, death, mending):
        """Do one of the three verbs to a whole resource."""

        def change(resources):
            resource = resources[name]
            if resource.hidden is (verb == "delete_resource"):
                raise Refused
            resource.before.append(resource.active)
            resource.hidden = not resource.hidden
            if verb == "purge_resource":
                del resources[name]

        self.act(lambda manager: getattr(manager, verb)("datasets", name), change, death, mending)

    @precondition(lambda self: self.shown())
    @rule(which=PLACES, place=PLACES, death=DEATHS, mending=DEATHS)
    def delete_version(self, which, place, death, mending):
        """A version goes out of sight, unless it is the active one or the last."""
        name = self.known(which)
        semver = pick(self.resources[name].listed(), place)

        def change(resources):
            resource = need(resources, name)
            if resource.versions[semver].state is State.ACTIVE or len(resource.listed()) == 1:
                raise Refused
            resource.change(semver).leave(State.DELETED)

        self.act(lambda manager: manager.delete_resource("datasets", name, semver), change, death, mending)

    @precondition(lambda self: any(each.deleted() for each in self.shown().values()))
    @rule(which=PLACES, place=PLACES, death=DEATHS, mending=DEATHS)
    def undelete_version(self, which, place, death, mending):
        """A version comes back into sight."""
        name, semver = self.deleted_version(which, place)

        def change(resources):
            need(resources, name).change(semver).come_back()

        self.act(lambda manager: manager.undelete_resource("datasets", name, semver), change, death, mending)

    @precondition(lambda self: any(each.deleted() for each in self.shown().values()))
    @rule(which=PLACES, place=PLACES, death=DEATHS, mending=DEATHS)
    def purge_version(self, which, place, death, mending):
        """A version goes for good."""
        name, semver = self.deleted_version(which, place)

        def change(resources):
            resource = need(resources, name)
            resource.change(semver)
            resource.purged = True
            resource.been.discard(semver)
            del resource.versions[semver]

        self.act(lambda manager: manager.purge_resource("datasets", name, semver), change, death, mending)

    def deleted_version(self, which, place):
        """Choose a deleted version of a resource that is not."""
        having = sorted(name for name, resource in self.shown().items() if resource.deleted())
        name = having[which % len(having)]
        return name, pick(self.resources[name].deleted(), place)

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
            self.check_cold()
            for name, resource in self.resources.items():
                self.check_table(name, resource)
            self.check_what_comes_back()
        finally:
            self.shut()
            self.catalog.close()
            self.folder.cleanup()

    def check_table(self, name, resource):
        """Tags follow the catalog, and no data lie there that no version needs."""
        if resource.hidden:
            return
        listed = self.manager.list_versions("datasets", name)
        deleted = self.manager.list_versions("datasets", name, deleted=True)
        location = listed[0].location
        hot = {each.semver: each.version for each in listed if each.state is not State.ARCHIVED}
        tags = {tag: each["version"] for tag, each in lance.dataset(location).tags.list().items()}
        assert tags == hot | ({"active": hot[resource.active]} if resource.active else {})
        numbers = [each.version for each in (*listed, *deleted)]
        assert len(set(numbers)) == len(numbers)
        used = set()
        for version in (*listed, *deleted):
            if not resource.versions[version.semver].is_cold:
                for fragment in lance.dataset(location, version=version.version).get_fragments():
                    used |= {each.path for each in fragment.metadata.files}
        folder = Path(location) / "data"
        assert {path.name for path in folder.glob("*.lance")} == used

    def check_cold(self):
        """Every archived version has its copy, and nothing else lies in the cold tier."""
        folder = self.root / "cold"
        cold = [each for resource in self.resources.values() for each in resource.versions.values() if each.is_cold]
        copies = [
            folder / copy.location for name in NAMES for copy in self.catalog.cold_copies("datasets", name).values()
        ]
        assert len(copies) == len(cold)
        assert all(copy.is_dir() for copy in copies)
        lying = [path for path in folder.rglob("*") if path.is_file()]
        assert [path for path in lying if not any(path.is_relative_to(copy) for copy in copies)] == []

    def check_what_comes_back(self):
        """What is out of sight or cold has kept its rows."""
        for name, resource in self.resources.items():
            if resource.hidden:
                self.manager.undelete_resource("datasets", name)
            for semver, version in resource.versions.items():
                if version.state is State.DELETED:
                    self.manager.undelete_resource("datasets", name, semver)
                found = self.manager.get_resource("datasets", name, semver, wait=True)
                assert found.to_lance().count_rows() == version.rows.total()
                assert self.content(found.info) == version.rows


TestMachine = Machine.TestCase
TestMachine.pytestmark = [pytest.mark.timeout(0 if EXAMPLES else 300)]
TestMachine.settings = settings(
    max_examples=int(EXAMPLES or 40),
    stateful_step_count=50 if EXAMPLES else 15,
    deadline=None,
    database=None,
    derandomize=EXAMPLES is None,
    suppress_health_check=list(HealthCheck),
)
