"""ModelWatcher: a Keras model that serves, with the weights of whichever version is active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alluxio_lance.client.models.mapped import TENSORS, MappedModel
from alluxio_lance.client.models.watching import ModelWatcher as Watcher
from alluxio_lance.client.models.watching import OnError, OnSwap
from alluxio_lance.frameworks.tf.models.loading import load_model

__all__ = ["ModelWatcher"]


class ModelWatcher(Watcher[Any]):
    """Serves the active version of a model, and swaps it between requests when another one becomes active.

    ::

        with ModelWatcher("alluxio://models/resnet50") as watcher:
            ...
            with watcher.current() as model:
                answer = model(question)

    Each version is a model of its own, as `load_model` gives it: a Keras model, which is not compiled, what
    ``tf.saved_model.load`` returns, or a dict of tensors. How requests keep their version, and what happens when a load
    fails, is said at `alluxio_lance.client.models.watching.ModelWatcher`. Python's garbage collector runs when the last
    request of an old version has ended, since Keras models refer to themselves.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector.
    address, on_swap, on_error, timeout, retry
        As there.
    custom_objects, verify
        As in `load_model`.

    Raises
    ------
    InvalidArgument
        When the URI names a version, or the model needs a custom object that is not given.
    Unavailable, NotFound, NotActive, InvalidURI, NoSpace, Corrupt
        As in `load_model`.
    """

    def __init__(
        self,
        uri: str,
        address: str | None = None,
        on_swap: OnSwap | None = None,
        on_error: OnError | None = None,
        *,
        custom_objects: Mapping[str, Any] | None = None,
        verify: bool = False,
        timeout: float = 10.0,
        retry: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        def load(mapped: MappedModel) -> Any:
            # The lease of `mapped` keeps this very version until the tensors hold it, too.
            return load_model(
                mapped.uri,
                custom_objects=custom_objects,
                compile=False,
                verify=verify,
                address=address,
                timeout=timeout,
            )

        super().__init__(
            uri, load, address, on_swap, on_error, parts=(TENSORS,), timeout=timeout, retry=retry, collect=True
        )
