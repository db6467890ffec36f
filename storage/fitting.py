"""Whether incoming data fit a table, said column by column, and the lossless conversion of those that do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument

__all__ = ["check_columns", "fit", "fit_batches"]

_STRINGS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARIES: Final = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_DEEPEST: Final = 64
_LONGEST_TYPE: Final = 200
_LISTS: Final = (pa.types.is_list, pa.types.is_large_list)


def check_columns(schema: pa.Schema, description: str) -> None:
    """Refuse a schema that no table can have.

    Raises
    ------
    InvalidArgument
        When there is no column, two have the same name, or a name or type is not possible in Lance.
    """
    where = description or "the data"
    if not len(schema):
        raise InvalidArgument(f"{where} has no columns")
    for name, following in pairwise(sorted(schema.names)):
        if name == following:
            raise InvalidArgument(f"{where} has two columns with the name {name!r}: rename one")
    for field in schema:
        if not field.name or "." in field.name or "`" in field.name:
            raise InvalidArgument(f"{where} has a column {field.name!r}: names are not empty and have no '.' or '`'")
        if fault := _field_fault(field):
            kind = str(field.type)
            kind = kind if len(kind) <= _LONGEST_TYPE else f"{kind[:_LONGEST_TYPE]} ..."
            raise InvalidArgument(f"{where} has a column {field.name!r} ({kind}) that cannot be kept: {fault}")
    if not _is_text(schema.metadata):
        raise InvalidArgument(f"{where} has metadata in its schema that are no UTF-8: remove or encode them")


def _field_fault(field: pa.Field, depth: int = 0) -> str | None:
    """Say why a field cannot be stored and read again; Lance finds out too late, or not at all."""
    if "\0" in field.name:
        return "a name has no NUL character"
    if not _is_text(field.metadata):
        return "its metadata are no UTF-8: remove or encode them"
    return _type_fault(field.type, depth)


def _type_fault(type_: Any, depth: int) -> str | None:
    if depth > _DEEPEST:
        return f"it is nested more than {_DEEPEST} times"
    if isinstance(type_, pa.BaseExtensionType):
        return _type_fault(type_.storage_type, depth)
    if pa.types.is_fixed_size_binary(type_) and not type_.byte_width:
        return "binary of width 0 has nothing to keep"
    if pa.types.is_fixed_size_list(type_) and not type_.list_size:
        return "lists of size 0 have nothing to keep"
    if pa.types.is_fixed_size_list(type_) and _is_variable(type_.value_type):
        return f"lists of a fixed size cannot hold {type_.value_type}: use lists of any size"
    if pa.types.is_struct(type_):
        names = [child.name for child in type_]
        if len(set(names)) < max(len(names), 1):
            return "a struct needs fields, each with a name of its own"
    if pa.types.is_nested(type_):
        faults = (_field_fault(type_.field(number), depth + 1) for number in range(type_.num_fields))
        return next(filter(None, faults), None)
    return None


def _is_variable(type_: Any) -> bool:
    """Tell whether Lance has no fixed width for a type: it writes fixed-size lists of them, but cannot read them."""
    kinds = (*_STRINGS, *_BINARIES, *_LISTS, pa.types.is_map, pa.types.is_struct, pa.types.is_dictionary)
    return any(kind(type_) for kind in kinds)


def _is_text(metadata: Mapping[bytes, bytes] | None) -> bool:
    try:
        for key, value in (metadata or {}).items():
            key.decode()
            value.decode()
    except UnicodeDecodeError:
        return False
    return True


def fit(source: pa.Schema, table: pa.Schema, description: str) -> pa.Schema:
    """Return the part of the table's schema that the source fills, in the table's order.

    Missing columns may be left out where null is allowed. Types have to be equal, or convertible without any loss.

    Raises
    ------
    InvalidArgument
        Naming every column that is missing, too many, or of another type.
    """
    faults: list[str] = []
    for field in table:
        index = source.get_field_index(field.name)
        if index < 0:
            if not field.nullable:
                faults.append(f"column {field.name!r} ({field.type}) is missing and may not be null")
        elif not _accepts(field.type, source.field(index).type):
            faults.append(f"column {field.name!r} is {source.field(index).type} here and {field.type} in the table")
    known, given = set(table.names), set(source.names)
    faults += [f"column {name!r} is not in the table" for name in source.names if name not in known]
    if faults:
        raise InvalidArgument(
            f"{description or 'the data'} does not fit the table: {'; '.join(faults)}. "
            "Convert the data, or overwrite the table to change its schema",
            faults=faults,
        )
    return pa.schema([field for field in table if field.name in given], table.metadata)


def fit_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, description: str) -> Iterator[pa.RecordBatch]:
    """Bring batches into the order and types of ``schema``, which came from `fit`; equal columns are not copied.

    Raises
    ------
    InvalidArgument
        When a value cannot be converted, or is null where none may be.
    """
    for batch in batches:
        columns = [_column(batch, field, description) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field, description: str) -> pa.Array:
    array = batch.column(field.name)
    where = f"column {field.name!r} of {description or 'the data'}"
    if not field.nullable and (array.null_count or _refers_to_null(array)):
        raise InvalidArgument(f"{where} has a null and is declared without nulls")
    if array.type == field.type:
        return array
    try:
        return _convert(array, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InvalidArgument(f"{where} cannot be converted to {field.type}: {error}") from error


def _refers_to_null(array: pa.Array) -> bool:
    """Tell whether a dictionary has a null among its values that is used; the array's own count does not know."""
    if not pa.types.is_dictionary(array.type) or not array.dictionary.null_count:
        return False
    return bool(array.dictionary_decode().null_count)


