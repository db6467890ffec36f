"""What a type of resources holds, datasets or models, and what follows from it for the data that come in."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import Mode
from alluxio_lance.values import Kind
from alluxio_lance.weights.rows import is_model

__all__ = ["SAVE_MODEL", "check_mode", "check_rows", "kind_of"]

SAVE_MODEL: Final = "save it with save_model or `alluxio-lance model save`"
"""What to do with a model, for messages."""


def kind_of(type: str) -> Kind:
    """Tell what a type holds: ``models`` holds models, every other type datasets."""
    return Kind.MODEL if type == "models" else Kind.DATASET


def check_mode(type: str, name: str, mode: Mode) -> None:
    """Refuse to add rows to a model.

    Raises
    ------
    InvalidArgument
        When the type holds models, and the mode is not the one that replaces a model as a whole.
    """
    if kind_of(type) is Kind.MODEL and mode != "overwrite":
        raise InvalidArgument(
            f"{type}/{name} is a model, whose versions are whole: mode {mode!r} cannot change it, {SAVE_MODEL} (mode 'overwrite')"
        )


def check_rows(type: str, name: str, schema: pa.Schema) -> None:
    """Refuse rows that the type does not hold.

    Raises
    ------
    InvalidArgument
        When they are no model's and the type holds models, or the other way round.
    """
    if kind_of(type) is Kind.MODEL and not is_model(schema):
        raise InvalidArgument(f"{type}/{name} is a model, and these data are a table without tensors: {SAVE_MODEL}")
    if kind_of(type) is Kind.DATASET and is_model(schema):
        raise InvalidArgument(f"{type}/{name} is a dataset, and these data are a model: its place is models/{name}")
