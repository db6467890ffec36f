"""ModelWatcher: a Keras model that serves, with the weights of whichever version is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.watching import ModelWatcher as Watcher
from alluxio_lance.client.models.watching import OnError, OnSwap
from alluxio_lance.frameworks.tf.models import state
from alluxio_lance.frameworks.tf.models.architecture import ARCHITECTURE
from alluxio_lance.frameworks.tf.models.blank import Blank, blank_of
from alluxio_lance.frameworks.tf.models.loading import model_of

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

    What TensorFlow does at a first call, above all the tracing of a `tf.function`, is done before the swap where
    ``prepare`` makes that call::

        def prepare(model):
            answer = tf.function(model, input_signature=[tf.TensorSpec((None, 64))])
            answer(tf.zeros((1, 64)))
            return answer

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector.
    address, on_swap, on_error, timeout, retry
        As there.
    prepare
        Called with the model of each version before it serves, in the thread of the watcher but for the first. What it
        returns serves in the model's place; the model itself where it returns None. When it raises, the version does
        not serve.
    custom_objects, verify
        As in `load_model`.

    Raises
    ------
    InvalidArgument
        When the URI names a version, or the model needs a custom object that is not given.
    Exception
        What ``prepare`` raises for the first version.
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
        prepare: Callable[[Any], Any] | None = None,
        custom_objects: Mapping[str, Any] | None = None,
        verify: bool = False,
        timeout: float = 10.0,
        retry: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        self._custom_objects = custom_objects
        self._architecture: bytes | None = None
        self._blank: Blank | None = None

        def load(mapped: MappedModel) -> Any:
            # Whatever comes of it: a model that a failed load left half filled is for nobody.
            blank, self._blank = self._blank, None
            model = model_of(mapped, custom_objects, compiled=False, blank=blank, verify=verify)
            is_keras = state.KEY in mapped.notes.extra
            self._architecture = bytes(mapped.files[ARCHITECTURE]) if is_keras else None
            made = None if prepare is None else prepare(model)
            return model if made is None else made

        super().__init__(uri, load, address, on_swap, on_error, timeout=timeout, retry=retry, collect=True)

    def _rest(self) -> None:
        # The next version mostly has the architecture of this one, and to build it takes longer than to give it weights.
        # Large variables have no memory until then.
        if self._architecture is not None and self._blank is None:
            self._blank = blank_of(self._architecture, self._resource, self._custom_objects, compiled=False)
