"""Mixtures: in which order rows of several sources come, so that any stretch has them by their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.views.hashing import derived, hash_integers
from alluxio_lance.errors import InvalidArgument

__all__ = ["Stopping", "mixed_order"]

Stopping = Literal["first_exhausted", "all_exhausted"]

_MOST: Final = 1 << 28
"""Rows; each takes some tens of bytes while the order is made."""
_STOPPINGS: Final = ("first_exhausted", "all_exhausted")


def mixed_order(
    lengths: Sequence[int], weights: Sequence[float], seed: int, stopping: Stopping
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Order the rows of several sources.

    Each source is read in an order of its own, shuffled by ``seed``; where it is read more than once, each pass has
    another order. Among the first n rows a source of share p has n·p, give or take the number of sources.

    Parameters
    ----------
    lengths
        Rows of each source.
    weights
        What their shares are in proportion to.
    stopping
        ``"first_exhausted"``: until the first source has been read once, and no row comes twice. ``"all_exhausted"``:
        until each has been read once, and the others start again meanwhile.

    Returns
    -------
    sources, rows
        For each place the number of the source and the row in it.

    Raises
    ------
    InvalidArgument
        When weights are missing or not positive, or when a source is empty.
    """
    portions = _portions(lengths, weights, stopping)
    counts = _counts(lengths, portions, stopping)
    # The j-th row of a source is due at (j + 1/2) / p.
    due = np.concatenate([(np.arange(n) + 0.5) / p for n, p in zip(counts, portions, strict=True)])
    order = np.argsort(due, kind="stable")
    sources = np.repeat(np.arange(len(lengths)), counts)[order]
    numbers = np.concatenate([np.arange(n) for n in counts])[order]
    exhausted = np.flatnonzero(numbers == np.array(lengths)[sources] - 1)
    end = int(exhausted[0 if stopping == "first_exhausted" else -1]) + 1
    rows = np.concatenate(
        [_passes(length, n, derived(seed, k)) for k, (length, n) in enumerate(zip(lengths, counts, strict=True))]
    )
    return sources[:end], rows[order][:end]


def _counts(lengths: Sequence[int], portions: Sequence[float], stopping: str) -> list[int]:
    """How many rows of each source may be needed; rather one too many."""
    ends = [length / portion for length, portion in zip(lengths, portions, strict=True)]
    first = stopping == "first_exhausted"
    end = min(ends) if first else max(ends)
    if end > _MOST:
        raise InvalidArgument(
            f"the mixture would have {end:.3g} rows and may have {_MOST} - choose weights that differ less"
        )
    counts = [math.ceil(end * portion) + 1 for portion in portions]
    return [min(count, length) for count, length in zip(counts, lengths, strict=True)] if first else counts


def _portions(lengths: Sequence[int], weights: Sequence[float], stopping: str) -> list[float]:
    if stopping not in _STOPPINGS:
        raise InvalidArgument(f"a mixture stops at {' or '.join(map(repr, _STOPPINGS))}, not at {stopping!r}")
    if not lengths or len(weights) != len(lengths):
        raise InvalidArgument(f"{len(lengths)} datasets are mixed by as many weights, not by {len(weights)}")
    for weight in weights:
        if (
            isinstance(weight, bool)
            or not isinstance(weight, int | float | np.integer | np.floating)
            or not 0 < weight < math.inf
        ):
            raise InvalidArgument(f"a weight is a positive number, not {weight!r} - leave the dataset out instead")
    for place, length in enumerate(lengths):
        if not length:
            raise InvalidArgument(f"dataset {place} of the mixture has no rows - leave it out")
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _passes(length: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The first ``count`` rows of a source that is read again and again, in another order each time."""
    orders = [_shuffled(length, derived(seed, number)) for number in range(-(-count // length))]
    return np.concatenate([np.empty(0, np.int64), *orders])[:count]


def _shuffled(length: int, seed: int) -> npt.NDArray[np.int64]:
    """An order that depends on nothing but its arguments: numpy's own may change from release to release."""
    return np.argsort(hash_integers(np.arange(length), seed), kind="stable")
