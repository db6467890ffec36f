"""The version behind an iterable dataset: wholly in memory, or in windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.epochs.cursor import Cursor, resident_cursor, streamed_cursor
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.filling import prepare_fill
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument, NoSpace
from alluxio_lance.frameworks.torch.decoding import Decode, decoders
from alluxio_lance.frameworks.torch.iterable_ranks import Opened
from alluxio_lance.layout import Layout
from alluxio_lance.manager import OnProgress

__all__ = ["Request", "Source"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a dataset was asked to read."""

    uri: str
    columns: Sequence[str] | None
    address: str | None
    fill_null: Mapping[str, Any] | None
    decode: Decode | None
    stream: bool | None
    window_units: int | None
    filter: str | None = None


class Source:
    """An open version, and which of its rows are read; picklable."""

    def __init__(self, opened: Table | StreamedVersion, plan: Opened, chosen: Chosen | None) -> None:
        self._opened = opened
        self.plan = plan
        self.chosen = chosen

    @classmethod
    def open(cls, request: Request, *, wait: bool, on_progress: OnProgress | None) -> tuple[Source, Opened]:
        """Open it as asked; where that is left open, in memory if it fits, else in windows."""
        arguments = (request.uri, request.columns, request.address)
        if request.stream is not True and request.window_units is None:
            try:
                table = Table.open(*arguments, wait=wait, on_progress=on_progress)
            except NoSpace:
                if request.stream is False:
                    raise
            else:
                return cls._chosen(request, table, max(table.rows, 1), 1)
        if request.stream is False:
            raise InvalidArgument("window_units says how to stream a version, and stream=False not to - give only one")
        streamed = StreamedVersion.open(*arguments, wait=wait, on_progress=on_progress)
        units = request.window_units or streamed.window_units
        return cls._chosen(request, streamed, max(streamed.unit_rows, 1), units)

    @classmethod
    def _chosen(
        cls, request: Request, opened: Table | StreamedVersion, unit_rows: int, window_units: int
    ) -> tuple[Source, Opened]:
        """Have the filter evaluated on exactly what was opened, and everything else looked at that it must fit."""
        try:
            columns = opened.columns
            prepare_fill(request.fill_null, columns)
            decoders(request.decode, columns, opened.layout.uri)
            chosen = None if request.filter is None else Chosen.of(opened, request.filter)
        except BaseException:
            opened.close()
            raise
        layout, whole = opened.layout, isinstance(opened, Table)
        uri = f"alluxio://{layout.type}/{layout.name}@{layout.semver}"
        plan = Opened(uri, layout.content_hash, unit_rows, window_units, whole, request.filter)
        return cls(opened, plan, chosen), plan

    @property
    def whole(self) -> bool:
        """Whether all of it is in memory."""
        return isinstance(self._opened, Table)

    @property
    def layout(self) -> Layout:
        """Names of everything."""
        return self._opened.layout

    @property
    def rows(self) -> int:
        """The number of rows of the version."""
        return self._opened.layout.num_rows

    @property
    def places(self) -> int:
        """The number of rows that an epoch has."""
        return self.rows if self.chosen is None else len(self.chosen)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns, as they were registered."""
        return self._opened.schema

    def check_plan(self, unit_rows: int, window_units: int) -> None:
        """Make sure that an order of such windows can be read.

        Raises
        ------
        InvalidArgument
            When it needs everything in memory, or other units.
        """
        single = unit_rows >= self.rows and self.plan.unit_rows >= self.rows
        if self.whole or single or unit_rows == self.plan.unit_rows:
            return
        raise InvalidArgument(
            f"the state was taken with all of {self.layout.uri} in memory, where the order has no windows, and here it is "
            "streamed - resume where it fits into the budget, or begin with the next epoch"
        )

    def cursor(self, plan: EpochPlan, *, patience: float | None) -> Cursor:
        """Begin to read an epoch."""
        if isinstance(self._opened, Table):
            return resident_cursor(plan, self._opened)
        return streamed_cursor(plan, self._opened, patience=patience)

    def close(self) -> None:
        """Give the version back; a second call does nothing."""
        self._opened.close()
