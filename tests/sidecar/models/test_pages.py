"""Files that fill whole pages: memory on reserved huge pages has no other length, and the format allows no padding."""

from __future__ import annotations

import random

import pytest
import safetensors

from alluxio_lance.weights.elements import ELEMENT_BITS
from alluxio_lance.weights.header import ALIGNMENT, TensorSpec, make_head, parse_head

UNIT = 1 << 16


def _specs(chance: random.Random) -> list[TensorSpec]:
    types = [name for name, bits in ELEMENT_BITS.items() if bits >= 8]
    return [
        TensorSpec(name=f"t{number}", dtype=chance.choice(types), shape=(chance.choice([0, 1, 3, 7, 64, 1000]),))
        for number in range(chance.randrange(12))
    ]


@pytest.mark.parametrize("unit", [None, UNIT])
def test_heads_of_any_tensors(unit, tmp_path):
    """The file has whole pages where that is wanted, is read by others, and each tensor is as aligned as otherwise."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    for _ in range(100):
        specs = _specs(chance)
        head = make_head(specs, {"format": "pt"}, unit=unit)
        if unit is not None:
            assert head.length % unit == 0
        assert make_head(chance.sample(specs, len(specs)), {"format": "pt"}, unit=unit) == head
        data = head.raw + bytes(head.length - head.data)
        assert parse_head(data, len(data), "it").tensors == head.tensors
        found = dict(safetensors.deserialize(data))
        assert {name: tuple(each["shape"]) for name, each in found.items()} == {each.name: each.shape for each in specs}
        for placed in head.tensors.values():
            whole = placed.size % ALIGNMENT == 0
            assert (
                placed.offset % (ALIGNMENT if whole else ELEMENT_BITS[placed.spec.dtype] // 8) == 0 or not placed.size
            )
