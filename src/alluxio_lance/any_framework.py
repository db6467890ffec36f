"""The same calls for every framework: which one is meant shows in what is given, or in what the process has imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.values import Version

__all__ = ["load_dataset", "load_model", "save_model", "version_model"]

_PACKAGES: Final = {"torch": "torch", "tf": "tensorflow"}
_OWNERS: Final = {"torch": "torch", "tensorflow": "tf", "keras": "tf"}
_SUFFIXES: Final = {".pt": "torch", ".pth": "torch", ".bin": "torch", ".ckpt": "torch", ".keras": "tf"}


def load_dataset(uri: str, *, framework: str | None = None, **options: Any) -> Any:
    """Open a version as ``alluxio.torch.Dataset`` or ``alluxio.tf.Dataset``.

    Parameters
    ----------
    uri
        ``alluxio://datasets/NAME``, with a selector behind ``@`` for another version than the active one.
    framework
        ``torch`` or ``tf``; by default the one that this process has imported.
    options
        Of that class.

    Raises
    ------
    InvalidArgument
        When no framework is named, and not exactly one is imported.
    Unavailable
        When it is not installed.
    """
    return _door(framework or _imported()).Dataset(uri, **options)


def load_model(uri: str, *, framework: str | None = None, **options: Any) -> Any:
    """Load a model as ``alluxio.torch.load_model`` or ``alluxio.tf.load_model`` does; arguments as of `load_dataset`."""
    return _door(framework or _imported()).load_model(uri, **options)


def save_model(uri: str, model: Any, *, framework: str | None = None, **options: Any) -> Version:
    """Save a model as ``alluxio.torch.save_model`` or ``alluxio.tf.save_model`` does.

    Parameters
    ----------
    model
        What these take: a module, a Keras model, named tensors, the path of a checkpoint.
    framework
        ``torch`` or ``tf``; by default the one that the model belongs to, else the one that this process has imported.

    Raises
    ------
    InvalidArgument, Unavailable
        As of `load_dataset`, and as of these two.
    """
    made: Version = _door(framework or _owner(model) or _imported()).save_model(uri, model, **options)
    return made


def version_model(uri: str, **options: Any) -> Version:
    """Tag a version of a model, promote it, note its metrics; see ``alluxio.torch.version_model``, which this is."""
    from alluxio_lance.client.models import versioning  # noqa: PLC0415 - loads when it is called, like the others

    return versioning.version_model(uri, **options)


def _door(framework: str) -> Any:
    package = _PACKAGES.get(framework)
    if package is None:
        raise InvalidArgument(f"there is no framework {framework!r}: give torch or tf")
    try:
        return importlib.import_module(f"alluxio_lance.frameworks.{framework}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {package, "keras"}:
            raise
        raise Unavailable(
            f"{package} is not installed: pip install 'alluxio-lance[{framework}]'", what=package
        ) from error


def _imported() -> str:
    found = [framework for framework, package in _PACKAGES.items() if package in sys.modules]
    if len(found) == 1:
        return found[0]
    what = "both PyTorch and TensorFlow are" if found else "neither PyTorch nor TensorFlow is"
    raise InvalidArgument(f"{what} imported in this process: say framework='torch' or framework='tf'")


def _owner(model: Any) -> str | None:
    """Tell whose a model is; None when it is anybody's."""
    if isinstance(model, str | PathLike):
        path = Path(model)
        return "tf" if (path / "saved_model.pb").exists() else _SUFFIXES.get(path.suffix.lower())
    for one in _faces(model):
        for kind in type(one).__mro__:
            if owner := _OWNERS.get(kind.__module__.partition(".")[0]):
                return owner
    return None


def _faces(model: Any) -> Iterator[Any]:
    yield model
    if isinstance(model, Mapping):
        yield from model.values()
