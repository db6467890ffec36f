"""The verbs that give names: tags, labels, branches."""

from __future__ import annotations

from collections.abc import Mapping

from alluxio_lance.client import wire
from alluxio_lance.client.remote.base import Remote, followed
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import Bump, OnProgress
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Resource, Version

__all__ = ["NameVerbs"]


class NameVerbs(Remote):
    """Tag, untag, label, branch, unbranch, merge."""

    def tag_resource(
        self,
        type: str,
        name: str,
        version: str,
        tag: str,
        *,
        move: bool = False,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        request = pb.TagRequest(
            type=type, name=name, version=version, tag=tag, move=move, message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Tag(request).version)

    def untag_resource(
        self, type: str, name: str, tag: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.UntagRequest(type=type, name=name, tag=tag, message=message, request_id=request_id or "")
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Untag(request).version)

    def label_resource(
        self,
        type: str,
        name: str,
        labels: Mapping[str, str | None],
        *,
        message: str = "",
        request_id: str | None = None,
    ) -> Resource:
        changes = [_change(key, value) for key, value in labels.items()]
        request = pb.LabelRequest(type=type, name=name, labels=changes, message=message, request_id=request_id or "")
        with self._channel.speaking() as stubs:
            return wire.resource(stubs.lifecycle.Label(request).resource)

    def branch_resource(
        self,
        type: str,
        name: str,
        branch: str,
        *,
        version: str | None = None,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        request = pb.BranchRequest(
            type=type, name=name, branch=branch, version=version or "", message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Branch(request).version)

    def unbranch_resource(
        self, type: str, name: str, branch: str, *, message: str = "", request_id: str | None = None
    ) -> None:
        request = pb.UnbranchRequest(type=type, name=name, branch=branch, message=message, request_id=request_id or "")
        with self._channel.speaking() as stubs:
            stubs.lifecycle.Unbranch(request)

    def merge_resource(
        self,
        type: str,
        name: str,
        branch: str,
        *,
        bump: Bump | None = None,
        activate: bool = True,
        message: str = "",
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        request = pb.MergeRequest(
            type=type,
            name=name,
            branch=branch,
            bump=bump or "",
            activate=activate,
            message=message,
            request_id=request_id or "",
        )
        with self._channel.speaking() as stubs:
            return followed(stubs.lifecycle.Merge(request), on_progress)


def _change(key: str, value: str | None) -> pb.LabelChange:
    # The stub would say so with a TypeError.
    if not isinstance(key, str) or not isinstance(value, str | None):
        raise InvalidArgument(f"the label {key!r}: {value!r} is no pair of texts - give a text, or None to remove it")
    return pb.LabelChange(key=key, value=value)
