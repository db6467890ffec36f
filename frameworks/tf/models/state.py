"""The state of a Keras model: taken from its layers and given back by the layers' own hands, under stable names.

Keras asks each layer for what it has to keep (``save_own_variables``) and hands it back (``load_own_variables``); most
take their variables, quantised and adapted layers do more. The layers come in the order in which the model has them,
which the same architecture repeats, whereas the names of layers inside a class of the user's count up in each process.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.rows import File

__all__ = ["KEY", "State", "assign_optimizer", "give_back", "optimizer_pairs", "state_of"]

KEY: Final = "keras"
"""Of the record among what is noted of a model."""
_ASSETS: Final = "keras/assets"
_OPTIMIZER: Final = "optimizer"
_given: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
"""The records of the models that were loaded: saved again they keep their names, so that only changes are written."""


@dataclass(frozen=True, slots=True)
class State:
    """What a model has to keep."""

    values: dict[str, Any] = field(default_factory=dict)
    """Variables and arrays by name."""
    record: dict[str, Any] = field(default_factory=dict)
    """``layers``: class, names of its own state by the key it gave, names of its seed generators; ``optimizer``: names."""
    assets: list[File] = field(default_factory=list)


def state_of(model: Any, *, optimizer: bool) -> State:
    """Ask a model for its state; the values are still its own.

    Raises
    ------
    InvalidArgument
        When it has no variables yet, or no optimizer and that was asked for.
    """
    if not model.built:
        raise InvalidArgument(
            f"the Keras model {model.name!r} has no weights yet - call it once on an input, or model.build(input_shape)"
        )
    known = iter(_known(model))
    names = _Names()
    layers, assets = [], []
    for number, layer in enumerate(_layers(model)):
        own: dict[str, Any] = {}
        layer.save_own_variables(own)
        before = next(known, {})
        layers.append(
            {
                "class": type(layer).__name__,
                "own": {
                    key: names.of(value, before.get("own", {}).get(key), f"{layer.path or layer.name}/{key}")
                    for key, value in own.items()
                },
                "seeds": [names.of(seeds.state, name, "") for seeds, name in _paired(layer, before.get("seeds", []))],
            }
        )
        assets += _assets(layer, number)
    record: dict[str, Any] = {"layers": layers}
    if optimizer:
        record[_OPTIMIZER] = [names.of(variable, None, "", _OPTIMIZER) for variable in _optimizer(model).variables]
    return State(names.values, record, assets)


class _Names:
    """Gives each value one name, and no name twice."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._by_id: dict[int, str] = {}

    def of(self, value: Any, known: str | None, otherwise: str, folder: str = "") -> str:
        # The values stay in the dict, hence no id comes twice. Shared variables are met more than once.
        if id(value) not in self._by_id:
            name = known or "/".join(filter(None, (folder, getattr(value, "path", otherwise))))
            self._by_id[id(value)] = name = self._free(name)
            self.values[name] = value
        return self._by_id[id(value)]

    def _free(self, name: str) -> str:
        found, count = name, 0
        while found in self.values:
            count += 1
            found = f"{name}_{count}"
        return found


def _known(model: Any) -> Sequence[Mapping[str, Any]]:
    layers: Sequence[Mapping[str, Any]] = _given.get(model, {}).get("layers", [])
    return layers if [each["class"] for each in layers] == [type(each).__name__ for each in _layers(model)] else []


def _paired(layer: Any, names: Sequence[str]) -> Iterator[tuple[Any, str | None]]:
    seeds = layer._seed_generators  # noqa: SLF001 - Keras has no public way to them that says whose they are
    return zip(seeds, names if len(names) == len(seeds) else [None] * len(seeds), strict=True)


def _layers(model: Any) -> list[Any]:
    layers: list[Any] = model._flatten_layers()  # noqa: SLF001 - `layers` leaves those inside other layers out
    return layers


def _optimizer(model: Any) -> Any:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise InvalidArgument(f"the Keras model {model.name!r} has no optimizer to save - compile it first")
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return optimizer


def _assets(layer: Any, number: int) -> list[File]:
    if not hasattr(layer, "save_assets"):
        return []
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-") as folder:
        layer.save_assets(folder)
        found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return [
            File(f"{_ASSETS}/{number}/{path.relative_to(folder).as_posix()}", _bytes(path.read_bytes()))
            for path in found
        ]


def _bytes(content: bytes) -> Callable[[], memoryview]:
    return lambda: memoryview(content)


