"""A Keras model that serves, swapped whole; the old one goes though it refers to itself."""

from __future__ import annotations

import threading
import weakref
from time import monotonic, sleep

import numpy as np
import pytest

from alluxio_lance.client.cache import RemoteCache

keras = pytest.importorskip("keras")

from alluxio.tf import ModelWatcher, save_model  # noqa: E402 - after the skip

pytestmark = pytest.mark.tf

LIMIT = 30


def make(seed):
    """Make a small network by a seed."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)])


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
