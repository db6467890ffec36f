"""Serves the network of Keras and swaps it between two requests whenever another version becomes active.

Run it as ``python keras_server.py alluxio://models/digits-keras [--port N]``; `web.py` says what it answers to.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from web import PIXELS, serve  # type: ignore[import-not-found]  # it lies beside this file

from alluxio.tf import ModelWatcher
from alluxio_lance.client.models.watching import OnSwap

__all__ = ["predict", "watch"]


def watch(uri: str, on_swap: OnSwap) -> ModelWatcher:
    """Follow a model; what serves of each version is its traced graph, and a version that cannot answer never does."""
    return ModelWatcher(uri, on_swap=on_swap, trace=traced, prepare=ask_once)


def traced(model: Any) -> Any:
    """Make the graph of a model, mostly before there is a version whose weights it gets.

    A function of each version's own: one for all would be traced again at the first request to each model.
    """
    answer = tf.function(model, input_signature=[tf.TensorSpec((None, PIXELS), tf.float32)], autograph=False)
    ask_once(answer)
    return answer


def ask_once(answer: Any) -> None:
    """Ask before there is somebody who waits for it: a version that cannot answer never serves."""
    predict(answer, np.zeros((1, PIXELS), np.float32))


def predict(answer: Any, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Ask the network."""
    logits: npt.NDArray[np.float32] = answer(tf.constant(pixels)).numpy()
    return logits


if __name__ == "__main__":
    # The collector of Python runs when an old model is let go, and every thread waits for it. TensorFlow's own objects
    # stay for ever: when it need not look at them it takes a thousandth of the time.
    gc.collect()
    gc.freeze()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    serve(watch, predict)
