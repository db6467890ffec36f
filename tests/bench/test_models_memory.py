"""Which ways of the models are measured by many processes at once: those that the memory has room for."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from alluxio_lance.bench.parts import models_mlflow
from alluxio_lance.errors import Unavailable

pytestmark = pytest.mark.torch

GIB = 1 << 30


def test_ways_that_copy_are_left_out_where_they_do_not_fit():
    """Eight processes with a copy each do not fit into 8 GiB, and what is mapped once does; the note says why."""
    from alluxio_lance.bench.parts.models_fitting import fitting
    from alluxio_lance.bench.parts.models_loading import MLFLOW, MMAP, OURS, TORCH

    kept, notes = fitting((OURS, MMAP, TORCH, MLFLOW), 2 * GIB, 8, 8 * GIB)
    assert kept == (OURS, MMAP)
    assert notes == tuple(
        f"Memory with {way} is not measured: 8 processes need 16384 MiB, and 8192 MiB are free."
        for way in (TORCH, MLFLOW)
    )
    assert fitting((OURS, TORCH), GIB, 2, 8 * GIB) == ((OURS, TORCH), ())


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="mlflow is part of this environment")
def test_mlflow_that_may_not_be_installed_is_not_there(tmp_path):
    """The reason names the version that is wanted; the part makes a note of it."""
    with pytest.raises(Unavailable, match=r"^mlflow-skinny==.* is not installed"):
        models_mlflow.find(tmp_path, install=False, tell=lambda _: None)
