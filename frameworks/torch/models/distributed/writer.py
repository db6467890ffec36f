"""The storage writer: a checkpoint of many ranks becomes one version of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Final

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from alluxio_lance.client.models.attaching import Content, attached
from alluxio_lance.client.models.saving import save
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.models.distributed.ranks import Ranks
from alluxio_lance.frameworks.torch.models.distributed.shares import Fetch, Share, bytes_in, share_of, wholes
from alluxio_lance.manager import Bump, OnProgress
from alluxio_lance.values import Version
from alluxio_lance.weights.rows import Notes, Tensor

__all__ = ["KEY", "AlluxioStorageWriter"]

KEY: Final = "torch.distributed.checkpoint"
"""Under which the notes have what is no tensor."""
_SCHEME: Final = "alluxio://"


class AlluxioStorageWriter(StorageWriter):
    """Saves a checkpoint as a version of a model: ``dcp.save(state, storage_writer=AlluxioStorageWriter(uri))``.

    What comes of it is a model like any other, with whole tensors under their flat names (``model.layer.weight``,
    ``optim.state.layer.weight.exp_avg``): `load_model` reads it, pieces that have not changed are not written again, and
    any number of ranks may load it by `AlluxioStorageReader`.

    One rank of the group, the coordinator, writes. It asks the others for their chunks, one tensor at a time, over a
    group on gloo that the writer makes; it needs memory for one whole tensor. A device is read chunk by chunk. What is
    no tensor (the rate of learning, a number of steps) is written down as JSON; nothing is pickled. When a rank fails or
    dies no version is made.

    ``dcp.async_save`` in a thread works, too. The same object may save again and again: each time makes a version.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``; the ``checkpoint_id`` of a save takes its place.
    files, metadata, metrics, provenance, version, bump, message, activate, address, request_id, on_progress
        As in `save_model`, on the coordinator. A ``version`` or ``request_id`` is for a single save.
    process_group
        The group that is given to ``dcp.save``.

    Attributes
    ----------
    saved
        The version that the last save made, on every rank; None before, and after one that failed.

    Raises
    ------
    InvalidArgument
        In ``dcp.save``, for all ranks: when an entry cannot be saved, the message names it.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        files: Mapping[str, Content] | None = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        version: str | None = None,
        bump: Bump | None = None,
        message: str = "",
        activate: bool = True,
        address: str | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self.saved: Version | None = None
        self._uri = uri
        self._files = dict(files or {})
        self._options: dict[str, Any] = {
            "metadata": metadata,
            "metrics": metrics,
            "provenance": provenance,
            "version": version,
            "bump": bump,
            "message": message,
            "activate": activate,
            "address": address,
            "request_id": request_id,
            "on_progress": on_progress,
        }
        self._process_group = process_group
        self._alone = False
        self._coordinates = False

    # -- what torch calls, in this order -----------------------------------------------------------------------------

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Begin a save."""
        if checkpoint_id is not None:
            self._uri = str(checkpoint_id)
        self.saved = None

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Note who writes.

        Raises
        ------
        InvalidArgument
            When ranks are to save without knowing of each other, or nobody has said where to.
        """
        if not kwargs.get("use_collectives", True):
            raise InvalidArgument(
                "use_collectives=False has ranks save each by itself, which makes no model: leave it out"
            )
        if self._uri is None:
            raise InvalidArgument("there is no URI to save to: give one to the writer, or as checkpoint_id")
        # Torch tells a lone rank and the first of many apart only by the number of plans.
        self._coordinates, self._alone = is_coordinator, False

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Leave it as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Leave them as they are; on the coordinator alone."""
        self._alone = len(plans) == 1
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Save, or give the coordinator what this rank has; the version is there when it ends."""
        if self._alone:
            share, failed = share_of(plan, planner)
            if failed is None:
                self.saved = self._save([share], lambda _, number, __: bytes_in(plan, planner, number))
        else:
            # First of all: once the ranks are connected, one that dies keeps nobody waiting.
            with Ranks(self._process_group) as ranks:
                share, failed = share_of(plan, planner)
                self._together(ranks, share, partial(bytes_in, plan, planner))
        if failed is not None:
            raise failed
        done: Future[list[WriteResult]] = Future()
        done.set_result([WriteResult(item.index, item.tensor_storage_size() or 0, None) for item in plan.items])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Do nothing: the version was made as a whole."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        """Tell whether it is the URI of a resource."""
        return str(checkpoint_id).startswith(_SCHEME)

    def storage_meta(self) -> StorageMeta | None:
        """Tell planners where it goes."""
        return StorageMeta(checkpoint_id=self._uri)

    # -- saving ------------------------------------------------------------------------------------------------------

    def _together(self, ranks: Ranks, share: Share, read: Callable[[int], torch.Tensor]) -> None:
        if (ranks.number == 0) is not self._coordinates:
            raise InvalidArgument("the writer has another process_group than dcp.save: give both the same")
        shares = ranks.gathered(share)
        saved: Version | None = None
        try:
            if shares is None:
                ranks.serve(read)
            else:
                try:
                    saved = self._save(shares, partial(_fetched, ranks, read))
                finally:
                    ranks.end()
        finally:
            self.saved = ranks.told(saved)

    def _save(self, shares: Sequence[Share], fetch: Fetch) -> Version:
        faults = [f"rank {rank}: {share.fault}" for rank, share in enumerate(shares) if share.fault]
        if faults:
            raise InvalidArgument("nothing was saved: " + "; ".join(faults))
        tensors: list[Tensor] = []
        views: dict[str, str] = {}
        for whole in wholes(shares):
            tensor, view = whole.on_its_way(fetch)
            tensors.append(tensor)
            if view is not None:
                views[whole.name] = view
        values = {name: value for share in shares for name, value in share.values.items()}
        paths = {name: path for share in shares for name, path in share.paths.items()}
        notes = Notes(views=views, extra={KEY: {"values": values, "paths": paths}})
        files = tuple(attached(path, content) for path, content in self._files.items())
        assert self._uri is not None, "looked at when the save began"
        return save(self._uri, tensors, files, notes, **self._options)


def _fetched(ranks: Ranks, read: Callable[[int], torch.Tensor], rank: int, number: int, title: str) -> torch.Tensor:
    if rank:
        return ranks.fetch(rank, number, title)
    ranks.keep_waiting()
    return read(number)
