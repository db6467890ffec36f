"""Whether all readers really share one memory: measured while each has read all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alluxio_lance.cli.demo.dialogue import Partner
from alluxio_lance.cli.demo.ledger import Ledger
from alluxio_lance.cli.demo.memory import Footprint, footprint
from alluxio_lance.cli.demo.system import System
from alluxio_lance.cli.human import size
from alluxio_lance.client.statistics import CacheStatistics
from alluxio_lance.values import Version

__all__ = ["check_sharing", "held_bytes", "measure"]

_ONCE: Final = 1.02
"""Memory that is held once may look this much larger, by pages at the edges."""


def measure(system: System, partners: Sequence[Partner], uri: str, columns: Sequence[str]) -> list[Footprint]:
    """Let every process read a whole version, then count the memory of each; the first one is the sidecar's."""
    people: list[tuple[str, int]] = [("sidecar (up)", system.pid)]
    for partner in partners:
        partner.ask("open", uri=uri, columns=columns)
        answer = partner.ask("epoch")
        partner.ask("fingerprint", columns=columns)
        people.append((partner.name, partner.pid))
        people += [(f"{partner.name} worker", pid) for pid in answer.get("workers", ())]
    return [footprint(name, pid) for name, pid in people]


def held_bytes(statistics: CacheStatistics, version: Version) -> int:
    """Return the bytes that a version takes in shared memory, by the sidecar's own count."""
    wanted = (version.type, version.name, version.version)
    return sum(each.bytes for each in statistics.versions if (each.type, each.name, each.version) == wanted)


def check_sharing(ledger: Ledger, footprints: Sequence[Footprint], held: int) -> None:
    """Check that every reader maps the same segments, and that the kernel counts them once."""
    readers = footprints[1:]
    shared = frozenset.intersection(*(reader.inodes for reader in readers))
    mapping = sum(bool(reader.inodes & shared) for reader in readers)
    ledger.check("processes that map the same memory", len(readers), mapping)
    together = sum(each.segments_pss for each in footprints)
    ledger.check(
        "memory for it in all processes together",
        f"at most {size(held * _ONCE)}",
        size(together),
        ok=together <= held * _ONCE,
    )
