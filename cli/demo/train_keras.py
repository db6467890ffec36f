"""Train a small network in Keras on images in shared memory: `train` is the example, the rest lets the demo steer it."""

from __future__ import annotations

import gc
import hashlib
from typing import Any

import tensorflow as tf

from alluxio.tf import Dataset, load_model, save_model
from alluxio_lance.cli.demo.dialogue import serve


def train(uri: str, image: str, label: str, epochs: int) -> tuple[Any, float]:
    """Train on all rows and return the network, and the share of the rows that it then gets right."""
    rows = Dataset(uri, columns=[image, label], batch_size=128, shuffle=True, seed=0)
    pairs = rows.map(lambda row: (tf.cast(row[image], tf.float32), row[label]))
    classes = 1 + max(int(tf.reduce_max(row[label])) for row in rows)
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Flatten(),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.Dense(classes),
        ]
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"])
    model.fit(pairs, epochs=epochs, verbose=0)
    return model, float(model.evaluate(pairs, verbose=0, return_dict=True)["accuracy"])


class Steered:
    """What the demo asks of this process."""

    def __init__(self) -> None:
        self._uri = ""
        self._columns: list[str] = []
        self._rows: Any = None
        self._model: Any = None

    def open(self, uri: str, columns: list[str]) -> dict[str, Any]:
        """Open a dataset in place of the one before."""
        self._uri, self._columns = uri, columns
        return self.refresh()

    def train(self, image: str, label: str, epochs: int) -> dict[str, Any]:
        """Train a new network."""
        self._model, accuracy = train(self._uri, image, label, epochs)
        return {"accuracy": accuracy}

    def save(self, uri: str, image: str, accuracy: float) -> dict[str, Any]:
        """Save the network, load it again from shared memory, and ask both the same."""
        version = save_model(uri, self._model, metrics={"accuracy": accuracy})
        loaded = load_model(uri)
        rows = tf.cast(next(iter(self._rows))[image], tf.float32)
        same = bool(tf.reduce_all(loaded(rows) == self._model(rows)))
        return {"version": version.semver, "same": same}

    def epoch(self) -> dict[str, Any]:
        """Read every row once, shuffled."""
        shuffled = Dataset(self._uri, columns=self._columns, batch_size=256, shuffle=True, seed=0)
        count = 0
        for batch in shuffled:
            count += len(next(iter(batch.values())))
        del shuffled
        gc.collect()
        return {"rows": count}

    def fingerprint(self, columns: list[str]) -> dict[str, Any]:
        """Hash the bytes of all rows, column by column."""
        digests = {column: hashlib.sha256() for column in columns}
        for batch in self._rows:
            for column in columns:
                digests[column].update(batch[column].numpy())
        return {column: digest.hexdigest() for column, digest in digests.items()}

    def refresh(self) -> dict[str, Any]:
        """Open the version that is active now."""
        self._rows = None
        # TensorFlow holds what its functions captured in cycles: the memory of the version before goes now.
        gc.collect()
        self._rows = Dataset(self._uri, columns=self._columns, batch_size=256)
        return {"rows": sum(len(next(iter(batch.values()))) for batch in self._rows)}


if __name__ == "__main__":
    steered = Steered()
    serve({name: getattr(steered, name) for name in ("open", "train", "save", "epoch", "fingerprint", "refresh")})