def _convert(array: pa.Array, type_: pa.DataType) -> pa.Array:
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, _convert(array, type_.storage_type))
    if isinstance(array.type, pa.BaseExtensionType):
        return _convert(array.storage, type_)
    return array if array.type == type_ else array.cast(type_)


def _accepts(table: Any, source: Any) -> bool:
    if table == source or pa.types.is_null(source):
        return True
    if pa.types.is_dictionary(table) and pa.types.is_dictionary(source):
        # Lance does not keep whether a dictionary is ordered.
        return bool(table.index_type == source.index_type and table.value_type == source.value_type)
    if isinstance(table, pa.BaseExtensionType) or isinstance(source, pa.BaseExtensionType):
        return _accepts_extension(table, source)
    if pa.types.is_dictionary(source) and not pa.types.is_dictionary(table):
        return _accepts(table, source.value_type)
    if pa.types.is_integer(table) and pa.types.is_integer(source):
        return _holds_integer(table, source)
    if pa.types.is_floating(table) and pa.types.is_floating(source):
        return bool(source.bit_width <= table.bit_width)
    if _both(_STRINGS, table, source) or _both(_BINARIES, table, source):
        return True
    if _both(_LISTS, table, source):
        return _accepts(table.value_type, source.value_type)
    if pa.types.is_fixed_size_list(table) and pa.types.is_fixed_size_list(source):
        return table.list_size == source.list_size and _accepts(table.value_type, source.value_type)
    if pa.types.is_struct(table) and pa.types.is_struct(source):
        return [f.name for f in table] == [f.name for f in source] and all(
            _accepts(mine.type, theirs.type) for mine, theirs in zip(table, source, strict=True)
        )
    return False


def _accepts_extension(table: Any, source: Any) -> bool:
    """An extension fits its own storage both ways, but never another extension."""
    if isinstance(table, pa.BaseExtensionType) and isinstance(source, pa.BaseExtensionType):
        return False
    return _accepts(getattr(table, "storage_type", table), getattr(source, "storage_type", source))


def _holds_integer(table: pa.DataType, source: pa.DataType) -> bool:
    mine, theirs = pa.types.is_signed_integer(table), pa.types.is_signed_integer(source)
    if mine == theirs:
        return bool(source.bit_width <= table.bit_width)
    return bool(mine and source.bit_width < table.bit_width)


def _both(kinds: tuple[Callable[[Any], bool], ...], table: Any, source: Any) -> bool:
    return any(kind(table) for kind in kinds) and any(kind(source) for kind in kinds)
