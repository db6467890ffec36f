"""mlflow beside the other ways: an environment of its own, and the model in its format."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from alluxio_lance.bench.peers import default_folder, python_for
from alluxio_lance.bench.ways import Entry

__all__ = ["find", "probe"]

_MLFLOW: Final = Entry(
    title="mlflow", shuffle="none", distribution="mlflow-skinny", module="mlflow.pytorch", peer=True, workers=False
)


def find(folder: Path | None, *, install: bool, tell: Callable[[str], None]) -> Path:
    """Return the Python that has mlflow, in an environment below a folder; errors as of `peers.python_for`."""
    folder = folder or default_folder()
    return python_for(_MLFLOW, folder, install=install, on_install=lambda what: tell(f"install {what}"))


def probe(task: Mapping[str, Any]) -> dict[str, int]:
    """Write the model into a folder as mlflow keeps a module: pickled whole. Its other format keeps a traced graph."""
    from safetensors.torch import load_file  # noqa: PLC0415 - torch, not in the parent

    from alluxio_lance.bench.parts.models_material import Network  # noqa: PLC0415 - as above

    model = Network(task["rows"])
    model.load_state_dict(load_file(task["safetensors"]), assign=True)
    # Told what the model needs, it does not run it to find out.
    importlib.import_module("mlflow.pytorch").save_model(
        model, task["mlflow"], serialization_format="pickle", pip_requirements=["torch"]
    )
    return {}
