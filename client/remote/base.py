"""What the verbs of all kinds share: the way to the sidecar, and calls that tell how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from alluxio_lance.client import wire
from alluxio_lance.client.channel import Channel
from alluxio_lance.errors import Unavailable
from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.values import Version

__all__ = ["Remote", "answered", "followed"]

Result = TypeVar("Result")


class Remote(ResourceManager):
    """A manager with a channel."""

    _channel: Channel


def followed(call: Any, on_progress: OnProgress | None) -> Version:
    """Tell the progress of a call and return the version at its end; whatever ends this early ends the call too."""
    return answered(call, on_progress, lambda last: wire.version(last.version))


def answered(call: Any, on_progress: OnProgress | None, read: Callable[[Any], Result]) -> Result:
    """Tell the progress of a call and return what ``read`` makes of its last message, as `followed` does."""
    last = None
    try:
        for response in call:
            if response.WhichOneof("part") != "progress":
                last = response
            elif on_progress is not None:
                on_progress(wire.progress(response.progress))
    finally:
        call.cancel()
    if last is None:
        raise Unavailable(
            "the sidecar ended the call without a result - ask for the resource's history", what="sidecar"
        )
    return read(last)
