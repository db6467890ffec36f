"""A state dict into a module: its parameters become the given tensors, and what was one parameter stays one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from alluxio_lance.errors import InvalidArgument

__all__ = ["assign"]

_SHOWN = 5


def assign(module: nn.Module, tensors: Mapping[str, torch.Tensor], uri: str, *, strict: bool, partial: bool) -> None:
    """Give a module these tensors as its parameters and buffers, on whichever device they are.

    Parameters that the module shares between several places stay shared, also when only one of their names has a tensor.

    Parameters
    ----------
    strict
        Refuse names that only one side has.
    partial
        The tensors were chosen from more: what the module has besides stays as it is.

    Raises
    ------
    InvalidArgument
        When names or shapes do not fit, or what the module has once differs between its names. With other shapes or
        numbers nothing was assigned.
    """
    shared = list(_shared(module))
    given = dict(tensors)
    for names in shared:
        if found := next((name for name in names if name in given), None):
            for name in names:
                if not _same(given.setdefault(name, given[found]), given[found]):
                    raise InvalidArgument(
                        f"{uri} does not fit into {type(module).__name__}: {found} and {name} are one parameter of the "
                        "module, and have different numbers - untie them, or leave one out with tensors="
                    )
    _check_shapes(module, given, uri)
    try:
        keys = module.load_state_dict(given, strict=False, assign=True)
    except RuntimeError as error:
        # Its lines as one sentence.
        reason = " ".join(str(error).split())
        raise InvalidArgument(f"{uri} does not fit into {type(module).__name__}: {reason}") from error
    _tie_again(module, shared)
    if strict:
        _check_names(module, uri, [] if partial else keys.missing_keys, keys.unexpected_keys)
    _warn_of_meta(module, uri)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same bits; those that are tied in the version are one tensor."""
    if one is other:
        return True
    if (one.dtype, one.shape, one.is_quantized) != (other.dtype, other.shape, False):
        return False
    first, second = (each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(first, second)


def _places(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, torch.Tensor]]:
    for prefix, inner in module.named_modules(remove_duplicate=False):
        for name, tensor in (*inner._parameters.items(), *inner._buffers.items()):  # noqa: SLF001 - the public iterators hide the module that has it
            if tensor is not None:
                yield f"{prefix}.{name}" if prefix else name, inner, name, tensor


def _shared(module: nn.Module) -> Iterator[list[str]]:
    """Yield the names of each parameter or buffer that has more than one."""
    groups: dict[int, list[str]] = {}
    for path, _, _, tensor in _places(module):
        groups.setdefault(id(tensor), []).append(path)
    yield from (names for names in groups.values() if len(names) > 1)


def _tie_again(module: nn.Module, shared: Sequence[Sequence[str]]) -> None:
    # torch made a parameter of each name: the same memory, yet an optimizer would step twice.
    now = {path: (inner, name, tensor) for path, inner, name, tensor in _places(module)}
    for first, *others in shared:
        tensor = now[first][2]
        for other in others:
            inner, name, _ = now[other]
            setattr(inner, name, tensor)


def _check_shapes(module: nn.Module, given: Mapping[str, torch.Tensor], uri: str) -> None:
    faults = [
        f"{path} is {list(given[path].shape)} and {list(tensor.shape)} in the module"
        for path, _, _, tensor in _places(module)
        if path in given and not nn.parameter.is_lazy(tensor) and not _fits(given[path], tensor)
    ]
    if faults:
        raise InvalidArgument(
            f"{uri} does not fit into {type(module).__name__}: {'; '.join(faults[:_SHOWN])}{_more(faults)}"
        )


def _fits(given: torch.Tensor, own: torch.Tensor) -> bool:
    # torch takes one number for none: very old checkpoints have it.
    return given.shape == own.shape or (own.dim() == 0 and given.shape == (1,))


def _check_names(module: nn.Module, uri: str, missing: Sequence[str], unexpected: Sequence[str]) -> None:
    faults = [
        f"{what} {', '.join(names[:_SHOWN])}{_more(names)}"
        for what, names in (("it lacks", missing), ("the module has no place for", unexpected))
        if names
    ]
    if faults:
        raise InvalidArgument(
            f"{uri} does not fit into {type(module).__name__}: {'; '.join(faults)} - strict=False takes what fits"
        )


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""


def _warn_of_meta(module: nn.Module, uri: str) -> None:
    empty = [path for path, _, _, tensor in _places(module) if tensor.is_meta]
    if empty:
        warnings.warn(
            f"{', '.join(empty[:_SHOWN])}{_more(empty)} of {type(module).__name__} are still on the meta device: {uri} does "
            "not have them, so compute them before the module is used",
            stacklevel=4,
        )
