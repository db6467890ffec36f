"""Serves the network of PyTorch and swaps it between two requests whenever another version becomes active.

Run it as ``python server.py alluxio://models/digits [--port N]``; `web.py` says what it answers to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from digits import Digits  # type: ignore[import-not-found]  # it lies beside this file
from web import PIXELS, serve  # type: ignore[import-not-found]  # as above

from alluxio.torch import ModelWatcher
from alluxio_lance.client.models.watching import OnSwap

__all__ = ["predict", "watch"]


def watch(uri: str, on_swap: OnSwap) -> ModelWatcher[Digits]:
    """Follow a model; a version that cannot answer never serves."""
    return ModelWatcher(uri, Digits, on_swap=on_swap, prepare=ask_once)


def ask_once(model: Digits) -> None:
    """Read the weights and make what torch makes at a first call, before there is somebody who waits for it."""
    predict(model, np.zeros((1, PIXELS), np.float32))


def predict(model: Digits, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Ask the network."""
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = model(torch.from_numpy(pixels)).numpy()
    return logits


if __name__ == "__main__":
    # The network is small: more threads for one request would only wait for each other.
    torch.set_num_threads(1)
    serve(watch, predict)
