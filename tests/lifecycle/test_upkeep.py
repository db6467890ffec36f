"""Policies over real tables: what the plan says is what happens, byte for byte, and nothing happens that it must not."""

import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import NotFound, PermissionDenied, Unavailable
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.policies import DONE, STOPPED
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.upkeep import Action
from alluxio_lance.values import State, Verb

ARCHIVE = "[[policies]]\nname = 'cold'\narchive_after = '0.001s'\n"
DELETE = "[[policies]]\nname = 'gone'\ndelete_after = '0.001s'\n"
NO_GRACE = "[deletion]\ngrace = '0s'\n"


def rows(first, count=20_000):
    """Make a table that takes some hundred kilobytes."""
    ids = np.arange(first, first + count)
    return pa.table({"id": ids, "x": np.random.default_rng(first).random(count)})


@pytest.fixture
def manager(tmp_path):
    """Give an embedded manager with five versions that share files: created, appended, upserted, overwritten, appended."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", rows(0))
        manager.update_resource("datasets", "a", rows(20_000))
        manager.update_resource("datasets", "a", rows(10_000), mode="upsert", on="id")
        manager.update_resource("datasets", "a", rows(1), mode="overwrite")
        manager.update_resource("datasets", "a", rows(50_000))
        yield manager


def on_disk(manager):
    """Sum what lies in the folder of the table, by looking at the disk."""
    location = Path(manager.find_version("datasets", "a", "v5").location)
    # Lance keeps a hint there, of which version is the newest; it belongs to none.
    files = [path for path in location.rglob("*") if path.is_file() and path.name != "latest_version_hint.json"]
    return sum(path.stat().st_size for path in files)


def told(plan):
    """Write a plan without its bytes."""
    return [(row.action.value, row.semver, row.blocked) for row in plan.rows]


def hold(manager, semver, node="node-b"):
    """Let somebody read a version on another node."""
    holder = Holder(
        id=uuid.uuid4().hex,
        type="datasets",
        name="a",
        semver=semver,
        node=node,
        pid=7,
        user="alice",
        command="train.py",
        since=datetime.now(UTC),
    )
    manager.catalog.hold(holder, 60)
    return holder.id


def test_hot_falls_by_exactly_what_the_plan_says(manager):
    """Each row by itself and all together; files that versions share count where the last of them goes."""
    manager.set_rules(ARCHIVE)
    plan = manager.plan_policies()
    assert told(plan) == [("archive", f"1.{n}.0" if n < 3 else "1.3.0", None) for n in range(4)]
    assert manager.plan_policies().rows[0].frees_hot == plan.rows[0].frees_hot, "a plan changes nothing"
    contents = {v.semver: v.content_hash for v in manager.list_versions("datasets", "a")}
    for row in plan.rows:
        before, reported = on_disk(manager), manager.storage("datasets", "a").table_bytes
        manager.archive_resource("datasets", "a", row.semver)
        assert before - on_disk(manager) == row.frees_hot
        report = manager.storage("datasets", "a")
        assert reported - report.table_bytes == row.frees_hot
        assert next(v.cold_bytes for v in report.versions if v.semver == row.semver) >= row.adds_cold
    small, large = plan.rows[0].frees_hot, plan.rows[2].frees_hot
    assert (small < 5_000, large > 300_000) == (True, True), "the rows of the first version are those of the next ones"
    for semver, content in contents.items():
        manager.restore_resource("datasets", "a", semver)
        assert manager.find_version("datasets", "a", semver).content_hash == content
    manager.store.snapshot("datasets/a.lance", 1, manager.catalog.known_files("datasets", "a"))


def test_a_run_does_what_the_plan_says(manager):
    """As the janitor of this node, with the policy and its reason in the history; a second run finds nothing."""
    manager.set_rules(ARCHIVE)
    expected, before = manager.plan_policies(), on_disk(manager)
    ran = manager.run_policies()
    assert [(row.semver, row.frees_hot) for row in ran.rows] == [(row.semver, row.frees_hot) for row in expected.rows]
    assert set(ran.outcome.values()) == {DONE}
    assert before - on_disk(manager) == sum(row.frees_hot for row in expected.rows)
    states = {v.semver: v.state for v in manager.list_versions("datasets", "a")}
    assert states.pop("1.4.0") is State.ACTIVE
    assert set(states.values()) == {State.ARCHIVED}
    event = manager.history("datasets", "a")[-1]
    assert event.verb is Verb.ARCHIVE
    assert event.actor.startswith("janitor@")
    assert event.message.startswith("policy cold: never read, ")
    assert event.origin == f"for {manager.whoami().actor}"
    assert manager.run_policies().rows == ()


def test_the_newest_version_goes_while_an_older_one_is_active(manager):
    """Lance cannot remove its newest version: it is covered first, and the sum is right all the same."""
    manager.rollback_resource("datasets", "a", "1.0.0")
    manager.set_rules(ARCHIVE)
    plan, before = manager.plan_policies(), on_disk(manager)
    assert [row.semver for row in plan.rows] == ["1.1.0", "1.2.0", "1.3.0", "1.4.0"]
    manager.run_policies()
    freed = before - on_disk(manager)
    # The cover is a manifest and a transaction without rows.
    assert 0 <= sum(row.frees_hot for row in plan.rows) - freed < 2_500
    assert manager.get_resource("datasets", "a").to_lance().count_rows() == 20_000


def test_a_purge_frees_what_the_plan_says(manager):
    """Deleted versions go when their grace is over: hot ones, and ones that had been archived before."""
    manager.archive_resource("datasets", "a", "1.0.0")
    manager.set_rules(NO_GRACE + DELETE)
    plan = manager.plan_policies()
    assert told(plan) == [("delete", f"1.{n}.0", None) for n in range(4)]
    assert {(row.frees_hot, row.frees_cold) for row in plan.rows} == {(0, 0)}
    assert all("bytes when it is purged, after 0 seconds" in row.reason for row in plan.rows)
    assert set(manager.run_policies().outcome.values()) == {DONE}
    assert [v.semver for v in manager.list_versions("datasets", "a")] == ["1.4.0"]
    purges, before, report = manager.plan_policies(), on_disk(manager), manager.storage("datasets", "a")
    assert told(purges) == [("purge", f"1.{n}.0", None) for n in range(4)]
    assert {row.policy for row in purges.rows} == {"grace"}
    assert [row.frees_cold for row in purges.rows] == [report.cold_bytes, 0, 0, 0]
    assert set(manager.run_policies().outcome.values()) == {DONE}
    after = manager.storage("datasets", "a")
    assert before - on_disk(manager) == report.table_bytes - after.table_bytes == sum(r.frees_hot for r in purges.rows)
    assert (after.cold_bytes, [v.semver for v in after.versions]) == (0, ["1.4.0"])
    assert manager.list_versions("datasets", "a", deleted=True) == []


def test_a_whole_resource_is_purged_after_its_grace(manager):
    """Whether or not there are policies; the plan counts all that lies in both tiers."""
    manager.archive_resource("datasets", "a", "1.0.0")
    cold = manager.storage("datasets", "a").cold_bytes
    location = Path(manager.find_version("datasets", "a").location)
    manager.set_rules(NO_GRACE)
    manager.delete_resource("datasets", "a")
    (row,) = manager.plan_policies().rows
    assert (row.action, row.semver, row.blocked) == (Action.PURGE, None, None)
    lies_there = sum(path.stat().st_size for path in location.rglob("*") if path.is_file())
    assert (row.frees_hot, row.frees_cold) == (lies_there, cold)
    assert manager.plan_policies("models").rows == ()
    assert manager.plan_policies("datasets", "b").rows == ()
    assert manager.run_policies("datasets", "a").outcome == {0: DONE}
    assert not location.exists()
    with pytest.raises(NotFound):
        manager.storage("datasets", "a")


def test_what_is_protected_stays_and_the_plan_says_why(manager):
    """A tag, a stage, a branch, a reader; the others go all the same."""
    manager.tag_resource("datasets", "a", "1.0.0", "golden")
    manager.branch_resource("datasets", "a", "exp", version="1.1.0")
    manager.promote_resource("datasets", "a", "1.2.0", to="validation")
    lease = hold(manager, "1.3.0")
    manager.set_rules(ARCHIVE)
    plan = manager.plan_policies()
    assert told(plan)[:3] == [
        ("archive", "1.0.0", "it has the tag golden"),
        ("archive", "1.1.0", "the branch exp began at it"),
        ("archive", "1.2.0", "it holds the stage validation"),
    ]
    blocked = plan.rows[3]
    assert blocked.blocked.startswith("it is read by train.py (process 7 of alice on node-b)")
    assert [(each["node"], each["pid"], each["semver"]) for each in blocked.holders] == [("node-b", 7, "1.3.0")]
    assert {row.frees_hot for row in plan.rows} == {0}
    assert manager.run_policies().outcome == {number: row.blocked for number, row in enumerate(plan.rows)} | {
        3: manager.plan_policies().rows[3].blocked
    }
    manager.catalog.release([lease])
    assert manager.run_policies().outcome[3] == DONE
    manager.set_rules(DELETE)
    assert ("delete", "1.1.0-exp.1", "it is the newest version of the branch exp") in told(manager.plan_policies())


def test_keep_last_counts_each_line(manager):
    """The newest of the main line and of each branch stay."""
    manager.branch_resource("datasets", "a", "exp")
    for _ in range(2):
        manager.update_resource("datasets", "a", metadata={}, branch="exp")
    manager.set_rules("[[policies]]\nname = 'few'\nkeep_last = 2\n")
    assert told(manager.plan_policies()) == [
        ("delete", "1.0.0", None),
        ("delete", "1.1.0", None),
        ("delete", "1.2.0", None),
        ("delete", "1.4.0-exp.1", None),
    ]
    assert set(manager.run_policies().outcome.values()) == {DONE}
    assert [v.semver for v in manager.list_versions("datasets", "a")] == [
        "1.4.0",
        "1.3.0",
        "1.4.0-exp.3",
        "1.4.0-exp.2",
    ]


def test_only_what_is_asked_for_is_planned(manager):
    """By type and name; the first policy that covers a resource is the only one."""
    manager.register_resource("datasets", "tmp/b", rows(0, 10))
    manager.update_resource("datasets", "tmp/b", rows(0, 10))
    manager.register_resource("tables", "tmp/b", rows(0, 10), activate=False)
    manager.set_rules("[[policies]]\nname = 'none'\nnames = ['a']\n" + ARCHIVE)
    planned = [(row.type, row.name, row.semver) for row in manager.plan_policies().rows]
    assert planned == [("datasets", "tmp/b", "1.0.0"), ("tables", "tmp/b", "1.0.0")]
    assert [row.type for row in manager.plan_policies("tables").rows] == ["tables"]
    assert [row.type for row in manager.plan_policies(name="tmp/b").rows] == ["datasets", "tables"]
    assert manager.plan_policies("datasets", "a").rows == manager.plan_policies("datasets", "zzz").rows == ()


def test_one_row_that_fails_does_not_stop_the_others(manager, monkeypatch):
    """What it raised stands beside it: one of our errors as its sentence, any other as a fault to report."""
    manager.set_rules(ARCHIVE)
    archive = type(manager).archive_resource

    def broken(self, type, name, version, **more):
        if version == "1.0.0":
            raise Unavailable("the cold tier does not answer", what="cold")
        if version == "1.1.0":
            raise ZeroDivisionError("oops")
        return archive(self, type, name, version, **more)

    monkeypatch.setattr(type(manager), "archive_resource", broken)
    outcome = manager.run_policies().outcome
    assert outcome[0] == "the cold tier does not answer"
    assert outcome[1].startswith("ZeroDivisionError: oops - this is a fault of alluxio-lance")
    assert [outcome[2], outcome[3]] == [DONE, DONE]


def test_what_changed_since_the_plan_is_left_alone(manager, monkeypatch):
    """Each row is looked at again right before it is done: a tag, a pointer, a reader that came meanwhile."""
    manager.set_rules(ARCHIVE)
    archive = type(manager).archive_resource

    def meanwhile(self, type, name, version, **more):
        if version == "1.0.0":
            manager.rollback_resource("datasets", "a", "1.1.0")
            manager.tag_resource("datasets", "a", "1.2.0", "golden")
            hold(manager, "1.3.0")
        return archive(self, type, name, version, **more)

    monkeypatch.setattr(type(manager), "archive_resource", meanwhile)
    outcome = manager.run_policies().outcome
    assert outcome[0] == DONE
    assert outcome[1].startswith("it is not due any more")
    assert outcome[2] == "it has the tag golden"
    assert outcome[3].startswith("it is read by train.py")


def test_a_run_that_is_told_to_stop_stops_before_the_next_row(manager):
    """What is left is left for the next one."""
    manager.set_rules(ARCHIVE)
    asked = iter([True, False, False, False])
    assert manager.run_policies(go_on=lambda: next(asked)).outcome == {0: DONE, 1: STOPPED, 2: STOPPED, 3: STOPPED}


def test_a_verb_under_way_is_not_waited_for(manager):
    """A janitor does not stand behind the upload of a terabyte: it says what is under way."""
    manager.set_rules(ARCHIVE)
    writing, planned = threading.Event(), threading.Event()

    def slow():
        yield rows(0, 10).to_batches()[0]
        writing.set()
        assert planned.wait(30)

    thread = threading.Thread(target=lambda: manager.update_resource("datasets", "a", slow()))
    thread.start()
    assert writing.wait(30)
    try:
        plan = manager.run_policies()
    finally:
        planned.set()
        thread.join()
    assert len(plan.rows) == 4
    assert all(row.blocked.startswith("the verb update by ") for row in plan.rows)


def test_a_table_that_cannot_be_read_does_not_spoil_the_plan(manager, monkeypatch):
    """Its rows say so, and the others are planned."""
    manager.register_resource("datasets", "b", rows(0, 10))
    manager.update_resource("datasets", "b", rows(0, 10))
    manager.set_rules(ARCHIVE)
    removal = type(manager.store).removal

    def broken(self, location, going):
        if location == "datasets/a.lance":
            raise Unavailable("the disk does not answer", what="disk")
        return removal(self, location, going)

    monkeypatch.setattr(type(manager.store), "removal", broken)
    plan = manager.plan_policies()
    assert [row.blocked for row in plan.rows] == [
        *["what it takes cannot be told: the disk does not answer"] * 4,
        None,
    ]


def test_who_may_not_run_the_policies_may_look_at_the_plan(manager):
    """A viewer sees; the run needs the verb janitor."""
    manager.set_rules(ARCHIVE)
    viewer = manager.acting_as(Identity(actor="bob@here", roles=("viewer",), method="peer"))
    assert len(viewer.plan_policies().rows) == 4
    assert viewer.storage("datasets", "a").name == "a"
    with pytest.raises(PermissionDenied):
        viewer.run_policies()
    assert all(v.state is not State.ARCHIVED for v in manager.list_versions("datasets", "a"))


def test_storage_tells_what_each_version_takes(manager):
    """Unique and shared bytes add up; what only waits to be purged is told, too; branches have rows of their own."""
    manager.branch_resource("datasets", "a", "exp", version="1.4.0")
    manager.delete_resource("datasets", "a", "1.2.0")
    manager.archive_resource("datasets", "a", "1.3.0")
    report = manager.storage("datasets", "a")
    assert [(v.semver, v.branch, v.state.value) for v in report.versions] == [
        ("1.4.0", "", "active"),
        ("1.3.0", "", "archived"),
        ("1.2.0", "", "deleted"),
        ("1.1.0", "", "registered"),
        ("1.0.0", "", "registered"),
        ("1.4.0-exp.1", "exp", "registered"),
    ]
    assert all(v.hot_bytes == v.unique_bytes + v.shared_bytes for v in report.versions)
    by = {v.semver: v for v in report.versions}
    assert (by["1.3.0"].hot_bytes, by["1.3.0"].cold_bytes) == (0, report.cold_bytes)
    assert (by["1.0.0"].unique_bytes < 5_000, by["1.0.0"].shared_bytes > 150_000) == (True, True)
    assert report.table_bytes > by["1.2.0"].hot_bytes
