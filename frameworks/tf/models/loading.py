"""A version of a model as what was saved: a Keras model, a restored SavedModel, or its tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from alluxio_lance.client.models.mapped import FILES, TENSORS, MappedModel
from alluxio_lance.client.models.patterns import matching
from alluxio_lance.client.models.verifying import check_bytes
from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.frameworks.tf.models import saved_model, state
from alluxio_lance.frameworks.tf.models.architecture import ARCHITECTURE, compile_again
from alluxio_lance.frameworks.tf.models.blank import Blank, blank_of
from alluxio_lance.frameworks.tf.models.elements import converted, floating, tensor_of
from alluxio_lance.manager import OnProgress

__all__ = ["load_model", "model_of"]


def load_model(
    uri: str,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    into: Any = None,
    tensors: Sequence[str] | None = None,
    dtype: Any = None,
    verify: bool = False,
    address: str | None = None,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> Any:
    """Load a version of a model from the memory that all processes of the node share.

    A Keras model comes back as it was saved: built from its architecture without running code out of the store, compiled
    as it was, its variables on the mapped memory where their bytes begin at a multiple of 64 bytes (as those of every
    tensor do whose size is one), else on a copy. What is trained afterwards stays in this process.

    A SavedModel comes back through ``tf.saved_model.load``, which reads it from a folder that is made for it: it is a
    program of whoever saved it. Of all other models, those of PyTorch too, the tensors come, by name.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, with a selector behind ``@`` for another version than the active one.
    custom_objects
        Classes and functions by name that the architecture needs and Keras does not have.
    compile
        Compile a Keras model as it was, and give the optimizer its state if that was saved.
    into
        A built Keras model of the same architecture: its state is replaced, and it is returned; it is not compiled, but
        if it is, its optimizer gets its state.
    tensors
        Only those whose names match one of these patterns, ``["dense*/kernel"]``, as a dict by name, whatever the model
        is. ``["*"]`` is all.
    dtype
        Convert the floating tensors of a dict to this: ``tf.bfloat16``.
    verify
        Compare the bytes with the hashes in the version's manifest first, which reads all of them.
    address
        The sidecar: ``unix:/RUN/FOLDER/grpc.sock`` or the run folder; by default ``ALLUXIO_LANCE_ADDRESS``, then the
        default run folder.
    timeout
        Seconds to wait for the sidecar to answer.
    wait
        When the version was archived: wait until it is back, instead of raising.
    on_progress
        Told meanwhile how far that is, in bytes; without it a terminal shows a bar.

    Returns
    -------
    keras.Model, the object of tf.saved_model.load, or dict of str to tf.Tensor

    Raises
    ------
    InvalidArgument
        When it is a dataset; when the model needs a custom object that is not given, has a Lambda layer of Python code, or
        does not fit ``into`` (the message names the variable); when arguments do not go together.
    NotFound
        When there is no such version, or a pattern in ``tensors`` matches nothing.
    Corrupt
        When ``verify`` found other bytes than were saved.
    Unavailable, Restoring, NotActive, NoSpace
        What the sidecar says to the URI.
    """
    _check_arguments(into, tensors)
    dtype = None if dtype is None else floating(dtype)
    parts = (TENSORS,) if tensors is not None and not verify else (TENSORS, FILES)
    with MappedModel.open(uri, parts, address, timeout=timeout, wait=wait, on_progress=on_progress) as model:
        if tensors is not None:
            names = matching([*model.tensors, *model.notes.tied], tensors, model.uri)
            if verify:
                check_bytes(model, {model.notes.tied.get(name, name) for name in names}, on_progress=on_progress)
            return _tensors(model, names, dtype)
        return model_of(
            model, custom_objects, compiled=compile, into=into, dtype=dtype, verify=verify, on_progress=on_progress
        )


def model_of(
    model: MappedModel,
    custom_objects: Mapping[str, Any] | None,
    *,
    compiled: bool,
    into: Any = None,
    blank: Blank | None = None,
    dtype: Any = None,
    verify: bool = False,
    on_progress: OnProgress | None = None,
) -> Any:
    """Make what was saved of a mapped model, tensors and files.

    Parameters
    ----------
    compiled
        ``compile`` of `load_model`; all others and the errors as there.
    blank
        A Keras model that was built ahead; taken when it is of the version's architecture.
    """
    if verify:
        check_bytes(model, on_progress=on_progress)
    if state.KEY in model.notes.extra:
        _no_dtype(dtype, model.uri)
        if into is not None:
            return _into(model, into)
        return _keras(model, custom_objects, blank, compiled=compiled)
    if into is not None:
        raise InvalidArgument(f"{model.uri} has no weights of a Keras model for into=: load it without")
    if saved_model.KEY in model.notes.extra:
        _no_dtype(dtype, model.uri)
        record = model.notes.extra[saved_model.KEY]
        return saved_model.load_saved_model(_tensors(model, list(model.tensors), None), model.files, record, model.uri)
    return _tensors(model, [*model.tensors, *model.notes.tied], dtype)


def _check_arguments(into: Any, tensors: Sequence[str] | None) -> None:
    if into is not None and tensors is not None:
        raise InvalidArgument("into= takes a whole model, and tensors= gives a part as a dict: choose one")
    if into is not None and not isinstance(into, tf.keras.Model):
        raise InvalidArgument(f"into= takes a Keras model, not a {type(into).__name__}")


def _no_dtype(dtype: Any, uri: str) -> None:
    if dtype is not None:
        raise InvalidArgument(
            f"{uri} has types of its own, which dtype= cannot change: cast its tensors with tensors=['*'], dtype=…"
        )


def _tensors(model: MappedModel, names: Sequence[str], dtype: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in names:
        stored = model.notes.tied.get(name, name)
        if stored not in made:
            tensor = _tensor(model, stored)
            made[stored] = tensor if dtype is None else converted(tensor, dtype)
    return {name: made[model.notes.tied.get(name, name)] for name in names}


def _tensor(model: MappedModel, name: str) -> Any:
    return tensor_of(model.data(name), model.tensors[name].spec, model.notes.views.get(name))


def _into(model: MappedModel, into: Any) -> Any:
    uri, record, tensor = model.uri, model.notes.extra[state.KEY], _tensor_by_name(model)
    # What does not fit is found before anything is assigned.
    pairs = state.optimizer_pairs(into, record, tensor, uri)
    state.give_back(into, record, tensor, model.files, uri)
    state.assign_optimizer(into, pairs)
    return into


def _keras(model: MappedModel, custom_objects: Mapping[str, Any] | None, blank: Blank | None, *, compiled: bool) -> Any:
    uri, files, record, tensor = model.uri, model.files, model.notes.extra[state.KEY], _tensor_by_name(model)
    if ARCHITECTURE not in files:
        raise NotFound(f"{uri} has no {ARCHITECTURE}: load it into= a model, or its tensors with tensors=['*']")
    text = bytes(files[ARCHITECTURE])
    if blank is None or not blank.fits(text, uri, compiled=compiled):
        blank = blank_of(text, uri, custom_objects, compiled=compiled)
    made = blank.model
    state.give_back(made, record, tensor, files, uri)
    blank.unfilled.fill()
    if blank.how:
        compile_again(made, blank.how, uri, custom_objects)
        state.assign_optimizer(made, state.optimizer_pairs(made, record, tensor, uri))
    return made


def _tensor_by_name(model: MappedModel) -> Callable[[str], Any]:
    return lambda name: _tensor(model, name)
