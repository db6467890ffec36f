"""A way that leaves work out gets no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alluxio_lance.bench.data import generate
from alluxio_lance.bench.job import Job
from alluxio_lance.bench.worker import check_batch, check_images, check_labels, timed_epoch
from alluxio_lance.errors import Corrupt

pytestmark = pytest.mark.torch


@pytest.fixture
def rows(tmp_path):
    """Eight generated rows."""
    return generate(tmp_path / "source", 8)


@pytest.fixture
def job(rows, tmp_path):
    """A measurement of them."""
    return Job(
        way="memmap",
        source=rows.folder,
        folder=tmp_path,
        rows=8,
        batch_size=4,
        workers=0,
        epochs=2,
        seed=0,
        check_images=True,
    )


def delivering(rows, order):
    """Give batches of 4 in an order."""

    def epoch(_):
        for start in range(0, len(order), 4):
            part = order[start : start + 4]
            yield torch.from_numpy(rows.images()[part].copy()), torch.from_numpy(rows.labels()[part])

    return epoch


SHUFFLED = [5, 2, 7, 0, 3, 6, 1, 4]


def test_a_shuffled_epoch_passes(rows, job):
    """Every row once, in an order of its own, with its own image."""
    assert timed_epoch(job, 0, delivering(rows, SHUFFLED))["samples"] == 8
    check_images("memmap", 0, rows, delivering(rows, SHUFFLED))


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (SHUFFLED[:-1], "7 came"),
        ([*SHUFFLED[:-1], 5], "7 of them different"),
        ([*SHUFFLED, 5], "9 came"),
        ([], "0 came"),
        (list(range(8)), "order of the source"),
    ],
    ids=["missing", "twice instead", "one more", "nothing", "not shuffled"],
)
def test_a_wrong_epoch_is_refused(rows, job, order, said):
    """Rows that are missing, come twice or are not shuffled are no epoch."""
    with pytest.raises(Corrupt, match=said):
        timed_epoch(job, 0, delivering(rows, order))


def test_an_image_of_another_row_is_refused(rows):
    """Labels in a right order do not help when an image is not theirs."""

    def epoch(_):
        for images, labels in delivering(rows, SHUFFLED)(0):
            images[0, 2, 63, 63] += 1
            yield images, labels

    with pytest.raises(Corrupt, match="not those of their labels"):
        check_images("memmap", 0, rows, epoch)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(4, 3, 64, 64, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 12288, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 3, 64, 64, dtype=torch.uint8), torch.zeros(4, dtype=torch.int32)),
        (torch.zeros(3, 3, 64, 64, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)),
    ],
    ids=["dtype", "shape", "label dtype", "lengths"],
)
def test_another_batch_is_refused(images, labels):
    """All ways deliver the same dtypes and shapes."""
    with pytest.raises(Corrupt, match="instead of"):
        check_batch("memmap", images, labels)


def test_labels_of_the_right_sum_are_not_enough():
    """Each label is looked for, not their sum."""
    with pytest.raises(Corrupt):
        check_labels("memmap", 0, 4, [torch.tensor([0, 2, 2, 2])])


def test_rows_are_the_same_on_every_run(tmp_path):
    """One seed gives the same bytes, another seed others; a label names its row."""
    first, again, other = (generate(tmp_path / name, 50, seed) for name, seed in [("a", 1), ("b", 1), ("c", 2)])
    assert np.array_equal(first.images(), again.images())
    assert np.array_equal(first.labels(), again.labels())
    assert not np.array_equal(first.images(), other.images())
    assert np.array_equal(first.labels()[first.row_of()], np.arange(50))
