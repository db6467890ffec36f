"""Which columns are to be decoded, and as what: the ``decode`` of a dataset, checked against its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import InvalidArgument, NotFound

__all__ = ["IMAGE", "pictures"]

IMAGE: Final = "image"


def pictures(decode: str | Mapping[str, str] | None, columns: Mapping[str, AnyColumn], uri: str) -> list[str]:
    """Name the columns of pictures.

    Parameters
    ----------
    decode
        ``"image"`` for all binary columns, or ``{"photo": "image"}``; None for none.

    Raises
    ------
    NotFound
        When it names a column that is not there.
    InvalidArgument
        When it names a kind other than ``image``, or a column that is not binary, or when there is no binary column.
    """
    if decode is None:
        return []
    binary = [name for name, column in columns.items() if _is_binary(column)]
    wanted = dict.fromkeys(binary, decode) if isinstance(decode, str) else dict(decode)
    for kind in {decode} if isinstance(decode, str) else set(wanted.values()):
        if kind != IMAGE:
            raise InvalidArgument(f'decode={kind!r} is nothing that can be decoded - give "image"')
    if not binary:
        raise InvalidArgument(f"{uri} has no binary column to decode: it has {', '.join(columns)} - leave out decode")
    for name in wanted:
        if name not in columns:
            raise NotFound(f"decode names {name!r}, which is none of the columns {', '.join(columns)} of {uri}")
        if name not in binary:
            raise InvalidArgument(
                f"column {name!r} of {uri} cannot be decoded, since it is not binary - choose from {', '.join(binary)}"
            )
    return list(wanted)


def _is_binary(column: AnyColumn) -> bool:
    return isinstance(column, VariableColumn) and column.element.name == "binary"
