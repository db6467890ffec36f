"""Feeds everything that reads models of strangers with bytes that a fuzzer thinks up: only a clear refusal may come back.

Run by `make fuzz`. The first byte chooses the reader. Seeds are small valid files, which the fuzzer then damages.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import atheris

with atheris.instrument_imports(include=["alluxio_lance.weights", "alluxio_lance.client.models"]):
    import numpy as np

    from alluxio_lance.errors import AlluxioLanceError
    from alluxio_lance.weights.header import TensorSpec, make_head, parse_head
    from alluxio_lance.weights.importing import read_model
    from alluxio_lance.weights.manifest import Manifest
    from alluxio_lance.weights.rows import Notes, source_of

FOLDER: Final = TemporaryDirectory(prefix="al-fuzz-")


def _head(data: bytes) -> None:
    parse_head(data, len(data), "the file")


def _file(suffix: str) -> Callable[[bytes], None]:
    path = Path(FOLDER.name) / f"model{suffix}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        parts = read_model(path)
        for _ in source_of(parts.tensors, parts.files, parts.notes).reader:
            pass

    return read


def _index(data: bytes) -> None:
    folder = Path(FOLDER.name) / "sharded"
    folder.mkdir(exist_ok=True)
    (folder / "a.safetensors").write_bytes(_safetensors())
    (folder / "model.safetensors.index.json").write_bytes(data)
    read_model(folder)


READERS: Final[tuple[Callable[[bytes], object], ...]] = (
    _head,
    _file(".safetensors"),
    _file(".npz"),
    _file(".pt"),
    Notes.from_json,
    Manifest.from_json,
    _index,
)


def _safetensors() -> bytes:
    head = make_head([TensorSpec(name="a", dtype="F32", shape=(2, 3)), TensorSpec(name="b", dtype="I8", shape=())])
    # Without the spaces that fill a page: damage is to hit something.
    text = head.raw[8:].rstrip()
    return len(text).to_bytes(8, "little") + text + bytes(head.length - head.data)


def _npz() -> bytes:
    target = io.BytesIO()
    np.savez(target, a=np.zeros((2, 3), np.float32), b=np.int8(1))
    return target.getvalue()


def seeds(folder: Path) -> None:
    """Write a valid input for each reader."""
    valid = (
        _safetensors(),
        _safetensors(),
        _npz(),
        b"PK\3\4",
        Notes().to_json(),
        b'{"format":1,"tensors":{},"files":{},"notes":"' + b"0" * 64 + b'"}',
        b'{"metadata":{},"weight_map":{"a":"a.safetensors","b":"a.safetensors"}}',
    )
    for number, content in enumerate(valid):
        (folder / str(number)).write_bytes(bytes([number]) + content)


def one(data: bytes) -> None:
    """Read one input; any other error than ours is a fault, and the fuzzer shows the bytes."""
    if not data:
        return
    try:
        READERS[data[0] % len(READERS)](data[1:])
    except AlluxioLanceError as refusal:
        if not refusal.message.strip():
            raise AssertionError("it was refused without a word") from refusal


if __name__ == "__main__":
    corpus = Path(FOLDER.name) / "corpus"
    corpus.mkdir()
    seeds(corpus)
    atheris.Setup([*sys.argv, str(corpus)], one)
    atheris.Fuzz()
