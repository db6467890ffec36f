"""The rows of a version for which an expression is true, found by Lance's own scanner."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Final

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument
from alluxio_lance.storage.cutting import width_bits
from alluxio_lance.storage.encoding import is_fixed_width
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.filters import Filter, read_filter
from alluxio_lance.storage.patience import PATIENCE, Pump

__all__ = ["matching"]

_BATCH_BYTES: Final = 8 << 20
_MOST_ROWS: Final = 64 << 10
_GUESS: Final = 1 << 10
"""Bytes of a value whose size is not known."""
_READ_AHEAD: Final = 2
_ROW: Final = "_rowoffset"
"""Lance's name for a row's number in the scan, which deleted rows do not count in."""
_WRONG: Final = (
    "Invalid user input",
    "Error applying filter expression",
    "Error optimizing sql filter",
    "feature is not implemented",
    "Error parsing function",
    "LIKE does not support",
)
"""How Lance begins what it has to say against an expression."""
_NOISE: Final = re.compile(
    r"Invalid user input: |,? ?/\S+\.rs:\d+:\d+|Valid fields are .*?, _row\w+\."
    # Advice on SQL that is not accepted here.
    r"|You can use double quotes to refer to .*?\.enable_ident_normalization configuration\.\s*"
)
_LONGEST: Final = 300


def matching(
    dataset: lance.LanceDataset, expression: str, schema: pa.Schema, where: str
) -> Generator[npt.NDArray[np.uint64], None, None]:
    """Number the rows for which an expression is true, ascending, one array per file of the table.

    Rows are counted as a scan of the whole version gives them. Rows for which the expression is null are not among
    them.

    Parameters
    ----------
    dataset
        Checked out at the version.
    schema
        Its columns.
    where
        Names it in errors.

    Raises
    ------
    InvalidArgument
        When the expression is none that may be evaluated, or does not fit the columns.
    Corrupt, Unavailable
        When the table cannot be read.
    """
    found = read_filter(expression, schema.names)
    return _stream(dataset, found, _rows_per_batch(found, schema), schema, where)


def _stream(
    dataset: lance.LanceDataset, filter: Filter, rows: int, schema: pa.Schema, where: str
) -> Generator[npt.NDArray[np.uint64], None, None]:
    with closing(Pump(PATIENCE, where, lambda: _files(dataset, filter, rows, schema, where))) as arrays:
        yield from arrays


def _files(
    dataset: lance.LanceDataset, filter: Filter, rows: int, schema: pa.Schema, where: str
) -> Iterator[npt.NDArray[np.uint64]]:
    with lance_faults(where):
        fragments = list(dataset.get_fragments())
        # An empty table has no file that could tell that an expression is wrong.
        scans = [_scanner(dataset, filter, rows, [fragment]) for fragment in fragments] or [
            _scanner(dataset, filter, rows, None)
        ]
    for scanner in scans:
        try:
            with lance_faults(where):
                found = scanner.to_table().column(_ROW).to_numpy()
        except AlluxioLanceError as error:
            raise _about_filter(error, filter, schema, where) from error
        yield np.sort(found.astype(np.uint64, copy=False))


def _scanner(dataset: lance.LanceDataset, filter: Filter, rows: int, fragments: Any) -> Any:
    return dataset.scanner(
        columns=[_ROW],
        filter=filter.text,
        fragments=fragments,
        batch_size=rows,
        batch_readahead=_READ_AHEAD,
        fragment_readahead=1,
        io_buffer_size=max(_READ_AHEAD * _BATCH_BYTES, 32 << 20),
        scan_in_order=True,
    )


def _rows_per_batch(filter: Filter, schema: pa.Schema) -> int:
    """Choose so few that the columns of the filter take a few MiB."""
    types = [schema.field(name).type for name in filter.columns]
    width = sum(width_bits(type_) / 8 if is_fixed_width(type_) else _GUESS for type_ in types)
    return int(max(1, min(_MOST_ROWS, _BATCH_BYTES // max(width, 1))))


def _about_filter(error: AlluxioLanceError, filter: Filter, schema: pa.Schema, where: str) -> AlluxioLanceError:
    """Tell what is wrong with the expression, if that is what Lance complains about."""
    cause = error.__cause__
    raw = str(cause)
    if type(cause).__name__ != "PanicException" and not any(sign in raw for sign in _WRONG):
        return error
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    return InvalidArgument(
        f"the filter {_shortened(filter.text)} cannot be evaluated on {where}: {_shortened(_NOISE.sub('', raw))} - its "
        f"columns are {_shortened(columns, 4 * _LONGEST)}"
    )


def _shortened(text: str, longest: int = _LONGEST) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= longest else f"{joined[:longest]}…"
