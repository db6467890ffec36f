"""A process that reads a version window by window, in an order of its own, and tells which rows came, as a JSON line.

Run as a script: address, URI, seed. With a fourth argument it holds one window of so many units, says so, and waits.
"""

from __future__ import annotations

import json
import random
import sys

from alluxio_lance.client.streamed import StreamedVersion


def windows(stream: StreamedVersion, chance: random.Random) -> list[list[int]]:
    """Cut all units, in a random order, into windows; the last unit is shorter and comes last in its own."""
    last = stream.units - 1
    order = chance.sample(range(last), last)
    size = stream.window_units
    return [*(order[start : start + size] for start in range(0, last, size)), [last]]


def main(address: str, uri: str, seed: str, held: str = "") -> None:
    """Read."""
    with StreamedVersion.open(uri, address=address) as stream:
        if held:
            with stream.window(range(int(held))):
                print(json.dumps("held"), flush=True)  # noqa: T201 - the test reads it
                sys.stdin.readline()
            return
        rows: list[int] = []
        plan = windows(stream, random.Random(int(seed)))
        for number, units in enumerate(plan):
            with stream.window(units) as table:
                if number + 1 < len(plan):
                    stream.ahead(plan[number + 1])
                ids = table.columns["id"].array
                assert (table.columns["image"].array[:, 7] == ids % 251).all()
                rows += ids.tolist()
        print(json.dumps(rows), flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
