"""Callers that go away in the middle of a long verb: nothing of theirs runs on in the sidecar, nothing is left half done."""

import threading
import time
from contextlib import suppress

import grpc
import pytest

from alluxio_lance.errors import PolicyDenied, Unavailable
from alluxio_lance.governance import PromotionState
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Progress, State

APPROVED = """
[[gates]]
name = "four-eyes"
kind = "approval"
on = ["* -> validation"]
role = "admin"
allow_self = true
"""


@pytest.fixture
def two(manager, rows):
    """A resource with an old version and an active one."""
    manager.register_resource("datasets", "a", rows(5))
    return manager.update_resource("datasets", "a", rows(5, 5))


def ended(name):
    """Wait until the thread of a verb has ended."""
    end = time.monotonic() + 20
    while any(thread.name == name for thread in threading.enumerate()):
        assert time.monotonic() < end


def test_who_waits_for_an_approval_and_goes_leaves_no_thread(manager, channel, two):
    """The promotion still waits: somebody else may decide, and who asks again joins it."""
    manager.set_rules(APPROVED)
    request = pb.PromoteRequest(type="datasets", name="a", version="1.0.0", to="validation", wait=True)
    with channel.speaking() as stubs:
        call = stubs.lifecycle.Promote(request)
        while next(call).progress.step != "waiting for approval":
            pass
        call.cancel()
    ended("promote datasets/a")
    (promotion,) = manager.list_promotions(state=PromotionState.WAITING)
    with pytest.raises(PolicyDenied) as refusal:
        manager.promote_resource("datasets", "a", "1.0.0", to="validation")
    assert refusal.value.details["promotion"] == promotion.id
    manager.approve_promotion(promotion.id)
    assert manager.find_version("datasets", "a", "1.0.0").stage == "validation"


def test_an_archive_whose_caller_goes_before_the_copy_is_verified_is_undone(
    sidecar, manager, channel, two, monkeypatch
):
    """The version is where it was, for readers as for another archive; no copy is left in the cold tier."""
    plain, begun, go = sidecar.manager.store.archive, threading.Event(), threading.Event()

    def slow(location, version, cold, known, write):
        copy = plain(location, version, cold, known, write)
        begun.set()
        assert go.wait(20)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            write.on_progress(Progress(step="copy"))
        return copy

    monkeypatch.setattr(sidecar.manager.store, "archive", slow)
    with channel.speaking() as stubs:
        call = stubs.lifecycle.Archive(pb.ArchiveRequest(type="datasets", name="a", version="1.0.0"))
        assert begun.wait(20)
        call.cancel()
        go.set()
        with suppress(grpc.RpcError):
            list(call)
    ended("archive datasets/a")
    monkeypatch.undo()
    assert manager.find_version("datasets", "a", "1.0.0").state is State.REGISTERED
    assert channel.open_version("alluxio://datasets/a@1.0.0")[1].num_rows == 5
    assert manager.reconcile() == []
    assert not [path for path in (sidecar.settings.root / "cold").rglob("*") if path.is_file()]


def test_an_error_of_the_callers_own_ends_the_call(manager, two):
    """What `on_progress` raises comes out as it is."""

    def stop(progress):
        raise Unavailable("enough", what="caller")

    with pytest.raises(Unavailable, match="enough"):
        manager.archive_resource("datasets", "a", "1.0.0", on_progress=stop)
    ended("archive datasets/a")
