"""What the verbs of all kinds share: the way to the sidecar, and calls that tell how far they are."""

from __future__ import annotations

from typing import Any

from alluxio_lance.client import wire
from alluxio_lance.client.channel import Channel
from alluxio_lance.errors import Unavailable
from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.values import Version

__all__ = ["Remote", "followed"]


class Remote(ResourceManager):
    """A manager with a channel."""

    _channel: Channel


def followed(call: Any, on_progress: OnProgress | None) -> Version:
    """Tell the progress of a call and return the version at its end; whatever ends this early ends the call too."""
    version = None
    try:
        for response in call:
            if response.WhichOneof("part") == "version":
                version = wire.version(response.version)
            elif on_progress is not None:
                on_progress(wire.progress(response.progress))
    finally:
        call.cancel()
    if version is None:
        raise Unavailable(
            "the sidecar ended the call without a result - ask for the resource's history", what="sidecar"
        )
    return version
