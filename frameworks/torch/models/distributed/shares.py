"""What each rank has of a checkpoint, and how its tensors are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument
from alluxio_lance.frameworks.torch.models.distributed.values import encoded
from alluxio_lance.frameworks.torch.models.elements import bytes_of, described
from alluxio_lance.weights.rows import Tensor

__all__ = ["Chunk", "Fetch", "Share", "Whole", "box_of", "bytes_in", "share_of", "wholes"]

Fetch = Callable[[int, int, str], torch.Tensor]
"""From a rank, the number of one of its chunks and a title for messages to bytes: uint8, one dimension."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A box of a tensor that one rank has."""

    number: int
    """Of the item in the rank's plan."""
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    """Of the whole tensor."""
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank gives."""

    chunks: Sequence[Chunk] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    """By name, as `encoded` writes them."""
    paths: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """By name, the keys under which an entry lies in the nested state dict."""
    fault: str = ""
    """Why this rank cannot save; empty when it can."""


def share_of(plan: SavePlan, planner: SavePlanner) -> tuple[Share, Exception | None]:
    """Find what this rank has; with an error the share tells the others that nothing can be saved, who wait for it."""
    chunks: list[Chunk] = []
    values: dict[str, Any] = {}
    try:
        for number, item in enumerate(plan.items):
            if item.type is WriteItemType.BYTE_IO:
                values[item.index.fqn] = encoded(item.index.fqn, _object(item, planner))
            else:
                chunks.append(_chunk(number, item))
    except Exception as error:  # noqa: BLE001 - the planner's code may raise anything; the caller raises it
        return Share(fault=error.message if isinstance(error, AlluxioLanceError) else repr(error)), error
    return Share(chunks, values, {name: list(path) for name, path in (plan.planner_data or {}).items()}), None


def _object(item: WriteItem, planner: SavePlanner) -> Any:
    """Give what the planner has pickled back, if it is of plain types: its pickle goes nowhere."""
    pickled = planner.resolve_data(item)
    if isinstance(pickled, torch.Tensor):
        raise InvalidArgument(f"entry {item.index.fqn!r} is a tensor and planned as bytes: use another planner")
    pickled.seek(0)
    try:
        return torch.load(pickled, weights_only=True)
    except Exception as error:
        raise InvalidArgument(
            f"entry {item.index.fqn!r} is of a type that only a pickle could hold, and nothing is pickled: leave it out, or "
            f"make it of numbers, texts, lists, tuples and dicts ({str(error).partition('. ')[0][:200]})"
        ) from error


def _chunk(number: int, item: WriteItem) -> Chunk:
    data = item.tensor_data
    if data is None:
        raise InvalidArgument(f"the plan does not say what tensor {item.index.fqn!r} is: use another planner")
    return Chunk(
        number,
        item.index.fqn,
        data.properties.dtype,
        tuple(data.size),
        tuple(data.chunk.offsets),
        tuple(data.chunk.sizes),
    )


def box_of(tensor: torch.Tensor, offsets: Sequence[int], sizes: Sequence[int]) -> torch.Tensor:
    """Look at a box of a tensor."""
    for dim, (start, size) in enumerate(zip(offsets, sizes, strict=True)):
        tensor = tensor.narrow(dim, start, size)
    return tensor


def bytes_in(plan: SavePlan, planner: SavePlanner, number: int) -> torch.Tensor:
    """Read a chunk of this rank: uint8, one dimension; from a device, too."""
    found = planner.resolve_data(plan.items[number])
    assert isinstance(found, torch.Tensor), "planned as a chunk"
    return (
        torch.frombuffer(data, dtype=torch.uint8) if len(data := bytes_of(found)) else torch.empty(0, dtype=torch.uint8)
    )


@dataclass(frozen=True, slots=True)
class Whole:
    """A tensor, and which rank has which box of it."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    boxes: Sequence[tuple[int, Chunk]]

    def on_its_way(self, fetch: Fetch) -> tuple[Tensor, str | None]:
        """Describe it for the store; it is fetched when it is its turn. The second is what ``Notes.views`` says of it."""
        spec, view = described(self.name, torch.empty(self.shape, dtype=self.dtype, device="meta"))
        return Tensor(spec, partial(self._bytes, fetch)), view

    def _bytes(self, fetch: Fetch) -> memoryview:
        if len(self.boxes) == 1 and self.boxes[0][1].sizes == self.shape:
            rank, chunk = self.boxes[0]
            return bytes_of(self._fetched(fetch, rank, chunk))
        whole = torch.empty(self.shape, dtype=self.dtype)
        for rank, chunk in self.boxes:
            box_of(whole, chunk.offsets, chunk.sizes).copy_(self._fetched(fetch, rank, chunk))
        return bytes_of(whole)

    def _fetched(self, fetch: Fetch, rank: int, chunk: Chunk) -> torch.Tensor:
        title = f"tensor {self.name!r} from {list(chunk.offsets)} on"
        data = fetch(rank, chunk.number, title)
        wanted = torch.empty(chunk.sizes, dtype=self.dtype, device="meta").nbytes
        if data.numel() != wanted:
            raise InvalidArgument(f"rank {rank} has {data.numel()} bytes for {title}, where its plan has {wanted}")
        return data.view(self.dtype).reshape(chunk.sizes) if wanted else torch.empty(chunk.sizes, dtype=self.dtype)


def wholes(shares: Sequence[Share]) -> Iterator[Whole]:
    """Put the chunks of all ranks together, in the order in which the first of each comes.

    Raises
    ------
    InvalidArgument
        When ranks do not agree on what a tensor is, or its chunks are not all of it.
    """
    found: dict[str, list[tuple[int, Chunk]]] = {}
    for rank, share in enumerate(shares):
        for chunk in share.chunks:
            found.setdefault(chunk.name, []).append((rank, chunk))
    for name, boxes in found.items():
        _, first = boxes[0]
        forms = {(chunk.dtype, chunk.shape) for _, chunk in boxes}
        if len(forms) > 1:
            raise InvalidArgument(f"the ranks do not agree on what tensor {name!r} is: {sorted(map(str, forms))}")
        elements = sum(torch.Size(chunk.sizes).numel() for _, chunk in boxes)
        if elements != torch.Size(first.shape).numel():
            raise InvalidArgument(
                f"the chunks of tensor {name!r} have {elements} of its {torch.Size(first.shape).numel()} numbers: save it from "
                "all ranks that have a part of it"
            )
        yield Whole(name, first.dtype, first.shape, boxes)
