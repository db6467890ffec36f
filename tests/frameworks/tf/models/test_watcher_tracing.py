"""What serves of a Keras model is traced ahead where that gives the same answers, and with the weights there where not."""

from __future__ import annotations

import threading

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from alluxio.tf import ModelWatcher, save_model  # noqa: E402 - after the skip
from alluxio_lance.client.models.watching import ModelWatcher as Watcher  # noqa: E402 - as above

pytestmark = pytest.mark.tf

LIMIT = 30
QUESTION = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
SERVE = "alluxio-lance serve "


def simple(seed):
    """Make a network without names, which Keras calls otherwise each time; one variable is large enough to be left empty."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((8,))
    found = layers.BatchNormalization()(layers.Dense(600, activation="relu")(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.Dense(600)(found)))


def adapted(seed):
    """Make one whose graph has more of its state in it than variables."""
    keras.utils.set_random_seed(seed)
    normalization = keras.layers.Normalization(name="normal")
    normalization.adapt(np.random.default_rng(seed).normal(seed, seed, (32, 8)))
    return keras.Sequential([keras.Input((8,), name="numbers"), normalization, keras.layers.Dense(4)])


@pytest.fixture
def rested(monkeypatch):
    """Count how often the thread has done all that it can do ahead."""
    count = threading.Semaphore(0)
    prepare = Watcher._prepare

    def counted(self):
        prepare(self)
        count.release()

    monkeypatch.setattr(Watcher, "_prepare", counted)
    return count


class Tracer:
    """Makes graphs of models and notes when each was traced; fails as often as told to, from its second time on."""

    def __init__(self, failures=0):
        self.traced, self.failures = [], failures

    def __call__(self, model):
        """Trace."""
        if self.traced and self.failures:
            self.failures -= 1
            raise ValueError("it wants the weights")

        def answer(numbers):
            self.traced.append(threading.current_thread().name)
            return model(numbers)

        made = tf.function(answer, input_signature=[tf.TensorSpec((None, 8))], autograph=False)
        made(np.zeros((1, 8), np.float32))
        return made


def serve(node, name, make, tracer, rested):
    """Serve three versions in turn; check their answers, and return how often was traced before each was saved."""
    uri, at, swapped, traced, asked = f"alluxio://models/{name}", node.at, threading.Event(), [], []
    made = make(1)
    save_model(uri, made, address=at)

    def prepare(answer):
        asked.append(answer(QUESTION).numpy())

    with ModelWatcher(uri, at, lambda _: swapped.set(), trace=tracer, prepare=prepare) as watcher:
        for seed in (1, 2, 3):
            if seed > 1:
                assert rested.acquire(timeout=LIMIT)
                traced.append(len(tracer.traced))
                swapped.clear()
                made = make(seed)
                save_model(uri, made, address=at)
                assert swapped.wait(LIMIT)
            expected = made(QUESTION)
            with watcher.current() as answer:
                np.testing.assert_allclose(answer(QUESTION), expected, rtol=1e-4, atol=1e-5)
            # `prepare` is asked with the weights, whenever the graph was made.
            assert len(asked) == seed
            np.testing.assert_allclose(asked[-1], expected, rtol=1e-4, atol=1e-5)
    assert tracer.traced[0] == threading.current_thread().name
    assert set(tracer.traced[1:]) == {SERVE + name}
    return traced


def test_a_graph_is_made_ahead_and_answers_with_the_weights_that_come(node, rested):
    """The graph is there before the version is, though Keras gave its layers other names."""
    tracer = Tracer()
    assert serve(node, "tracing/simple", simple, tracer, rested) == [2, 3]
    # The last one is for a version that never came.
    assert len(tracer.traced) == 4


def test_a_graph_that_would_keep_some_of_the_state_waits_for_it(node, rested):
    """The answers are of the version's own mean and variance."""
    tracer = Tracer()
    assert serve(node, "tracing/adapted", adapted, tracer, rested) == [1, 2]
    assert len(tracer.traced) == 3


def test_tracing_that_wants_the_weights_gets_them(node, rested):
    """After a failure ahead it is not tried ahead again, and every version serves."""
    tracer = Tracer(failures=1)
    assert serve(node, "tracing/failing", simple, tracer, rested) == [1, 2]
    assert tracer.failures == 0
    assert len(tracer.traced) == 3
