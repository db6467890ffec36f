"""The keys of an upsert: which columns they are, and that each is there once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from alluxio_lance.errors import InvalidArgument

__all__ = ["Keys"]


class Keys:
    """Key columns, collected while the rows pass by; only they are held in memory."""

    def __init__(self, source: pa.Schema, table: pa.Schema, on: Sequence[str], description: str) -> None:
        self._where = description or "the data"
        self.names = _names(on)
        for where, schema in (("the table", table), (self._where, source)):
            for name in self.names:
                if name not in schema.names:
                    raise InvalidArgument(
                        f"the key column {name!r} is not in {where}, which has {', '.join(schema.names)}"
                    )
        for name in self.names:
            _check_type(name, table.field(name).type)
        self._schema = pa.schema([table.field(name) for name in self.names])
        self._seen: list[pa.RecordBatch] = []

    def tap(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on, and keep a copy of their keys: a slice would hold the whole buffer."""
        for batch in batches:
            keys = pa.RecordBatch.from_arrays([batch.column(name) for name in self.names], schema=self._schema)
            self._seen.append(pa.concat_batches([keys, keys.slice(0, 0)]))
            yield batch

    def checked(self) -> pa.Table:
        """Return all keys.

        Raises
        ------
        InvalidArgument
            When a key is null, or is there more than once.
        """
        keys = pa.Table.from_batches(self._seen, self._schema)
        for name in self.names:
            if keys.column(name).null_count:
                raise InvalidArgument(f"the key column {name!r} of {self._where} has a null, which matches no row")
        counts = keys.group_by(self.names).aggregate([([], "count_all")])
        twice = counts.filter(pc.greater(counts.column("count_all"), 1))
        if twice.num_rows:
            example = ", ".join(f"{name}={twice.column(name)[0].as_py()!r}" for name in self.names)
            raise InvalidArgument(
                f"{self._where} has {twice.num_rows} keys more than once, such as {example}: keep one row of each",
                duplicates=twice.num_rows,
            )
        return keys


def _names(on: Sequence[str]) -> list[str]:
    names = [on] if isinstance(on, str) else list(dict.fromkeys(on))
    if not names:
        raise InvalidArgument("an upsert needs key columns: give on='id' or on=['a', 'b']")
    return names


def _check_type(name: str, type_: pa.DataType) -> None:
    if pa.types.is_nested(type_) or isinstance(type_, pa.BaseExtensionType) or pa.types.is_dictionary(type_):
        raise InvalidArgument(f"column {name!r} is {type_}: keys are numbers, strings, binary, dates or booleans")
