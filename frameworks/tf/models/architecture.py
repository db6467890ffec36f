"""What a Keras model is made of, as JSON: written for the store, and built again without running code out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import tensorflow as tf
from keras.src.saving.serialization_lib import SafeModeScope

from alluxio_lance.errors import InvalidArgument

__all__ = ["ARCHITECTURE", "architecture_of", "build", "compile_again", "uncompiled"]

ARCHITECTURE: Final = "keras/architecture.json"
_COMPILE: Final = "compile_config"
_UNKNOWN: Final = re.compile(r"Could not locate (\w+) '([^']*)'")


def architecture_of(model: Any) -> bytes:
    """Write the architecture of a Keras model, and how it was compiled.

    Raises
    ------
    InvalidArgument
        When a part of it cannot be written, or is Python code, which nobody could load again.
    """
    try:
        text = model.to_json(sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InvalidArgument(
            f"the architecture of the Keras model {model.name!r} cannot be written ({_line(error)}) - give its classes "
            "get_config() and from_config(), or save model.get_weights() as a dict of arrays"
        ) from error
    _refuse_code(json.loads(text), f"the Keras model {model.name!r}")
    return bytes(text, "utf-8")


def build(text: bytes, uri: str, custom_objects: Mapping[str, Any] | None, *, compiled: bool) -> tuple[Any, Any]:
    """Make the model, its weights at their initial values, and return it with how it was compiled (None: it was not).

    Raises
    ------
    InvalidArgument
        When it needs a class or function that is neither Keras's nor among ``custom_objects``, holds Python code, or
        is nothing that Keras can build.
    """
    config = _plain(text, uri) if compiled else uncompiled(text, uri)
    how = config.pop(_COMPILE, None)
    # Keras has a switch that ends its safe mode for the whole process; what comes out of a shared store is never run.
    with _explained(uri), SafeModeScope(safe_mode=True):
        model = tf.keras.utils.deserialize_keras_object(
            config, custom_objects=dict(custom_objects or {}), safe_mode=True
        )
    if not isinstance(model, tf.keras.Model):
        raise InvalidArgument(f"{ARCHITECTURE} of {uri} describes a {type(model).__name__}, and no model")
    return model, how


def uncompiled(text: bytes, uri: str) -> dict[str, Any]:
    """Return what a model is made of, however it and the models in it were compiled; errors as of `build`."""
    config = _plain(text, uri)
    for part in _parts(config):
        part.pop(_COMPILE, None)
    return config


def compile_again(model: Any, how: Any, uri: str, custom_objects: Mapping[str, Any] | None) -> None:
    """Compile a model as it was; errors as `build`."""
    scope = tf.keras.utils.custom_object_scope(dict(custom_objects or {}))
    with scope, _explained(uri, ", or compile=False"), SafeModeScope(safe_mode=True):
        model.compile_from_config(how)


def _plain(text: bytes, uri: str) -> dict[str, Any]:
    """Read an architecture that has no code in it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{ARCHITECTURE} of {uri} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"{ARCHITECTURE} of {uri} is no JSON object, as Keras writes it")
    _refuse_code(found, uri)
    return found


@contextmanager
def _explained(uri: str, hint: str = "") -> Iterator[None]:
    """Say of Keras's errors what a caller of `load_model` can do; they carry the whole configuration otherwise."""
    try:
        yield
    except Exception as error:
        if found := _UNKNOWN.search(str(error)):
            what, name = found.groups()
            short = name.rpartition(">")[2]
            raise InvalidArgument(
                f"{uri} needs the {what} {name!r}, which is not part of Keras - give it with "
                f"custom_objects={{{short!r}: {short}}}{hint}",
                custom_object=name,
            ) from error
        raise InvalidArgument(
            f"Keras {tf.keras.__version__} cannot build {uri} ({_line(error)}) - load it with the Keras that saved it, "
            f"or its weights alone with tensors=['*']{hint}"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _refuse_code(config: Any, what: str) -> None:
    for part in _parts(config):
        if part.get("class_name") == "__lambda__":
            raise InvalidArgument(
                f"{what} has a Lambda layer, or another place, with Python code in it, which loading would have to run "
                "blindly: models with code are neither saved nor loaded - make it a layer of its own, or a function "
                "with @keras.saving.register_keras_serializable()"
            )


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    waiting = [config]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
