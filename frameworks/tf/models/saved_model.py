"""A SavedModel of TensorFlow: its variables as tensors, its graph and assets as files, and the folder made of them again."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from alluxio_lance.client.models.elements import as_bytes
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.tf.models.elements import described
from alluxio_lance.weights.importing.mapped import mapped_file
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import File, Notes, Tensor

__all__ = ["KEY", "is_saved_model", "load_saved_model", "parts_of"]

KEY: Final = "saved_model"
"""Of the record among what is noted of a model."""
_FOLDER: Final = "saved_model/"
_STRINGS: Final = "saved_model/strings/"
_GRAPH: Final = "saved_model.pb"
_VARIABLES: Final = "variables/variables"


def is_saved_model(path: Path) -> bool:
    """Tell whether a folder is one."""
    return (path / _GRAPH).is_file()


def parts_of(path: Path) -> Parts:
    """Take a SavedModel apart; the variables are read one by one, when it is their turn.

    Raises
    ------
    InvalidArgument
        When its variables cannot be read, or are of types that models cannot hold.
    """
    files = [
        mapped_file(found, _FOLDER + found.relative_to(path).as_posix())
        for found in sorted(path.rglob("*"))
        if found.is_file() and found.parent != path / "variables"
    ]
    tensors: list[Tensor] = []
    views: dict[str, str] = {}
    strings: list[str] = []
    if (path / f"{_VARIABLES}.index").is_file():
        reader = _reader(path)
        types, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
        # What is no number (the object graph, the keys of tables) goes along as files.
        strings = sorted(name for name, dtype in types.items() if dtype == tf.string)
        files += [File(f"{_STRINGS}{number}", _string(reader, name)) for number, name in enumerate(strings)]
        for name in sorted(types.keys() - set(strings)):
            spec, view = described(name, types[name], tuple(shapes[name]))
            tensors.append(Tensor(spec, _variable(reader, name)))
            if view:
                views[name] = view
    return Parts(tuple(tensors), tuple(files), Notes(views=views, extra={KEY: {"strings": strings}}))


def _reader(path: Path) -> Any:
    try:
        return tf.train.load_checkpoint(str(path / _VARIABLES))
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise InvalidArgument(
            f"the variables of the SavedModel {path} cannot be read: {' '.join(str(error).split())[:300]}"
        ) from error


def _string(reader: Any, name: str) -> Callable[[], memoryview]:
    return lambda: memoryview(tf.io.serialize_tensor(tf.constant(reader.get_tensor(name), tf.string)).numpy())


def _variable(reader: Any, name: str) -> Callable[[], memoryview]:
    return lambda: as_bytes(np.asarray(reader.get_tensor(name)))


def load_saved_model(tensors: Mapping[str, Any], files: Mapping[str, memoryview], record: Any, uri: str) -> Any:
    """Restore it with ``tf.saved_model.load``, which reads a folder: one is made of the parts, and goes with the object.

    Raises
    ------
    InvalidArgument
        When TensorFlow cannot load it.
    """
    folder = tempfile.TemporaryDirectory(prefix="alluxio-lance-")
    try:
        root = Path(folder.name)
        for path, content in files.items():
            if path.startswith(_FOLDER) and not path.startswith(_STRINGS):
                target = root / path.removeprefix(_FOLDER)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        _write_variables(root, tensors, files, record, uri)
        loaded = tf.saved_model.load(folder.name)
    except (tf.errors.OpError, OSError, ValueError) as error:
        folder.cleanup()
        raise InvalidArgument(
            f"TensorFlow {tf.__version__} cannot load the SavedModel of {uri}: {' '.join(str(error).split())[:300]}"
        ) from error
    # Tables read their assets when they are asked for the first time.
    weakref.finalize(loaded, folder.cleanup)
    return loaded


def _write_variables(
    root: Path, tensors: Mapping[str, Any], files: Mapping[str, memoryview], record: Any, uri: str
) -> None:
    names: list[str] = record["strings"] if isinstance(record, dict) and isinstance(record.get("strings"), list) else []
    try:
        strings = [tf.io.parse_tensor(bytes(files[f"{_STRINGS}{number}"]), tf.string) for number in range(len(names))]
    except KeyError as error:
        raise InvalidArgument(f"the SavedModel of {uri} lacks its file {error.args[0]!r}: save it anew") from error
    if not tensors and not strings:
        return
    (root / "variables").mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(root / _VARIABLES),
        tensor_names=[*tensors, *names],
        shape_and_slices=[""] * (len(tensors) + len(names)),
        tensors=[*tensors.values(), *strings],
    )
