"""ModelWatcher: a Keras model that serves, with the weights of whichever version is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.watching import ModelWatcher as Watcher
from alluxio_lance.client.models.watching import OnError, OnSwap
from alluxio_lance.frameworks.tf.models import state
from alluxio_lance.frameworks.tf.models.architecture import ARCHITECTURE
from alluxio_lance.frameworks.tf.models.blank import Blank, blank_of
from alluxio_lance.frameworks.tf.models.loading import model_of
from alluxio_lance.frameworks.tf.models.tracing import traceable

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

    What TensorFlow does at a first call, above all the tracing of a `tf.function`, is done before the swap where ``trace``
    makes that call. Where it can be it is done before there is another version at all, on a model that has its weights
    still to come; then a version only has its weights to give::

        def traced(model):
            answer = tf.function(model, input_signature=[tf.TensorSpec((None, 64))])
            answer(tf.zeros((1, 64)))
            return answer

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector.
    address, on_swap, on_error, timeout, retry
        As there.
    trace
        Called once for each model that is to serve, in the thread of the watcher but for the first. What it returns
        serves in the model's place; the model itself where it returns None. It must take nothing from the weights, which
        the model may not have yet: then they are what the layers start with, large ones zeros. Models whose weights
        are more than variables, such as those with a `Normalization` or quantised layers, have them already; so has
        what is no Keras model. When it raises, the version does not serve.
    prepare
        Called with that for each version before it serves, always with its weights: the place for a test question. What
        it returns serves instead, if not None. When it raises, the version does not serve.
    custom_objects, verify
        As in `load_model`.

    Raises
    ------
    InvalidArgument
        When the URI names a version, or the model needs a custom object that is not given.
    Exception
        What ``trace`` or ``prepare`` raises for the first version.
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
        trace: Callable[[Any], Any] | None = None,
        prepare: Callable[[Any], Any] | None = None,
        custom_objects: Mapping[str, Any] | None = None,
        verify: bool = False,
        timeout: float = 10.0,
        retry: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        self._custom_objects = custom_objects
        self._trace = trace
        self._early = trace is not None
        self._architecture: bytes | None = None
        self._ahead: _Ahead | None = None

        def load(mapped: MappedModel) -> Any:
            # Whatever comes of it: a model that a failed load left half filled is for nobody.
            ahead, self._ahead = self._ahead, None
            blank = None if ahead is None else ahead.blank
            model = model_of(mapped, custom_objects, compiled=False, blank=blank, verify=verify)
            is_keras = state.KEY in mapped.notes.extra
            self._architecture = bytes(mapped.files[ARCHITECTURE]) if is_keras else None
            # The one that was built ahead did not fit when the model is another.
            fits = ahead is not None and model is ahead.blank.model
            serving = ahead.serving if ahead is not None and fits else None
            return _called(prepare, _called(trace, model) if serving is None else serving)

        super().__init__(uri, load, address, on_swap, on_error, timeout=timeout, retry=retry, collect=True)

    def _rest(self) -> None:
        # The next version mostly has the architecture of this one, and to build and trace it takes longer than to give
        # it weights. Large variables have no memory until then.
        if self._architecture is None or self._ahead is not None:
            return
        blank = blank_of(self._architecture, self._resource, self._custom_objects, compiled=False)
        self._ahead = _Ahead(blank, self._traced_early(blank.model))

    def _traced_early(self, model: Any) -> Any:
        if not self._early or not traceable(model):
            return None
        # One that cannot do without the weights gets them from now on: what it left of this model is for nobody.
        self._early = False
        made = _called(self._trace, model)
        self._early = True
        return made


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What was made for the next version before there is one."""

    blank: Blank
    serving: Any
    """What ``trace`` made of its model; None when that has to wait for the weights."""


def _called(function: Callable[[Any], Any] | None, value: Any) -> Any:
    """Return what a function of the user's makes of a value; the value itself where it makes nothing."""
    made = None if function is None else function(value)
    return value if made is None else made