def give_back(model: Any, record: Any, tensor: Callable[[str], Any], files: Mapping[str, memoryview], uri: str) -> None:
    """Give a model the state that another one of the same architecture had.

    Parameters
    ----------
    record
        Of `state_of`, from a version.
    tensor
        Gives one by name. Variables take over its memory where their types are the same.

    Raises
    ------
    InvalidArgument
        When the model is not of that architecture, with the layer or the variable in which it differs.
    """
    layers = _layers(model)
    entries = _entries(record, uri)
    found, wanted = [type(layer).__name__ for layer in layers], [entry["class"] for entry in entries]
    if found != wanted:
        raise InvalidArgument(f"{uri} does not fit the model {model.name!r}: {_difference(found, wanted)}")
    given = [
        ({key: tensor(name) for key, name in entry["own"].items()}, [tensor(name) for name in entry["seeds"]])
        for entry in entries
    ]
    for layer, entry, (own, _) in zip(layers, entries, given, strict=True):
        _check_shapes(layer, own, entry["own"], uri)
    for number, (layer, (own, seeds)) in enumerate(zip(layers, given, strict=True)):
        try:
            layer.load_own_variables(own)
            for generator, seed in zip(layer._seed_generators, seeds, strict=True):  # noqa: SLF001
                generator.state.assign(seed)
        except (ValueError, KeyError) as error:
            raise InvalidArgument(
                f"{uri} does not fit layer {layer.name!r} of {model.name!r}: {' '.join(str(error).split())[:300]}"
            ) from error
        _load_assets(layer, number, files)
        _hold(layer, [*own.values(), *seeds])
    _given[model] = record


def _entries(record: Any, uri: str) -> list[dict[str, Any]]:
    try:
        return [
            {
                "class": str(entry["class"]),
                "own": {str(key): str(name) for key, name in dict(entry["own"]).items()},
                "seeds": [str(name) for name in entry["seeds"]],
            }
            for entry in record["layers"]
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidArgument(
            f"what {uri} notes of its Keras layers cannot be read: it was not saved by save_model"
        ) from error


def _difference(found: Sequence[str], wanted: Sequence[str]) -> str:
    for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if one != other:
            return f"its layer {number} is {one}, and was {other} when that was saved"
    return f"it has {len(found)} layers, and had {len(wanted)} when that was saved"


def _check_shapes(layer: Any, own: Mapping[str, Any], names: Mapping[str, str], uri: str) -> None:
    """Compare before anything is assigned: Keras's own message has the values in it, and unbuilt layers take nothing."""
    if hasattr(layer, "load_assets"):
        # It says what it has only when that is there.
        return
    if own and not layer.built:
        raise InvalidArgument(
            f"layer {layer.name!r} is not built, hence cannot take {', '.join(names.values())} of {uri} - give its "
            "model get_build_config() and build_from_config(), or load with into=MODEL after calling MODEL once"
        )
    current: dict[str, Any] = {}
    layer.save_own_variables(current)
    for key in own:
        if key in current and tuple(own[key].shape) != tuple(current[key].shape):
            raise InvalidArgument(
                f"variable {names[key]!r} of {uri} is {list(own[key].shape)}, and in layer {layer.name!r} of this model "
                f"{list(current[key].shape)}"
            )


def _load_assets(layer: Any, number: int, files: Mapping[str, memoryview]) -> None:
    prefix = f"{_ASSETS}/{number}/"
    if not hasattr(layer, "load_assets") or not any(path.startswith(prefix) for path in files):
        return
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-") as folder:
        for path, content in files.items():
            if path.startswith(prefix):
                target = Path(folder, path.removeprefix(prefix))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        layer.load_assets(folder)


def _hold(owner: Any, tensors: list[Any]) -> None:
    # While somebody else holds the memory of a variable, TensorFlow writes its updates elsewhere: no write goes to the
    # mapped memory, where one may need a huge page that is not free.
    weakref.finalize(owner, tensors.clear).atexit = False


def optimizer_pairs(model: Any, record: Any, tensor: Callable[[str], Any], uri: str) -> list[tuple[Any, Any]]:
    """Find the variables of a compiled model's optimizer with what they were; none where that was not saved.

    Raises
    ------
    InvalidArgument
        When it is another optimizer, or for other variables.
    """
    names = record.get(_OPTIMIZER) if isinstance(record, dict) else None
    if not isinstance(names, list) or getattr(model, "optimizer", None) is None:
        return []
    variables = _optimizer(model).variables
    if len(variables) != len(names):
        raise InvalidArgument(
            f"the optimizer of {uri} has {len(names)} variables, and {model.optimizer.name!r} {len(variables)}: "
            "compile with the one that was saved, or load with compile=False"
        )
    pairs = [(variable, tensor(str(name))) for variable, name in zip(variables, names, strict=True)]
    for (variable, value), name in zip(pairs, names, strict=True):
        if tuple(variable.shape) != tuple(value.shape):
            raise InvalidArgument(
                f"variable {name!r} of {uri} is {list(value.shape)}, and {variable.path!r} of this model's optimizer "
                f"{list(variable.shape)}"
            )
    return pairs


def assign_optimizer(model: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
    """Give an optimizer's variables what `optimizer_pairs` found for them."""
    for variable, value in pairs:
        variable.assign(value)
    if pairs:
        _hold(model.optimizer, [value for _, value in pairs])
