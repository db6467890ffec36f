"""What the methods of all kinds share: the manager that acts as the caller, and answers that come in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.guard import identity
from alluxio_lance.sidecar.services.ports import Journal, Managers
from alluxio_lance.sidecar.services.progress import worked
from alluxio_lance.values import Progress, Version

__all__ = ["Calls", "paged"]

Response = TypeVar("Response")
M = TypeVar("M", bound=Message)

_PAGE: Final = 4 << 20
"""Bytes after which a page is full."""


class Calls:
    """Methods over a manager.

    Parameters
    ----------
    manager
        Does the work.
    journal
        Where events and operations are looked up.
    feed
        Tells that there are new events.
    settle
        Waits until leases that ended just now are known to the catalog, before a verb looks for holders.
    """

    def __init__(self, manager: Managers, *, journal: Journal, feed: Feed, settle: Callable[[], None]) -> None:
        self._manager = manager
        self._journal = journal
        self._feed = feed
        self._settle = settle

    def _as(self, context: grpc.ServicerContext) -> ResourceManager:
        return self._manager.acting_as(identity(context))

    @staticmethod
    def _streamed(
        work: Callable[[OnProgress], Version],
        response: Callable[..., Response],
        context: grpc.ServicerContext,
        name: str,
        *,
        abandon: bool = True,
    ) -> Iterator[Response]:
        """Answer with the progress of the work, then with its version; arguments as in `worked`."""
        for item in worked(work, context, name, abandon=abandon):
            if isinstance(item, Progress):
                yield response(progress=wire.progress(item))
            else:
                yield response(version=wire.version(item))


def paged(messages: Iterable[M]) -> Iterator[list[M]]:
    """Cut a list of whatever length into pages that fit into a message."""
    page: list[M] = []
    size = 0
    for message in messages:
        page.append(message)
        size += message.ByteSize()
        if size >= _PAGE:
            yield page
            page, size = [], 0
    if page:
        yield page
