"""The way from a command to a mapped model."""

from __future__ import annotations

from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.session import Session
from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.errors import InvalidArgument

__all__ = ["open_model"]


def open_model(session: Session, uri: str, *, silent: bool) -> MappedModel:
    """Make a version hot, with a bar, and map it.

    Raises
    ------
    InvalidArgument
        With ``--embedded``: a folder has no shared memory.
    """
    if session.embedded is not None:
        raise InvalidArgument("models are read through a sidecar: leave --embedded out, and start `alluxio-lance up`")
    with progress_bar(session.err, silent=silent) as on_progress:
        return MappedModel.open(uri, address=session.address, wait=True, on_progress=on_progress, populate=False)
