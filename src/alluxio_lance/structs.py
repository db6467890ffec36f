"""JSON objects as protobuf's ``Struct``, which knows one kind of number: both ends of the wire read them back alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from alluxio_lance.errors import InvalidArgument

__all__ = ["from_struct", "to_struct"]

_LARGEST_EXACT: Final = 2**53


def to_struct(what: str, mapping: Mapping[str, Any] | None) -> Struct:
    """Write a JSON object; ``what`` names it in messages.

    Raises
    ------
    InvalidArgument
        When something in it is no JSON, or an integer that a double cannot hold; the message carries its path.
    """
    return Struct(fields={_key(what, key): _to_value(f"{what}.{key}", item) for key, item in (mapping or {}).items()})


def from_struct(struct: Struct) -> dict[str, Any]:
    """Read a JSON object; whole numbers come back as ``int``."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _key(path: str, key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidArgument(f"{path} must be JSON: its key {key!r} is a {type(key).__name__} and not a text")
    return key


def _to_value(path: str, item: Any) -> Value:
    match item:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=item)
        case int() | float():
            return Value(number_value=_number(path, item))
        case str():
            return Value(string_value=item)
        case Mapping():
            return Value(struct_value=to_struct(path, item))
        case list() | tuple():
            values = [_to_value(f"{path}[{place}]", part) for place, part in enumerate(item)]
            return Value(list_value=ListValue(values=values))
    raise InvalidArgument(
        f"{path} must be JSON (text, numbers, booleans, lists, objects with text keys) and is a {type(item).__name__}"
    )


def _number(path: str, item: float) -> float:
    if isinstance(item, float) and not math.isfinite(item):
        raise InvalidArgument(f"{path} must be JSON, which has no number {item} - give null or a text")
    if isinstance(item, int) and abs(item) > _LARGEST_EXACT:
        raise InvalidArgument(f"{path} = {item} is too large for a JSON number to be exact - give it as a text")
    return float(item)


def _from_value(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "number_value":
            return int(value.number_value) if value.number_value.is_integer() else value.number_value
        case "string_value":
            return value.string_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [_from_value(part) for part in value.list_value.values]
    return None
