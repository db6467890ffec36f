"""The index of the disk tier against a plain list of entries."""

from __future__ import annotations

import random

from alluxio_lance.layout import ColumnKind, Pages, Region, Segment
from alluxio_lance.sidecar.disk.entry import Entry, Kept, Key
from alluxio_lance.sidecar.disk.index import Index


def make(content: str, number: int, pages: int) -> Entry:
    """Make a unit of a column that takes so many pages."""
    key = Key(
        content_hash=content,
        column="x",
        shard_rows=1,
        kind=ColumnKind.FIXED,
        dtype="u1",
        shape=(),
        nullable=False,
        unit=number,
    )
    segment = Segment(id=0, rows=1, length=4096 * pages, pages=Pages.SMALL, data=Region(0, 1))
    owner = ("datasets", content)
    return Entry(key=key, owner=owner, kind=ColumnKind.FIXED, null_count=0, segments=(Kept(segment, ""),))


def test_sums_and_order_are_those_of_a_list():
    """After anything that is done with it; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    plain = [make(chance.choice("abc"), number, 1) for number in range(5)]
    index = Index(plain)
    for _ in range(500):
        entry = make(chance.choice("abc"), chance.randrange(20), chance.randrange(1, 9))
        digest = entry.key.digest
        there = [one for one in plain if one.key.digest == digest]
        others = [one for one in plain if one.key.digest != digest]
        match chance.randrange(4):
            case 0:
                index.add(entry)
                plain = [*others, entry]
            case 1:
                assert index.use(digest) == bool(there)
                plain = others + there
            case 2:
                assert index.drop(digest) == bool(there)
                plain = others
            case 3:
                budget, spare = chance.randrange(1 << 20), chance.choice("abc")
                going = []
                for one in plain:
                    if sum(left.size for left in plain if left not in going) + 4096 <= budget:
                        break
                    if one.key.content_hash != spare:
                        going.append(one)
                assert index.make_room(4096, budget, spare=spare) == [one.key.digest for one in going]
                plain = [one for one in plain if one not in going]
        assert index.bytes == sum(one.size for one in plain)
        assert len(index) == len(plain)
        for content in "abc":
            own = [one for one in plain if one.key.content_hash == content]
            assert index.spare_room(1 << 20, content) == (1 << 20) - sum(one.size for one in own)
            assert index.of([content]) == [one.key.digest for one in own]
