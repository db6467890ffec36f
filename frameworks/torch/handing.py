"""How a worker hands a batch over: its tensors lie in a slot of the arena, and only their places cross the queue.

A batch in a worker is an ordinary dict, list or tuple of a type of ours. Only the pickler of multiprocessing's queues
treats that type in a special way (`ForkingPickler.register`); ``pickle`` and ``deepcopy`` see the builtin type. Whatever of
the batch does not lie in a slot any more, since a collate function of the user's own replaced it, goes the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final, cast

import torch

from alluxio_lance.client.arena import Arena
from alluxio_lance.client.descriptors import Identity
from alluxio_lance.errors import Internal
from alluxio_lance.sidecar._shm import Slot

__all__ = ["in_slots"]

_ALIGNED: Final = 64
_COPIED: Final = 64 << 10
"""Tensors of up to so many bytes are copied out where they arrive: whoever keeps the labels keeps no images alive."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor in a slot."""

    slot: int
    offset: int
    """Bytes."""
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Handed:
    """What the containers of a batch have in common: the arena and the slots that their tensors lie in."""

    arena: Arena
    slots: list[Slot]

    def __copy__(self) -> Any:
        # The DataLoader copies the batches of a dataset that makes them itself, before it hands them over.
        builtin = next(kind for kind, ours in _OURS.items() if ours is type(self))
        return _marked(builtin(self), self.arena, self.slots)


class _Dict(dict[str, Any], _Handed):
    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class _List(list[Any], _Handed):
    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class _Tuple(tuple[Any, ...], _Handed):  # noqa: SLOT001 - what is of variable size cannot have slots beside it
    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)


_OURS: Final[dict[type, Callable[[Any], Any]]] = {dict: _Dict, list: _List, tuple: _Tuple}


def in_slots(result: Any, arena: Arena, slots: Sequence[Slot]) -> Any:
    """Mark a dict, list or tuple so that a queue sends the places of its tensors in these slots.

    Tensors that lie in none of them are moved into one more. Anything else goes the ordinary way.
    """
    if type(result) not in _OURS:
        return result
    moving = [tensor for tensor in _leaves(result) if _plain(tensor) and _place(tensor, slots) is None]
    need = sum(_rounded(tensor.nbytes) for tensor in moving)
    slot = arena.claim(need) if need else None
    if slot is None:
        return _marked(result, arena, slots)
    moved: dict[int, torch.Tensor] = {}
    offset = 0
    for tensor in moving:
        # The same tensor may be in a result twice.
        if id(tensor) not in moved:
            moved[id(tensor)] = _copied(tensor, slot, offset)
            offset += _rounded(tensor.nbytes)
    return _marked(_changed(result, lambda leaf: moved.get(id(leaf), leaf)), arena, [*slots, slot])


def _marked(result: Any, arena: Arena, slots: Sequence[Slot]) -> Any:
    marked = _OURS[type(result)](result)
    marked.arena, marked.slots = arena, list(slots)
    return marked


def _rounded(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


def _plain(value: Any) -> bool:
    """Whether it is a tensor that is nothing but numbers in memory."""
    return (
        type(value) is torch.Tensor
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and not (value.requires_grad or value.is_quantized or value.is_conj() or value.is_neg())
    )


def _copied(tensor: torch.Tensor, slot: Slot, offset: int) -> torch.Tensor:
    # As torch's own queues do, dense strides such as channels_last stay as they are.
    stride = tensor.stride() if tensor.is_contiguous() else torch.empty_like(tensor, device="meta").stride()
    there = _opened(slot, _Place(0, offset, tensor.dtype, tuple(tensor.shape), stride))
    return there.copy_(tensor)


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    _changed(value, found.append)
    return found


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Copy nested containers, with each leaf changed; named tuples stay what they are."""
    if isinstance(value, dict) and type(value) in (dict, _Dict):
        return {name: _changed(inner, change) for name, inner in value.items()}
    if isinstance(value, list) and type(value) in (list, _List):
        return [_changed(inner, change) for inner in value]
    if isinstance(value, tuple) and (type(value) in (tuple, _Tuple) or hasattr(value, "_fields")):
        inner = [_changed(part, change) for part in value]
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    return change(value)


def _place(value: Any, slots: Sequence[Slot]) -> _Place | None:
    """Say where in which slot a tensor lies; None when it lies in none, or is more than numbers in memory."""
    if not _plain(value) or value.numel() == 0:
        return None
    start = value.data_ptr()
    end = start + _extent(value.shape, value.stride(), value.itemsize)
    for number, slot in enumerate(slots):
        if slot.address <= start and end <= slot.address + len(slot):
            return _Place(number, start - slot.address, value.dtype, tuple(value.shape), value.stride())
    return None


def _extent(shape: Sequence[int], stride: Sequence[int], itemsize: int) -> int:
    """Bytes from the first number to behind the last one."""
    return (sum((side - 1) * step for side, step in zip(shape, stride, strict=True)) + 1) * itemsize


def _opened(slot: Slot, place: _Place, copied: int = 0) -> torch.Tensor:
    """Make the tensor over its own bytes of the slot and no others, so that saving it saves no more.

    Up to ``copied`` bytes leave the slot.
    """
    if 0 in place.shape:
        return torch.empty_strided(place.shape, place.stride, dtype=place.dtype)
    items = _extent(place.shape, place.stride, 1)
    flat = torch.frombuffer(slot, dtype=place.dtype, count=items, offset=place.offset)
    if flat.nbytes <= copied:
        flat = flat.clone()
    return flat.as_strided(place.shape, place.stride)


# -- across the queue --------------------------------------------------------------------------------------------------


def _reduced(batch: Any) -> tuple[Any, ...]:
    """Give the pickler of a queue the places of the tensors, and the slots to the receiver."""
    places = _changed(batch, lambda leaf: _place(leaf, batch.slots) or leaf)
    used = {leaf.slot for leaf in _leaves(places) if isinstance(leaf, _Place)}
    # A batch that goes out a second time may be somebody else's by now: only what was copied is safe.
    if not used or any(batch.slots[number].sent for number in used):
        return cast("tuple[Any, ...]", batch.__reduce__())
    if not all(batch.slots[number].send() for number in used):
        raise Internal("a process sends a batch that another one has filled - please report it")
    tickets = [
        (slot.index, slot.ticket, len(slot)) if number in used else None for number, slot in enumerate(batch.slots)
    ]
    return _received, (batch.arena.key, tickets, places)


def _received(key: Identity, tickets: Sequence[tuple[int, int, int] | None], places: Any) -> Any:
    """Make the batch in the process that receives it."""
    arena = Arena.known(key)
    slots = [None if ticket is None else arena.receive(*ticket) for ticket in tickets]
    return _changed(places, lambda leaf: _arrived(slots, leaf) if isinstance(leaf, _Place) else leaf)


def _arrived(slots: Sequence[Slot | None], place: _Place) -> torch.Tensor:
    slot = slots[place.slot]
    assert slot is not None, "only slots that were sent have places"
    return _opened(slot, place, _COPIED)


for _kind in _OURS.values():
    ForkingPickler.register(_kind, _reduced)  # type: ignore[arg-type]  # typeshed takes the reducer for a type
