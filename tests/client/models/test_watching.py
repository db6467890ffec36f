"""How a serving process moves from one version of a model to the next: whole, late in nothing, and never without one.

The first tests stand in for the sidecar, since they say when a load ends and when it fails; the last has a real one.
"""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import contextmanager
from time import monotonic, sleep
from types import SimpleNamespace

import numpy as np
import pytest

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.door import Activated
from alluxio_lance.client.models import watching
from alluxio_lance.client.models.saving import save
from alluxio_lance.client.models.watching import ModelWatcher
from alluxio_lance.errors import InvalidArgument, NotFound, Unavailable
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import Tensor

URI = "alluxio://models/m"
LIMIT = 20


class Model:
    """What a server would serve: knows which version it is of, and can be watched while it dies."""

    def __init__(self, mapped) -> None:
        self.semver = mapped.layout.semver


class Stage:
    """A sidecar's stand-in: versions are opened by URI, and changes told by the test."""

    def __init__(self) -> None:
        self.active = "1.0.0"
        self.opened: list[str] = []
        self.closed = 0
        self.watch = None

    @contextmanager
    def open(self, uri, parts, address, *, timeout):
        """Stand in for `MappedModel.open`."""
        _, _, selector = uri.partition("@")
        semver = selector or self.active
        self.opened.append(semver)
        number = int(semver.split(".")[1]) + 1
        yield SimpleNamespace(
            layout=SimpleNamespace(type="models", name="m", semver=semver, version=number, uri=f"{URI}@v{number}")
        )
        self.closed += 1

    def tell(self, semver):
        """Stand in for the door's event."""
        self.watch.callback(Activated(semver, None if semver is None else int(semver.split(".")[1]) + 1))


def until(true):
    """Look again and again, for a generous while."""
    end = monotonic() + LIMIT
    while not true():
        assert monotonic() < end
        sleep(0.001)


@pytest.fixture
def stage(monkeypatch):
    """Put the stand-in where the watcher looks for models and for changes."""
    made = Stage()

    class Watch:
        def __init__(self, address, type, name, known, callback):
            self.known, self.callback = known, callback
            made.watch = self

        def close(self):
            """No thread, nothing to end."""

    monkeypatch.setattr(watching, "MappedModel", made)
    monkeypatch.setattr(watching, "Watch", Watch)
    return made


