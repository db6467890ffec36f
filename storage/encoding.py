"""How a schema is stored: the file format that fits it, the hints for Lance, and the schema without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

__all__ = ["file_version", "is_fixed_width", "stored_schema", "user_schema"]

_PREFIX: Final = b"lance-encoding:"
_PLAIN: Final = {b"lance-encoding:compression": b"none"}


def file_version(schema: pa.Schema) -> str:
    """Return the Lance file format for a schema.

    ``2.0`` keeps fixed-width values as they are and reads fastest, but has no null structs, no maps and no
    blobs; ``2.2`` has them all.
    """
    return "2.2" if any(_needs_newer(field.type, nullable=field.nullable) for field in schema) else "2.0"


def _needs_newer(type_: pa.DataType, *, nullable: bool) -> bool:
    if isinstance(type_, pa.BaseExtensionType):
        return type_.extension_name == "lance.blob.v2" or _needs_newer(type_.storage_type, nullable=nullable)
    if pa.types.is_struct(type_):
        return nullable or any(_needs_newer(child.type, nullable=child.nullable) for child in type_)
    if pa.types.is_map(type_):
        return True
    if _is_list(type_):
        return _needs_newer(type_.value_type, nullable=type_.value_field.nullable)
    return pa.types.is_dictionary(type_) and _needs_newer(type_.value_type, nullable=False)


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def is_fixed_width(type_: pa.DataType) -> bool:
    """Tell whether every value of a type has the same number of bits."""
    if isinstance(type_, pa.BaseExtensionType):
        return is_fixed_width(type_.storage_type)
    if pa.types.is_fixed_size_list(type_):
        return is_fixed_width(type_.value_type)
    return bool(
        pa.types.is_primitive(type_) or pa.types.is_decimal(type_) or pa.types.is_fixed_size_binary(type_)
    ) and not pa.types.is_dictionary(type_)


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema as it is given to Lance for a new table.

    Views become their large siblings (Lance has no views), hints of another table go, and in format 2.2 fixed-width
    columns get the hint not to be compressed: they are meant to be read at the speed of memory.
    """
    plain = user_schema(pa.schema([field.with_type(_storable(field.type)) for field in schema], schema.metadata))
    if file_version(plain) == "2.0":
        return plain
    fields = [
        field.with_metadata({**(field.metadata or {}), **_PLAIN}) if is_fixed_width(field.type) else field
        for field in plain
    ]
    return pa.schema(fields, plain.metadata)


def _storable(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_binary_view(type_):
        return pa.large_binary()
    if isinstance(type_, pa.BaseExtensionType):
        return type_
    if pa.types.is_dictionary(type_):
        # Whether it is ordered gets lost in any case; so the version's schema says what will be read.
        return pa.dictionary(type_.index_type, _storable(type_.value_type))
    return _with_children(type_, lambda field: field.with_type(_storable(field.type)))


def user_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema as users see it: without Lance's hints, and its metadata in sorted order.

    The order matters to the content hash: Lance returns metadata in another order in every process.
    """
    return pa.schema([_clean(field) for field in schema], _sorted(schema.metadata))


def _clean(field: pa.Field) -> pa.Field:
    type_ = field.type if isinstance(field.type, pa.BaseExtensionType) else _with_children(field.type, _clean)
    return pa.field(field.name, type_, field.nullable, _sorted(field.metadata))


def _sorted(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    kept = {key: value for key, value in sorted((metadata or {}).items()) if not key.startswith(_PREFIX)}
    return kept or None


def _with_children(type_: Any, change: Callable[[pa.Field], pa.Field]) -> pa.DataType:
    if pa.types.is_struct(type_):
        return pa.struct([change(child) for child in type_])
    if pa.types.is_map(type_):
        return pa.map_(change(type_.key_field), change(type_.item_field), keys_sorted=type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(change(type_.value_field), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(change(type_.value_field))
    if pa.types.is_list(type_):
        return pa.list_(change(type_.value_field))
    return type_
