"""tf.data on the mapped memory beside ``from_tensor_slices`` on tensors in memory and ``from_generator`` row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Final

import numpy as np

from alluxio_lance.bench.data import SHAPE
from alluxio_lance.bench.parts.results import Found, Group
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.rows import register, uri_of
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving
from alluxio_lance.errors import Corrupt

__all__ = ["measure", "probe"]

_BATCH: Final = 256
_ROW: Final = int(np.prod(SHAPE))
_OURS, _SLICES, _GENERATOR = "alluxio-lance", "from_tensor_slices", "from_generator"
_IN_ORDER: Final = "alluxio-lance, in order"
_WAYS: Final = (_OURS, _IN_ORDER, _SLICES, _GENERATOR)
_TITLES: Final = {
    _OURS: "alluxio-lance, shuffle=True",
    _SLICES: "from_tensor_slices, shuffle(N)",
    _GENERATOR: "from_generator, row by row",
}


def measure(setting: Setting) -> Found:
    """Measure in a fresh process for each way and repetition."""
    count = 4096 if setting.quick else 20_000
    rounds = Rounds()
    with serving(setting.work / "sidecar") as address:
        setting.tell(f"register {count:,} rows")
        register(address, "tf", count, _ROW, setting.seed)
        rounds.run(
            {
                way: lambda way=way: setting.fresh("tf", {"way": way, "rows": count}, address)  # type: ignore[misc]  # mypy cannot infer a lambda's default
                for way in _WAYS
            },
            setting.repetitions,
            setting.seed,
            setting.tell,
        )
    return Found(
        part="tf",
        title=f"tf.data: {count:,} rows of uint8[{_ROW}] + label, batches of {_BATCH}",
        settings={**setting.facts(), "rows": count, "batch_size": _BATCH},
        groups=(
            Group(
                title="later epochs",
                unit="rows per second",
                against=_SLICES,
                lines=tuple(
                    rounds.line(
                        way, "later", name=_TITLES.get(way), against=None if way == _SLICES else (_SLICES, "later")
                    )
                    for way in _WAYS
                ),
            ),
            Group(
                title="from iter() to the first batch, later epochs",
                unit="milliseconds",
                against=_SLICES,
                lines=tuple(
                    rounds.line(
                        way,
                        "first_ms",
                        name=_TITLES.get(way),
                        against=None if way == _SLICES else (_SLICES, "first_ms"),
                    )
                    for way in _WAYS
                ),
            ),
        ),
        notes=(
            "Batches are taken by a Python loop, without a model. The tensors of from_tensor_slices were in memory before.",
            (
                "All are batched. shuffle(N) permutes row by row through a buffer of references; alluxio-lance computes its permutation "
                "and gathers whole batches. from_generator comes in an order of its own from numpy."
            ),
            "The rate of later epochs includes making the iterator, which is much of an epoch of few rows.",
        ),
        measurements=rounds.numbers,
    )


def probe(task: Mapping[str, Any]) -> dict[str, float]:
    """Read some epochs in one way; the first one, which traces functions, is left out."""
    dataset = _dataset(task["way"], task["rows"])
    rates, firsts = [], []
    for epoch in range(4):
        labels = []
        begun = perf_counter()
        batches = iter(dataset)
        labels.append(next(batches)["label"])
        first = perf_counter() - begun
        labels += [batch["label"] for batch in batches]
        seconds = perf_counter() - begun
        found = np.concatenate([part.numpy() for part in labels])
        if not np.array_equal(np.sort(found), np.arange(task["rows"])):
            raise Corrupt(f"an epoch of {task['way']} is no permutation of the rows", expected=task["rows"])
        if epoch:
            rates.append(task["rows"] / seconds)
            firsts.append(first * 1e3)
    return {"later": float(np.median(rates)), "first_ms": float(np.median(firsts))}


def _dataset(way: str, rows: int) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - only the fresh process loads TensorFlow

    from alluxio.tf import Dataset  # noqa: PLC0415 - as said above

    if way in {_OURS, _IN_ORDER}:
        return Dataset(uri_of("tf"), _BATCH, shuffle=way == _OURS)
    data = np.random.default_rng(0).integers(0, 256, (rows, _ROW), np.uint8)
    labels = np.arange(rows)
    if way == _SLICES:
        slices = tf.data.Dataset.from_tensor_slices({"data": tf.constant(data), "label": tf.constant(labels)})
        return slices.shuffle(rows).batch(_BATCH).prefetch(tf.data.AUTOTUNE)

    def items() -> Iterator[dict[str, Any]]:
        for row in np.random.default_rng().permutation(rows):
            yield {"data": data[row], "label": labels[row]}

    signature = {"data": tf.TensorSpec((_ROW,), tf.uint8), "label": tf.TensorSpec((), tf.int64)}
    return tf.data.Dataset.from_generator(items, output_signature=signature).batch(_BATCH).prefetch(tf.data.AUTOTUNE)
