"""The pictures that the networks learn from: handwritten digits of 8 x 8 pixels, as scikit-learn ships them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

__all__ = ["pictures"]


def pictures() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return pictures to learn from, pictures to test with, and the digits of both.

    Pictures are ``[N, 64]``, pixels from 0 to 16.
    """
    pixels, labels = load_digits(return_X_y=True)
    seen, unseen, right, unknown = train_test_split(pixels.astype(np.float32), labels, random_state=0)
    return seen, unseen, right, unknown