class Told:
    """Collects what callbacks are told, and waits for it."""

    def __init__(self) -> None:
        self.seen = []
        self._more = threading.Condition()

    def __call__(self, what) -> None:
        with self._more:
            self.seen.append(what)
            self._more.notify_all()

    def wait(self, count):
        """Wait for so many, and return them."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.seen) >= count, LIMIT), self.seen
            return self.seen


def test_the_active_version_serves_and_a_change_swaps_it(stage):
    """The first load is done when the watcher is made; the swap names both versions, and the mapping is closed."""
    swaps = Told()
    with ModelWatcher(URI, Model, on_swap=swaps) as watcher:
        assert stage.watch.known == 1
        with watcher.current() as model, watcher.use() as served:
            assert model is served.model
            assert (model.semver, served.layout.semver) == ("1.0.0", "1.0.0")
        stage.tell("1.1.0")
        (swap,) = swaps.wait(1)
        assert (swap.before, swap.semver, swap.version, swap.uri) == ("1.0.0", "1.1.0", 2, f"{URI}@v2")
        assert swap.seconds >= 0
        with watcher.use() as served:
            assert (served.model.semver, served.layout.version) == ("1.1.0", 2)
        found = watcher.statistics()
        assert (found.semver, found.wanted, found.swaps, found.failures, found.error) == ("1.1.0", "1.1.0", 1, 0, "")
    assert stage.closed == 2


def test_a_request_keeps_its_version_to_its_end_and_no_longer(stage):
    """The old model lives while a request uses it, and dies with the last one; no collector is needed."""
    swaps = Told()
    gc.disable()
    try:
        with ModelWatcher(URI, Model, on_swap=swaps) as watcher:
            first, second = watcher.use(), watcher.use()
            old = weakref.ref(first.__enter__().model)
            second.__enter__()
            stage.tell("1.1.0")
            swaps.wait(1)
            assert old().semver == "1.0.0"
            first.__exit__(None, None, None)
            assert old().semver == "1.0.0"
            second.__exit__(None, None, None)
            assert old() is None
    finally:
        gc.enable()


def test_models_in_circles_are_collected(stage):
    """With ``collect`` the old model dies after its last request though it refers to itself; not before."""
    swaps = Told()

    def load(mapped):
        model = Model(mapped)
        model.self = model
        return model

    gc.disable()
    try:
        with ModelWatcher(URI, load, on_swap=swaps, collect=True) as watcher:
            request = watcher.current()
            old = weakref.ref(request.__enter__())
            held = watcher.use()
            stage.tell("1.1.0")
            swaps.wait(1)
            held.__exit__(None, None, None)
            gc.collect()
            assert old().semver == "1.0.0"
            request.__exit__(None, None, None)
            until(lambda: old() is None)
    finally:
        gc.enable()
        gc.collect()


def test_of_a_burst_only_the_last_is_loaded(stage):
    """While one version is loaded four more become active: three of them are never opened."""
    loading, go, swaps = threading.Event(), threading.Event(), Told()

    def load(mapped):
        if mapped.layout.semver == "1.1.0":
            loading.set()
            assert go.wait(LIMIT)
        return Model(mapped)

    with ModelWatcher(URI, load, on_swap=swaps) as watcher:
        stage.tell("1.1.0")
        assert loading.wait(LIMIT)
        for minor in (2, 3, 4, 5):
            stage.tell(f"1.{minor}.0")
        with watcher.current() as model:
            assert model.semver == "1.0.0"
        go.set()
        assert [swap.semver for swap in swaps.wait(2)] == ["1.1.0", "1.5.0"]
    assert stage.opened == ["1.0.0", "1.1.0", "1.5.0"]


def test_a_rollback_during_a_load_leaves_what_serves(stage):
    """The version that was rolled back never serves, and its memory goes."""
    loading, go = threading.Event(), threading.Event()
    made, swaps = [], Told()

    def load(mapped):
        model = Model(mapped)
        made.append(weakref.ref(model))
        if mapped.layout.semver == "1.1.0":
            loading.set()
            assert go.wait(LIMIT)
        return model

    with ModelWatcher(URI, load, on_swap=swaps) as watcher:
        stage.tell("1.1.0")
        assert loading.wait(LIMIT)
        stage.tell("1.0.0")
        go.set()
        until(lambda: made[1]() is None)
        with watcher.current() as model:
            assert model is made[0]()
        assert (swaps.seen, stage.opened) == ([], ["1.0.0", "1.1.0"])


def test_a_rollback_is_a_swap_back(stage):
    """The version before is opened again and takes its place."""
    swaps = Told()
    with ModelWatcher(URI, Model, on_swap=swaps) as watcher:
        for count, semver in enumerate(("1.1.0", "1.0.0", "1.1.0"), 1):
            stage.tell(semver)
            assert swaps.wait(count)[-1].semver == semver
            with watcher.current() as model:
                assert model.semver == semver


def test_a_load_that_fails_leaves_the_old_one_and_is_tried_again(stage, caplog):
    """Requests go on; `on_error` and the log have each failure; the attempt that succeeds swaps and clears the error."""
    attempts, errors, swaps = [], Told(), Told()

    def load(mapped):
        if mapped.layout.semver == "1.1.0":
            attempts.append(1)
            if len(attempts) < 4:
                raise ValueError(f"no weights, attempt {len(attempts)}")
        return Model(mapped)

    with ModelWatcher(URI, load, on_swap=swaps, on_error=errors, retry=(0.001, 0.004)) as watcher:
        stage.tell("1.1.0")
        errors.wait(1)
        swaps.wait(1)
        assert [str(error) for error in errors.seen] == [f"no weights, attempt {number}" for number in (1, 2, 3)]
        found = watcher.statistics()
        assert (found.semver, found.failures, found.error) == ("1.1.0", 3, "")
    assert caplog.text.count("1.1.0 could not be loaded, the version before serves on") == 3
    assert "next attempt in 0.0 s" in caplog.text


def test_a_change_overtakes_the_pause_after_a_failure(stage):
    """However long the pause is: another version is loaded at once, and a rollback to what serves ends the attempts."""
    errors, swaps = Told(), Told()

    def load(mapped):
        if mapped.layout.semver == "1.1.0":
            raise NotFound("tensor 'bias' is missing")
        return Model(mapped)

    with ModelWatcher(URI, load, on_swap=swaps, on_error=errors, retry=(3600, 3600)) as watcher:
        stage.tell("1.1.0")
        errors.wait(1)
        with watcher.current() as model:
            assert model.semver == "1.0.0"
        found = watcher.statistics()
        assert (found.semver, found.wanted, found.error) == ("1.0.0", "1.1.0", "NotFound: tensor 'bias' is missing")
        stage.tell("1.0.0")
        stage.tell("1.2.0")
        swaps.wait(1)
        stage.tell("1.1.0")
        errors.wait(2)
        stage.tell("1.2.0")
        stage.tell("1.3.0")
        swaps.wait(2)
    assert stage.opened.count("1.1.0") == 2
    assert [swap.semver for swap in swaps.seen] == ["1.2.0", "1.3.0"]


def test_the_pause_doubles_up_to_the_longest(stage, caplog):
    """1, 2, 4 and so on, never more than the second number."""
    errors = Told()

    def load(mapped):
        if mapped.layout.semver == "1.1.0":
            raise OSError("disk")
        return Model(mapped)

    with ModelWatcher(URI, load, on_error=errors, retry=(0.05, 0.2)):
        stage.tell("1.1.0")
        errors.wait(4)
    said = [record.getMessage().rpartition(" in ")[2] for record in caplog.records if "next attempt" in record.message]
    assert said[:4] == ["0.1 s", "0.1 s", "0.2 s", "0.2 s"]


def test_a_model_that_is_gone_goes_on_serving(stage, caplog):
    """Without an active version the last one serves; the same number afterwards is another model and is loaded."""
    swaps = Told()
    with ModelWatcher(URI, Model, on_swap=swaps) as watcher:
        stage.tell(None)
        with watcher.current() as model:
            assert model.semver == "1.0.0"
        stage.tell("1.0.0")
        swaps.wait(1)
        with watcher.current() as other:
            assert other is not model
    assert stage.opened == ["1.0.0", "1.0.0"]
    assert "no version of alluxio://models/m is active any more" in caplog.text


def test_callbacks_that_fail_are_logged(stage, caplog):
    """What a callback raises ends nothing."""
    done = Told()

    def on_swap(swap):
        done(swap)
        raise RuntimeError("mine")

    with ModelWatcher(URI, Model, on_swap=on_swap):
        for count, semver in enumerate(("1.1.0", "1.2.0"), 1):
            stage.tell(semver)
            done.wait(count)
    assert caplog.text.count("RuntimeError: mine") == 2


def test_the_end(stage):
    """After `close` nothing is served or loaded; requests under way keep theirs; it may come from a callback."""
    ended, watchers = threading.Event(), []

    def on_swap(swap):
        watchers[0].close()
        ended.set()

    watcher = ModelWatcher(URI, Model, on_swap=on_swap)
    watchers.append(watcher)
    with watcher.current() as model:
        stage.tell("1.1.0")
        assert ended.wait(LIMIT)
        watcher.close()
        watcher.close()
        assert model.semver == "1.0.0"
    stage.tell("1.2.0")
    assert stage.opened == ["1.0.0", "1.1.0"]
    assert watcher.statistics().semver == ""
    with pytest.raises(Unavailable, match="the watcher of alluxio://models/m was closed"):
        watcher.current()


def test_a_load_under_way_at_the_end_does_not_serve(stage):
    """`close` waits for it, and drops it."""
    loading, go, swaps = threading.Event(), threading.Event(), Told()

    def load(mapped):
        if mapped.layout.semver == "1.1.0":
            loading.set()
            assert go.wait(LIMIT)
        return Model(mapped)

    watcher = ModelWatcher(URI, load, on_swap=swaps)
    stage.tell("1.1.0")
    assert loading.wait(LIMIT)
    closing = threading.Thread(target=watcher.close)
    closing.start()
    # Its word lies in the queue before the load ends.
    until(lambda: not watcher._news.empty())
    go.set()
    closing.join(LIMIT)
    assert not closing.is_alive()
    assert swaps.seen == []


def test_a_first_load_that_fails_is_an_error(stage):
    """There is nothing to serve yet: the caller hears of it, and nobody watches."""

    def load(mapped):
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        ModelWatcher(URI, load)
    assert stage.watch is None


def test_what_cannot_be_watched_is_refused(stage):
    """A watcher follows the active version and no other; pauses are two numbers that make sense."""
    with pytest.raises(InvalidArgument, match=r"names one - watch alluxio://models/m, or open .*@1.0.0 without"):
        ModelWatcher(f"{URI}@1.0.0", Model)
    for retry in ((0, 1), (2, 1)):
        with pytest.raises(InvalidArgument, match="the shortest and the longest pause"):
            ModelWatcher(URI, Model, retry=retry)
    with ModelWatcher(f"{URI}@active", Model) as watcher, watcher.current() as model:
        assert model.semver == "1.0.0"


def test_a_forked_child_is_told_to_make_its_own(stage, monkeypatch):
    """Its thread did not come along, and it would serve the first version for ever; another process id stands in."""
    with ModelWatcher(URI, Model) as watcher:
        monkeypatch.setattr(watching.os, "getpid", lambda: 0)
        with pytest.raises(InvalidArgument, match="did not come along into process 0 - make it after the fork"):
            watcher.current()


def test_no_request_sees_two_versions(stage):
    """Four threads take and let go while thirty versions come: each sees the model of the version it was told."""
    swaps, over, wrong = Told(), threading.Event(), []
    alive = weakref.WeakSet()

    def load(mapped):
        model = Model(mapped)
        alive.add(model)
        return model

    def serve():
        while not over.is_set():
            with watcher.use() as served:
                if served.model.semver != served.layout.semver:
                    wrong.append(served)

    with ModelWatcher(URI, load, on_swap=swaps) as watcher:
        threads = [threading.Thread(target=serve) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(1, 31):
            stage.tell(f"1.{number}.0")
            swaps.wait(number)
        over.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert [model.semver for model in alive] == ["1.30.0"]


# -- with a real sidecar -----------------------------------------------------------------------------------------------


def save_numbers(at, name, first):
    """Save a model with one tensor of 1,000 numbers."""
    data = np.arange(first, first + 1000, dtype=np.int64)
    tensor = Tensor(TensorSpec(name="w", dtype="I64", shape=(1000,)), lambda: memoryview(data))
    return save(f"alluxio://models/{name}", [tensor], address=at)


def numbers(mapped):
    """Take the tensor: what is handed out stays valid when the mapping is closed."""
    return np.frombuffer(mapped.data("w"), np.int64)


def leases_of(at, name, semver):
    """Ask the sidecar how many read a version."""
    with RemoteCache.connect(at) as cache:
        found = [each for each in cache.statistics().versions if (each.name, each.semver) == (name, semver)]
        return sum(each.leases for each in found)


def test_a_swap_lets_the_old_memory_and_its_lease_go(node):
    """Two watchers follow each change and the rollback; the lease on the old version ends with its last request."""
    at, name, swaps, others = node.address.grpc, "watch/two", Told(), Told()
    save_numbers(at, name, 0)
    with (
        ModelWatcher(f"alluxio://models/{name}", numbers, at, on_swap=swaps) as watcher,
        ModelWatcher(f"alluxio://models/{name}", numbers, at, on_swap=others, parts=["tensors"]) as other,
    ):
        request = watcher.use()
        assert request.__enter__().model[0] == 0
        save_numbers(at, name, 5000)
        assert swaps.wait(1)[0].semver == others.wait(1)[0].semver == "1.1.0"
        until(lambda: leases_of(at, name, "1.0.0") == 1)
        assert request._value.model.sum() == np.arange(1000).sum()
        request.__exit__(None, None, None)
        until(lambda: leases_of(at, name, "1.0.0") == 0)
        for each in (watcher, other):
            with each.current() as model:
                assert (model[0], len(model)) == (5000, 1000)
        del model
        node.call(lambda manager: manager.rollback_resource("models", name))
        assert swaps.wait(2)[1].semver == others.wait(2)[1].semver == "1.0.0"
        with other.current() as model:
            assert model[0] == 0
        del model
    until(lambda: leases_of(at, name, "1.0.0") + leases_of(at, name, "1.1.0") == 0)


def test_a_watcher_survives_the_sidecar(own_node):
    """Requests go on without it; what was activated meanwhile serves after its return."""
    at, swaps = own_node.address.grpc, Told()
    save_numbers(at, "lasting", 0)
    with ModelWatcher("alluxio://models/lasting", numbers, at, on_swap=swaps, retry=(0.1, 0.5)) as watcher:
        own_node.kill()
        with watcher.current() as model:
            assert model.sum() == np.arange(1000).sum()
        del model
        own_node.start()
        save_numbers(at, "lasting", 7)
        swaps.wait(1)
        with watcher.current() as model:
            assert model[0] == 7
        own_node.kill()
    with pytest.raises(Unavailable):
        ModelWatcher("alluxio://models/lasting", numbers, at)
