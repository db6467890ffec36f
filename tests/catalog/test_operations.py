"""Operations: recorded once, adopted once, stepped, ended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import OperationState, Owner
from alluxio_lance.values import Progress, Verb

OTHER = Owner(node="node-2", boot="boot-2:1", pid=77, started=5)


def test_an_operation_comes_back_as_it_was_recorded(catalog, desk):
    """What begin records is what operation() returns, microseconds and zone included."""
    wanted = desk.operation(Verb.REGISTER, request_id="r-1", params={"on": ["ä", "𝄞"], "n": 1.5, "none": None})
    assert catalog.begin(wanted) == wanted
    assert catalog.operation(wanted.id) == wanted
    assert catalog.begin(wanted) == wanted


def test_an_unknown_operation_is_not_found(catalog):
    """Every way to name an operation that does not exist says so."""
    for call in (
        lambda: catalog.operation("0" * 32),
        lambda: catalog.record_step("0" * 32, "written"),
        lambda: catalog.abandon("0" * 32, "gone"),
        lambda: catalog.record_progress("0" * 32, Progress(step="copy")),
        lambda: catalog.fence("0" * 32, "datasets", "cifar10", ["1.0.0"]),
    ):
        with pytest.raises(NotFound, match="no operation '0000"):
            call()


def test_a_known_request_id_gives_the_operation_recorded_first(catalog, desk):
    """A repeated request finds its operation, pending and done."""
    first = catalog.begin(desk.operation(request_id="again"))
    assert catalog.begin(desk.operation(request_id="again")).id == first.id
    change = desk.change(location="datasets/cifar10.lance", draft=desk.draft("1.0.0"))
    catalog.commit(first.id, change, locked=False)
    found = catalog.begin(desk.operation(request_id="again"))
    assert (found.id, found.state, found.result) == (first.id, OperationState.DONE, "1.0.0")


def test_an_undone_operation_gives_its_request_id_free(catalog, desk):
    """After abandon the same request id begins a new operation."""
    first = catalog.begin(desk.operation(request_id="again"))
    catalog.abandon(first.id, "the disk \0was full")
    second = catalog.begin(desk.operation(request_id="again"))
    assert second.id != first.id
    undone = catalog.operation(first.id)
    assert (undone.state, undone.error, undone.request_id) == (OperationState.UNDONE, "the disk \ufffdwas full", None)


def test_racing_begins_with_one_request_id_agree(catalog, desk):
    """Of several begins at once one wins and all get its operation."""
    start = threading.Barrier(4)

    def begin(_: int) -> str:
        wanted = desk.operation(request_id="race")
        start.wait(10)
        return catalog.begin(wanted).id

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(begin, range(4)))
    assert len(ids) == 1
    assert [operation.id for operation in catalog.open_operations()] == list(ids)


@pytest.mark.parametrize("request_id", ["", " a", "a ", "x" * 201, "a\0b", "a\udc80"])
def test_a_request_id_that_some_database_would_confuse_is_refused(catalog, desk, request_id):
    """Empty, padded, overlong and unprintable request ids are wrong arguments, before anything is recorded."""
    with pytest.raises(InvalidArgument, match="request id"):
        catalog.begin(desk.operation(request_id=request_id))
    assert catalog.open_operations() == []


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800", "\0", {"a": [b"bytes"]}])
def test_parameters_that_are_no_json_are_refused(catalog, desk, value):
    """What could not be read back after a crash is not recorded."""
    with pytest.raises(InvalidArgument, match="what the verb was called with"):
        catalog.begin(desk.operation(params={"value": value}))


def test_an_escaped_looking_text_is_kept(catalog, desk):
    r"""A backslash before u0000 is plain text, and kept."""
    wanted = desk.operation(params={"value": "\\u0000"})
    assert catalog.begin(wanted) == catalog.operation(wanted.id) == wanted


def test_one_adopter_wins(catalog, desk):
    """The second process that adopts with the same knowledge is told that it came too late."""
    stale = catalog.begin(desk.operation())
    assert catalog.adopt(stale, OTHER)
    assert not catalog.adopt(stale, replace(OTHER, pid=78))
    adopted = catalog.operation(stale.id)
    assert adopted.owner == OTHER
    assert adopted.heartbeat_at > stale.heartbeat_at


def test_an_owner_that_adopts_its_own_operation_does_it_once(catalog, desk):
    """The comparison sees a difference also when neither the owner nor the clock moved."""
    stale = catalog.begin(desk.operation())
    assert catalog.adopt(stale, stale.owner)
    assert not catalog.adopt(stale, stale.owner)


def test_a_living_owner_keeps_its_operation(catalog, clock, desk):
    """A heartbeat after the look makes the adoption fail."""
    seen = catalog.begin(desk.operation())
    clock.advance(1)
    catalog.heartbeat(seen.id, 30)
    assert not catalog.adopt(seen, OTHER)
    assert catalog.operation(seen.id).heartbeat_at == seen.heartbeat_at + timedelta(seconds=1)


def test_settled_and_undone_operations_cannot_be_adopted(catalog, desk):
    """Only operations with work left change hands; one that is done but not settled has some."""
    undone = catalog.begin(desk.operation())
    catalog.abandon(undone.id, "gone")
    assert not catalog.adopt(catalog.operation(undone.id), OTHER)
    desk.add("1.0.0")
    (done,) = catalog.open_operations()
    assert done.state is OperationState.DONE
    assert catalog.adopt(done, OTHER)
    catalog.record_step(done.id, "settled")
    assert not catalog.adopt(catalog.operation(done.id), OTHER)


def test_open_operations_are_those_with_work_left_oldest_first(catalog, clock, desk):
    """Pending and unsettled operations are listed in the order of their beginning; settled and undone ones are not."""
    first = desk.begun(name="a")
    clock.advance(1)
    desk.add("1.0.0")
    (done,) = [operation.id for operation in catalog.open_operations() if operation.id != first]
    clock.advance(1)
    last = desk.begun(name="b")
    catalog.abandon(desk.begun(name="c"), "no")
    assert [operation.id for operation in catalog.open_operations()] == [first, done, last]
    catalog.record_step(done, "tagged")
    assert [operation.id for operation in catalog.open_operations()] == [first, done, last]
    catalog.record_step(done, "settled")
    assert [operation.id for operation in catalog.open_operations()] == [first, last]


def test_a_step_renews_the_heartbeat(catalog, clock, desk):
    """record_step writes the step and the time."""
    id = desk.begun()
    clock.advance(2)
    catalog.record_step(id, "written")
    found = catalog.operation(id)
    assert (found.step, found.heartbeat_at) == ("written", clock.now)


def test_an_undone_operation_takes_no_more_steps(catalog, clock, desk):
    """A process that was believed to be dead learns that its operation was undone; its heartbeat changes nothing."""
    id = desk.begun()
    catalog.abandon(id, "process 41 ended")
    before = catalog.operation(id)
    clock.advance(1)
    catalog.heartbeat(id, 30)
    with pytest.raises(Conflict, match="undone meanwhile \\(process 41 ended\\)"):
        catalog.record_step(id, "written")
    assert catalog.operation(id) == before


def test_abandon_gives_the_lock_free_and_leaves_a_done_operation_done(catalog, desk):
    """Abandoning ends a pending operation with its lock; when the commit went through after all, it stays."""
    id = desk.begun()
    catalog.try_lock("datasets", "cifar10", id, 30)
    catalog.abandon(id, "no")
    assert catalog.try_lock("datasets", "cifar10", "f" * 32, 30) is None
    catalog.unlock("datasets", "cifar10", "f" * 32)
    desk.add("1.0.0")
    (done,) = catalog.open_operations()
    catalog.abandon(done.id, "the answer was lost")
    assert catalog.operation(done.id) == done


def test_an_operation_says_how_far_it_is(catalog, clock, desk):
    """Progress is seen by everybody and renews the heartbeat; an undone operation takes none."""
    wanted = desk.operation(Verb.RESTORE, origin="unix:pid=1", progress=Progress(step="wait"))
    assert catalog.begin(wanted) == catalog.operation(wanted.id) == wanted
    clock.advance(2)
    progress = Progress(step="copy", rows=5, total_rows=None, bytes=7, total_bytes=2**40)
    catalog.record_progress(wanted.id, progress)
    found = catalog.operation(wanted.id)
    assert (found.progress, found.heartbeat_at, found.step) == (progress, clock.now, "begun")
    catalog.abandon(wanted.id, "gone")
    with pytest.raises(Conflict, match="undone meanwhile"):
        catalog.record_progress(wanted.id, progress)


def test_the_parameters_of_a_pending_operation_can_be_replaced(catalog, clock, desk):
    """By the same and what it found out since; not once it has ended."""
    id = desk.begun()
    clock.advance(1)
    catalog.record_params(id, {"mode": "append", "began": 7})
    found = catalog.operation(id)
    assert (found.params, found.heartbeat_at) == ({"mode": "append", "began": 7}, clock.now)
    with pytest.raises(InvalidArgument, match="is no JSON"):
        catalog.record_params(id, {"x": object()})
    catalog.abandon(id, "gone")
    with pytest.raises(Conflict, match="undone already"):
        catalog.record_params(id, {})


def test_the_restore_of_a_version_is_found_by_others(catalog, desk):
    """Only while it is pending, by type, name and version."""
    restore = desk.begun(Verb.RESTORE, params={"semver": "1.0.0"})
    desk.begun(Verb.ARCHIVE, params={"semver": "1.1.0"})
    assert catalog.restoring("datasets", "cifar10", "1.0.0").id == restore
    for other in (("datasets", "cifar10", "1.1.0"), ("datasets", "mnist", "1.0.0"), ("models", "cifar10", "1.0.0")):
        assert catalog.restoring(*other) is None
    catalog.abandon(restore, "gone")
    assert catalog.restoring("datasets", "cifar10", "1.0.0") is None


def test_the_audit_row_has_the_origin_of_the_operation(catalog, desk):
    """Unless the change has one of its own."""
    for origin in ("", "ipv4:10.0.0.7:4711"):
        id = desk.begun(origin="unix:pid=123")
        change = desk.change(location="datasets/cifar10.lance", labels={"a": "b"}, origin=origin)
        catalog.commit(id, change, locked=False)
    assert [event.origin for event in catalog.events()] == ["unix:pid=123", "ipv4:10.0.0.7:4711"]
