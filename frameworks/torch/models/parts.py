"""A state dict as the parts of a model: what shares memory is stored once, each tensor is read when it is its turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.models.elements import bytes_of, described
from alluxio_lance.frameworks.torch.models.quantizing import integers_of
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import Notes, Tensor

__all__ = ["parts_of"]


def parts_of(state: Mapping[str, Any]) -> Parts:
    """Make the tensors and notes of a state dict. No bytes are read yet, but for the integers of quantized tensors.

    Tensors that are the same memory in the same form are tied: the first name has the bytes. Views that overlap in
    another way are stored apart, each with all of its numbers.

    Raises
    ------
    InvalidArgument
        When an entry is no tensor that can be stored; the message names it.
    """
    tensors: list[Tensor] = []
    tied: dict[str, str] = {}
    views: dict[str, str] = {}
    quantized: dict[str, dict[str, Any]] = {}
    first: dict[Any, str] = {}
    for name, value in state.items():
        tensor = _checked(name, value)
        if (found := first.setdefault(_identity(name, tensor), name)) != name:
            tied[name] = found
            continue
        if tensor.is_quantized:
            tensor, quantized[name] = integers_of(name, tensor)
        spec, view = described(name, tensor)
        if view is not None:
            views[name] = view
        data: Callable[[], memoryview] = partial(bytes_of, tensor)
        tensors.append(Tensor(spec, data))
    return Parts(tuple(tensors), (), Notes(tied=tied, views=views, quantized=quantized))


def _checked(name: Any, value: Any) -> torch.Tensor:
    if not isinstance(name, str):
        raise InvalidArgument(f"the state dict has the key {name!r}: the names of tensors are texts")
    if not isinstance(value, torch.Tensor):
        inner = isinstance(value, Mapping) and any(isinstance(each, torch.Tensor) for each in value.values())
        advice = (
            f"save entry[{name!r}] alone, or flatten it" if inner else "put what is no tensor into metadata or files"
        )
        raise InvalidArgument(f"entry {name!r} is a {type(value).__name__} and no tensor: {advice}")
    if value.is_nested or value.layout is not torch.strided:
        kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        raise InvalidArgument(f"tensor {name!r} is {kind}: save its parts, or a dense tensor, under names of their own")
    if value.is_meta:
        raise InvalidArgument(f"tensor {name!r} is on the meta device: it has no numbers that could be saved")
    if hasattr(value, "__tensor_flatten__"):
        raise InvalidArgument(
            f"tensor {name!r} is a {type(value).__name__}, which is more than its numbers: save a plain tensor; a sharded "
            "module is brought together by torch.distributed.checkpoint.state_dict.get_model_state_dict with the option "
            "full_state_dict"
        )
    return value


def _identity(name: str, tensor: torch.Tensor) -> Any:
    if not tensor.numel():
        return name
    return (
        tensor.device,
        tensor.data_ptr(),
        tensor.dtype,
        tensor.shape,
        tensor.stride(),
        tensor.is_conj(),
        tensor.is_neg(),
    )
