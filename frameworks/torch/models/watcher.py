"""ModelWatcher: a module that serves, with the weights of whichever version is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import torch
from torch import nn

from alluxio_lance.client.models.mapped import FILES, TENSORS, MappedModel
from alluxio_lance.client.models.watching import ModelWatcher as Watcher
from alluxio_lance.client.models.watching import OnError, OnSwap
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.models.assigning import assign
from alluxio_lance.frameworks.torch.models.loading import state_of

__all__ = ["ModelWatcher"]

Module = TypeVar("Module", bound=nn.Module)
Shard = tuple[int, int] | tuple[int, int, Mapping[str, int]]

_META: Final = torch.device("meta")
_SHOWN: Final = 5


class ModelWatcher(Watcher[Module]):
    """Serves the active version of a model as a module, and swaps it between requests when another one becomes active.

    ::

        with ModelWatcher("alluxio://models/resnet50", make_module) as watcher:
            ...
            with watcher.current() as module, torch.inference_mode():
                answer = module(question)

    Each version gets a module of its own, made on the meta device, with parameters on the node's shared memory: neither
    a load nor a second process costs another copy of the weights. It is in evaluation mode and wants no gradients. How
    requests keep their version, and what happens when a load fails, is said at
    `alluxio_lance.client.models.watching.ModelWatcher`.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector.
    make_module
        Makes a module of the right structure: called for each version, in the thread of the watcher but for the first,
        and on the meta device ahead of time.
    address, on_swap, on_error, timeout, retry
        As there.
    prepare
        Called with the module of each version before it serves, in the thread of the watcher but for the first: to compile
        it, to ask it once. What it returns serves in the module's place; the module itself where it returns None. When
        it raises, the version does not serve.
    on_meta
        Make modules on the meta device. Off for modules that compute a buffer when they are made and do not save it.
    strict, dtype, device, shard, verify
        As in `load_model`.

    Raises
    ------
    InvalidArgument
        When the URI names a version, the weights do not fit, or something of the module has no weights.
    Unavailable, NotFound, NotActive, InvalidURI, NoSpace, Corrupt
        As in `load_model`.
    Exception
        What ``prepare`` raises for the first version.
    """

    def __init__(
        self,
        uri: str,
        make_module: Callable[[], Module],
        address: str | None = None,
        on_swap: OnSwap | None = None,
        on_error: OnError | None = None,
        *,
        prepare: Callable[[Module], Module | None] | None = None,
        on_meta: bool = True,
        strict: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | int | None = None,
        shard: Shard | None = None,
        verify: bool = False,
        timeout: float = 10.0,
        retry: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        if dtype is not None and not dtype.is_floating_point:
            raise InvalidArgument(f"dtype={dtype} is no floating type: only floating tensors are converted")
        self._make_module = make_module
        self._on_meta = on_meta
        self._spare: Module | None = None

        def load(mapped: MappedModel) -> Module:
            tensors = state_of(mapped, dtype=dtype, device=device, shard=shard, verify=verify)
            module, self._spare = self._spare or self._made(), None
            assign(module, tensors, mapped.uri, strict=strict, partial=False)
            _check_whole(module, mapped.uri)
            module.eval().requires_grad_(requires_grad=False)
            made = None if prepare is None else prepare(module)
            return module if made is None else made

        parts = (TENSORS, FILES) if verify else (TENSORS,)
        super().__init__(uri, load, address, on_swap, on_error, parts=parts, timeout=timeout, retry=retry)

    def _made(self) -> Module:
        if not self._on_meta:
            return self._make_module()
        # Of this thread only: requests in others make their tensors where they want.
        with _META:
            return self._make_module()

    def _rest(self) -> None:
        # To make hundreds of layers takes longer than to give them their weights; on the meta device they need no memory.
        if self._on_meta and self._spare is None:
            self._spare = self._made()


def _check_whole(module: nn.Module, uri: str) -> None:
    """Refuse a module that would fail at its first request.

    Raises
    ------
    InvalidArgument
        When something of it is still on the meta device.
    """
    named = (*module.named_parameters(), *module.named_buffers())
    if empty := [name for name, tensor in named if tensor.is_meta]:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        raise InvalidArgument(
            f"{uri} has nothing for {', '.join(empty[:_SHOWN])}{more} of {type(module).__name__}: where the module computes "
            "them itself, make it off the meta device with on_meta=False"
        )
