"""Hot models without a sidecar: the two files of a version, laid out by the same code, in memory of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from alluxio_lance.address import Address
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.lease import Lease
from alluxio_lance.layout import Column, ColumnKind, Layout, Pages, Region, Segment
from alluxio_lance.weights.header import TensorSpec, make_head
from alluxio_lance.weights.rows import Notes

MakeLease = Callable[..., Lease]


def memory_of(data: bytes) -> int:
    """Put bytes into a memory file."""
    descriptor = os.memfd_create("model")
    os.truncate(descriptor, len(data))
    os.pwrite(descriptor, data, 0)
    return descriptor


def file_of(parts: Mapping[TensorSpec, bytes], metadata: Mapping[str, str] | None = None) -> bytes:
    """Lay tensors out as a hot version has them."""
    head = make_head(parts, metadata)
    by_name = {spec.name: data for spec, data in parts.items()}
    return head.raw + b"".join(by_name[name] for name in head.tensors)


def column_of(name: str, number: int, length: int, pages: Pages) -> Column:
    """Describe one of the two files."""
    segment = Segment(id=number, rows=1, length=length, pages=pages, data=Region(0, length))
    return Column(name=name, kind=ColumnKind.FILE, dtype="safetensors", segments=(segment,))


@pytest.fixture
def make_lease(tmp_path) -> Iterator[MakeLease]:
    """Return a function that makes a lease on tensors, files and notes; ``raw`` is bytes in place of the tensors' file.

    ``pages`` is what the layout says of the memory, which is of ordinary pages always.
    """
    made: list[Lease] = []

    def make(
        tensors: Mapping[TensorSpec, bytes],
        files: Mapping[str, bytes] | None = None,
        notes: Notes | None = None,
        raw: bytes | None = None,
        pages: Pages = Pages.SMALL,
    ) -> Lease:
        metadata = (notes or Notes()).to_metadata()
        contents = {"tensors": file_of(tensors, metadata) if raw is None else raw}
        if files is not None:
            contents["files"] = file_of(
                {TensorSpec(name=path, dtype="U8", shape=(len(data),)): data for path, data in files.items()}
            )
        layout = Layout(
            type="models",
            name="x",
            semver="1.0.0",
            version=1,
            content_hash="0" * 64,
            num_rows=len(tensors),
            shard_rows=4096,
            columns=tuple(column_of(name, at, len(data), pages) for at, (name, data) in enumerate(contents.items())),
        )
        descriptors = Descriptors(map(memory_of, contents.values()))
        lease = Lease(Address(tmp_path), os.urandom(16).hex(), layout, descriptors, None)
        made.append(lease)
        return lease

    yield make
    for lease in made:
        lease.close()
