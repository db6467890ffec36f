"""The storage reader: any version of a model as a checkpoint, of which each rank takes its shards from shared memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from alluxio_lance.client.models.mapped import FILES, TENSORS, MappedModel
from alluxio_lance.errors import Conflict, Corrupt, InvalidArgument
from alluxio_lance.frameworks.torch.models.distributed.shares import box_of
from alluxio_lance.frameworks.torch.models.distributed.values import decoded
from alluxio_lance.frameworks.torch.models.distributed.writer import KEY, AlluxioStorageWriter
from alluxio_lance.frameworks.torch.models.loading import state_of
from alluxio_lance.manager import OnProgress

__all__ = ["AlluxioStorageReader"]


class AlluxioStorageReader(StorageReader):
    """Loads a version of a model as a checkpoint: ``dcp.load(state, storage_reader=AlluxioStorageReader(uri))``.

    The tensors are mapped from the memory of the node's sidecar, which has them once for all ranks of the node; each rank
    copies what its shards need. Versions that `save_model` made can be loaded, too: their names are those of the state
    dict that was saved.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, with a selector behind ``@`` for another version than the active one; the
        ``checkpoint_id`` of a load takes its place. All ranks must find the same version.
    verify
        Compare the bytes with the hashes in the version's manifest first, which reads all of them.
    address, timeout, wait, on_progress
        As in `load_model`.

    Raises
    ------
    NotFound, NotActive, Restoring, Unavailable, NoSpace, Corrupt
        In ``dcp.load``, as of `load_model`.
    Conflict
        In ``dcp.load``, when another version became active while the ranks opened it: load again, or name the version.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        verify: bool = False,
        address: str | None = None,
        timeout: float = 10.0,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._uri = uri
        self._verify = verify
        self._address = address
        self._timeout = timeout
        self._wait = wait
        self._on_progress = on_progress
        self._version = ""
        self._tensors: Mapping[str, torch.Tensor] = {}
        self._values: Mapping[str, Any] = {}

    # -- what torch calls, in this order -----------------------------------------------------------------------------

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Begin a load."""
        if checkpoint_id is not None:
            self._uri = str(checkpoint_id)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Map the version, and tell what it has: each tensor as one chunk."""
        if self._uri is None:
            raise InvalidArgument("there is no URI to load from: give one to the reader, or as checkpoint_id")
        with MappedModel.open(
            self._uri,
            (TENSORS, FILES) if self._verify else (TENSORS,),
            self._address,
            timeout=self._timeout,
            wait=self._wait,
            on_progress=self._on_progress,
            populate=False,
        ) as model:
            self._version = f"{model.layout.uri} {model.layout.content_hash}"
            self._tensors = state_of(model, verify=self._verify, on_progress=self._on_progress)
            noted = model.notes.extra.get(KEY, {})
        self._values, paths = _parts(noted, self._uri)
        described = {name: _described(tensor) for name, tensor in self._tensors.items()}
        return Metadata(
            state_dict_metadata={**described, **{name: BytesStorageMetadata() for name in self._values}},
            planner_data=paths or None,
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Do nothing: it is mapped."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Tell the coordinator which version this rank has."""
        plan.storage_data = self._version
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Make sure that all ranks have the same version; on the coordinator alone."""
        found = sorted({plan.storage_data for plan in plans})
        if len(found) > 1:
            raise Conflict(
                f"the ranks opened different versions ({', '.join(found)}): another one became active meanwhile - load again, "
                f"or name one of them"
            )
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy what this rank needs."""
        for item in plan.items:
            name = item.storage_index.fqn
            if item.type is LoadItemType.BYTE_IO:
                planner.load_bytes(item, _pickled(decoded(name, self._values[name])))
            else:
                target = planner.resolve_tensor(item).detach()
                target.copy_(box_of(self._tensors[name], item.storage_offsets, item.lengths))
                planner.commit_tensor(item, target)
        # The memory of the version stays no longer than it is read.
        self._tensors = {}
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        """Tell whether it is the URI of a resource."""
        return AlluxioStorageWriter.validate_checkpoint_id(checkpoint_id)


def _parts(noted: Any, uri: str) -> tuple[Mapping[str, Any], dict[str, tuple[Any, ...]]]:
    try:
        return dict(noted.get("values", {})), {name: tuple(path) for name, path in noted.get("paths", {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise Corrupt(f"the notes of {uri} say of the checkpoint what no release has written - roll back") from error


def _described(tensor: torch.Tensor) -> TensorStorageMetadata:
    whole = ChunkStorageMetadata(torch.Size([0] * tensor.dim()), tensor.shape)
    return TensorStorageMetadata(TensorProperties(dtype=tensor.dtype), tensor.shape, [whole])


def _pickled(value: Any) -> io.BytesIO:
    """Give a planner what it expects: it unpickles at once what was pickled here, of plain types."""
    data = io.BytesIO()
    torch.save(value, data)
    data.seek(0)
    return data
