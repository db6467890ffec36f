"""load_model: a version's tensors as a state dict on the node's shared memory, or as the parameters of a module."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, overload

import torch
from torch import nn

from alluxio_lance.client.models.mapped import FILES, TENSORS, MappedModel
from alluxio_lance.client.models.patterns import matching
from alluxio_lance.client.models.verifying import check_bytes
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.models.assigning import assign
from alluxio_lance.frameworks.torch.models.elements import tensor_of
from alluxio_lance.frameworks.torch.models.quantizing import quantized_of
from alluxio_lance.frameworks.torch.models.sharding import Shard, read_shard
from alluxio_lance.frameworks.torch.models.staging import mover, on_cpu
from alluxio_lance.manager import OnProgress
from alluxio_lance.weights.header import TensorSpec

__all__ = ["load_model", "state_of"]

Module = TypeVar("Module", bound=nn.Module)
Dims = tuple[int, int] | tuple[int, int, Mapping[str, int]]


@overload
def load_model(
    uri: str,
    *,
    into: None = None,
    strict: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | int | None = None,
    tensors: Sequence[str] | None = None,
    shard: Dims | None = None,
    verify: bool = False,
    writable: bool = True,
    address: str | None = None,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, torch.Tensor]: ...


@overload
def load_model(
    uri: str,
    *,
    into: Module,
    strict: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | int | None = None,
    tensors: Sequence[str] | None = None,
    shard: Dims | None = None,
    verify: bool = False,
    writable: bool = True,
    address: str | None = None,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> Module: ...


def load_model(
    uri: str,
    *,
    into: nn.Module | None = None,
    strict: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | int | None = None,
    tensors: Sequence[str] | None = None,
    shard: Dims | None = None,
    verify: bool = False,
    writable: bool = True,
    address: str | None = None,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, torch.Tensor] | nn.Module:
    """Load a model from the memory that all processes of the node share.

    On the CPU no byte is copied: the tensors are mapped copy on write. They may be written into, and what is written
    stays in this process. They stay valid for as long as they live, whatever becomes of the sidecar and of the version.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, with a selector behind ``@`` for another version than the active one.
    into
        A module that gets the tensors as its parameters and buffers (``load_state_dict(assign=True)``), also one that
        was made on the meta device. What it shares between several places stays shared.
    strict
        With ``into``: refuse names that only one side has. With ``tensors``, the module may have more.
    dtype
        Convert floating tensors of 16 bits and more to this; all others stay as they are. Those that have it already are
        not copied.
    device
        Where to: to CUDA through pinned buffers.
    tensors
        Patterns of names, ``["encoder.*"]``: only these, and only their memory is touched.
    shard
        ``(rank, world)``: the rank's slice along the first dimension of every tensor; ``(rank, world, {pattern: dim})``:
        along these dimensions of the tensors that match, the first pattern counts, and all of the others. Slices are as
        of ``torch.distributed.tensor.Shard``. Only the slice is read.
    verify
        Compare the bytes with the SHA-256 hashes in the version's manifest first; this reads all that is loaded, and
        the files.
    writable
        The tensors will be written into. This matters on memory of reserved huge pages alone, where each first write into
        2 MiB takes another huge page: as many are claimed, and a warning tells when there are too few. Off, none is claimed.
    address
        The sidecar: ``unix:/RUN/FOLDER/grpc.sock`` or the run folder; by default ``ALLUXIO_LANCE_ADDRESS``, then the
        usual place.
    timeout
        Seconds to wait for the sidecar to answer at all.
    wait, on_progress
        When the version is in the cold tier: wait until it is back, and tell.

    Returns
    -------
    dict of str to torch.Tensor, or the module
        A state dict, in which names that were tied have the same tensor again; with ``into`` that module.

    Raises
    ------
    InvalidArgument
        When it is a dataset, or does not fit into the module.
    NotFound, NotActive, Restoring, Unavailable, NoSpace
        When there is no such version, or no tensor that a pattern matches, or it cannot be served.
    Corrupt
        With ``verify``, when bytes are not what was saved.
    """
    if dtype is not None and not dtype.is_floating_point:
        raise InvalidArgument(f"dtype={dtype} is no floating type: only floating tensors are converted")
    parts = (TENSORS, FILES) if verify else (TENSORS,)
    # A part of a large model: its pages come when they are touched.
    populate = False if tensors is not None or shard is not None else None
    with MappedModel.open(
        uri,
        parts,
        address,
        timeout=timeout,
        wait=wait,
        on_progress=on_progress,
        populate=populate,
        # What goes to a device is only read here.
        reserve=writable and on_cpu(device),
    ) as model:
        if writable and on_cpu(device) and model.writes_may_fail:
            warnings.warn(
                f"{model.uri} lies on reserved huge pages, of which too few are free to write into it: a write may end this "
                "process with SIGBUS - copy what is trained (tensor.clone()), reserve more (vm.nr_hugepages), or pass "
                "writable=False when nothing is written",
                RuntimeWarning,
                stacklevel=2,
            )
        found = state_of(
            model, dtype=dtype, device=device, tensors=tensors, shard=shard, verify=verify, on_progress=on_progress
        )
    if into is None:
        return found
    assign(into, found, model.uri, strict=strict, partial=tensors is not None)
    return into


def state_of(
    model: MappedModel,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | int | None = None,
    tensors: Sequence[str] | None = None,
    shard: Dims | None = None,
    verify: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, torch.Tensor]:
    """Take a state dict from a model that is mapped already; parameters and errors as of `load_model`."""
    tied = model.notes.tied
    names = matching((*model.tensors, *tied), tensors, model.uri)
    stored = dict.fromkeys(tied.get(name, name) for name in names)
    if verify:
        check_bytes(model, None if tensors is None else stored, on_progress=on_progress)
    move = mover(device)
    made: dict[str, torch.Tensor] = {}
    for name, tensor in _loaded(model, list(stored), read_shard(shard, [*stored, *_aliases(model, stored)])):
        there = move(tensor)
        made[name] = there.to(dtype) if dtype is not None and _converts(there) else there
    return {name: made[tied.get(name, name)] for name in names}


def _loaded(model: MappedModel, names: Sequence[str], shard: Shard | None) -> Iterator[tuple[str, torch.Tensor]]:
    quantized, views, tensors = model.notes.quantized, model.notes.views, model.tensors
    for name in names:
        spec = tensors[name].spec
        data = model.data(name)
        view = views.get(name)
        tensor = (
            tensor_of(data, spec, view)
            if shard is None
            else _slice(shard, data, spec, view, [name, *_aliases(model, [name])])
        )
        yield name, quantized_of(name, tensor, quantized[name]) if name in quantized else tensor


def _aliases(model: MappedModel, stored: Container[str]) -> list[str]:
    return [alias for alias, name in model.notes.tied.items() if name in stored]


def _slice(shard: Shard, data: memoryview, spec: TensorSpec, view: str | None, names: Sequence[str]) -> torch.Tensor:
    whole = tensor_of(data, spec, view)
    dim = shard.dim_of(names, whole.shape)
    if dim is None:
        return whole
    start, stop = shard.bounds(whole.shape[dim])
    if dim or whole.shape[:1] != spec.shape[:1] or not data.nbytes:
        # A copy of the slice alone.
        return whole.narrow(dim, start, stop - start).clone(memory_format=torch.contiguous_format)
    # Over its own bytes and no others, so that saving it saves no more.
    row = data.nbytes // whole.shape[0]
    return tensor_of(data[start * row : stop * row], replace(spec, shape=(stop - start, *spec.shape[1:])), view)


def _converts(tensor: torch.Tensor) -> bool:
    # Smaller floats mean something only together with scales, and the module that has these wants them as they are.
    return tensor.is_floating_point() and tensor.dtype.itemsize > 1
