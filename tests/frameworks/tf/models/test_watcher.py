"""A Keras model that serves, swapped whole; the old one goes though it refers to itself."""

from __future__ import annotations

import threading
import weakref
from time import monotonic, sleep

import numpy as np
import pytest

from alluxio_lance.client.cache import RemoteCache

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from alluxio.tf import ModelWatcher, save_model  # noqa: E402 - after the skip
from alluxio_lance.frameworks.tf.models.blank import blank_of  # noqa: E402 - as above

pytestmark = pytest.mark.tf

LIMIT = 30


def make(seed, width=16, rate=None):
    """Make a small network by a seed, its names always the same; compiled where there is a learning rate."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(width, activation="relu", name="hidden"), keras.layers.Dense(4, name="answer")]
    model = keras.Sequential([keras.Input((8,), name="numbers"), *layers], name="net")
    if rate is not None:
        model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_a_keras_model_serves_and_is_swapped(node):
    """Answers are those of the model that was saved, exactly; the old version's memory and lease go after its last use."""
    uri, at = "alluxio://models/watch/keras", node.at
    question = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
    first, second = make(1), make(2)
    save_model(uri, first, address=at)
    swapped = threading.Event()

    def leases(semver):
        with RemoteCache.connect(node.address.grpc) as cache:
            found = [
                each for each in cache.statistics().versions if (each.name, each.semver) == ("watch/keras", semver)
            ]
            return sum(each.leases for each in found)

    with ModelWatcher(uri, at, on_swap=lambda _: swapped.set()) as watcher:
        with watcher.current() as model:
            assert np.array_equal(model(question), first(question))
            old = weakref.ref(model)
            del model
        save_model(uri, second, address=at)
        assert swapped.wait(LIMIT)
        with watcher.use() as served:
            assert np.array_equal(served.model(question), second(question))
            assert served.layout.semver == "1.1.0"
        end = monotonic() + LIMIT
        while old() is not None or leases("1.0.0"):
            assert monotonic() < end, (old(), leases("1.0.0"))
            sleep(0.01)


def save_next(uri, at, model, swapped):
    """Make another model the active version and wait until it serves."""
    swapped.clear()
    save_model(uri, model, address=at)
    assert swapped.wait(LIMIT)


def test_what_is_made_of_a_model_serves_traced(node):
    """Each version is traced before it serves, and not by its first request; the answers are the model's own."""
    uri, at, swapped, traces = "alluxio://models/watch/traced", node.at, threading.Event(), []
    question = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)

    def prepare(model):
        def answer(numbers):
            traces.append(threading.current_thread().name)
            return model(numbers)

        made = tf.function(answer, input_signature=[tf.TensorSpec((None, 8))], autograph=False)
        made(question)
        return made

    save_model(uri, make(1), address=at)
    with ModelWatcher(uri, at, on_swap=lambda _: swapped.set(), prepare=prepare) as watcher:
        for seed in (2, 3):
            second = make(seed)
            save_next(uri, at, second, swapped)
            before = len(traces)
            with watcher.current() as answer:
                np.testing.assert_allclose(answer(question), second(question), rtol=1e-5, atol=1e-6)
            assert len(traces) == before
        assert traces[0] == threading.current_thread().name
        assert len(traces) == 3
        assert set(traces[1:]) == {"alluxio-lance serve watch/traced"}


def test_a_version_that_cannot_be_prepared_does_not_serve(node):
    """The one before goes on; with None the model itself serves."""
    uri, at, failed, swapped = "alluxio://models/watch/unprepared", node.at, threading.Event(), threading.Event()
    asked = []

    def prepare(model):
        asked.append(model)
        if len(asked) == 2:
            raise ValueError("it answers nonsense")

    save_model(uri, make(1), address=at)
    with ModelWatcher(
        uri, at, lambda _: swapped.set(), lambda _: failed.set(), prepare=prepare, retry=(LIMIT, LIMIT)
    ) as watcher:
        with watcher.current() as model:
            assert model is asked[0]
            del model
        save_model(uri, make(2), address=at)
        assert failed.wait(LIMIT)
        found = watcher.statistics()
        assert (found.semver, found.error) == ("1.0.0", "ValueError: it answers nonsense")
        third = make(3)
        save_next(uri, at, third, swapped)
        question = np.ones((1, 8), np.float32)
        with watcher.use() as served:
            assert served.layout.semver == "1.2.0"
            assert np.array_equal(served.model(question), third(question))


def test_the_next_model_is_built_ahead(node, monkeypatch):
    """A version of the same architecture is given a model that was there, however compiled; one of another is built anew."""
    uri, at, swapped, rested = "alluxio://models/watch/ahead", node.at, threading.Event(), threading.Semaphore(0)
    at_once = []

    def build_at_once(*arguments, **options):
        at_once.append(arguments)
        return blank_of(*arguments, **options)

    def build_ahead(*arguments, **options):
        made = blank_of(*arguments, **options)
        rested.release()
        return made

    monkeypatch.setattr("alluxio_lance.frameworks.tf.models.loading.blank_of", build_at_once)
    monkeypatch.setattr("alluxio_lance.frameworks.tf.models.watcher.blank_of", build_ahead)
    question = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
    save_model(uri, make(1), address=at)
    with ModelWatcher(uri, at, on_swap=lambda _: swapped.set()) as watcher:
        for model, builds in ((make(2), 1), (make(3, rate=0.1), 1), (make(4, rate=0.2), 1), (make(5, width=32), 2)):
            assert rested.acquire(timeout=LIMIT)
            save_next(uri, at, model, swapped)
            with watcher.current() as served:
                assert np.array_equal(served(question), model(question))
            assert len(at_once) == builds
