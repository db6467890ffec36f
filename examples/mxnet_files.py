"""MXNet 1.9.1 on files of Alluxio: parameters and records, written and read under the paths of a mount.

MXNet 1.9.1 wants numpy older than 1.24, and alluxio-lance wants numpy 2; what maps paths needs no numpy at all::

    python3.11 -m venv mxnet && mxnet/bin/pip install "numpy<1.24" mxnet==1.9.1 alluxio==0.1.4 requests six
    mxnet/bin/pip install --no-deps alluxio-lance
    alluxio-lance mount /mnt/alluxio
    mxnet/bin/python mxnet_files.py alluxio:///models/mxnet
"""

from __future__ import annotations

import sys

import mxnet as mx  # type: ignore[import-not-found]  # it lives in an environment of its own

from alluxio_lance.files.posix import PosixFsAdapter


def main(folder: str) -> None:
    """Write and read parameters, records, and records with an index, in a folder of Alluxio."""
    files = PosixFsAdapter.find()
    files.path(folder).mkdir(parents=True, exist_ok=True)

    parameters = files.path(f"{folder}/resnet50.params")
    mx.nd.save(str(parameters), {"weight": mx.nd.arange(1000), "bias": mx.nd.ones((3, 4))})
    files.settle(parameters)
    loaded = mx.nd.load(str(parameters))
    assert loaded["weight"].sum().asscalar() == sum(range(1000))
    assert loaded["bias"].shape == (3, 4)

    records, index = files.path(f"{folder}/train.rec"), files.path(f"{folder}/train.idx")
    writer = mx.recordio.MXIndexedRecordIO(str(index), str(records), "w")
    for number in range(100):
        writer.write_idx(number, mx.recordio.pack(mx.recordio.IRHeader(0, float(number), number, 0), b"x" * number))
    writer.close()
    for path in (records, index):
        files.settle(path)

    reader = mx.recordio.MXIndexedRecordIO(str(index), str(records), "r")
    header, data = mx.recordio.unpack(reader.read_idx(42))
    assert (header.label, data) == (42.0, b"x" * 42)
    reader.close()

    reader = mx.recordio.MXRecordIO(str(records), "r")
    count = 0
    while reader.read() is not None:
        count += 1
    reader.close()
    assert count == 100  # noqa: PLR2004 - as many as were written
    print(f"{files.uri(parameters)}: {len(loaded)} arrays; {files.uri(records)}: {count} records")  # noqa: T201 - an example


if __name__ == "__main__":
    main(sys.argv[1])
