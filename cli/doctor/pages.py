"""The check of the pages that shared memory gets, and of what small ones cost."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alluxio_lance.cli.doctor.check import Check, ok, warned
from alluxio_lance.cli.doctor.proc import meminfo, selected, text_of
from alluxio_lance.cli.human import count, size

__all__ = ["pages"]

_NAME: Final = "pages"
_SETTING: Final = "sys/kernel/mm/transparent_hugepage/shmem_enabled"
_HELPFUL: Final = frozenset({"always", "within_size", "advise", "force"})


def pages(root: Path = Path("/")) -> Check:
    """Check reserved huge pages, then transparent ones for shared memory, as the sidecar prefers them."""
    facts = meminfo(root)
    total, free, each = (facts.get(name, 0) for name in ("HugePages_Total", "HugePages_Free", "Hugepagesize"))
    setting = selected(text_of(root / _SETTING))
    if free:
        return ok(
            _NAME, f"{count(total)} huge pages of {size(each)} reserved ({size(total * each)}), {count(free)} free"
        )
    reserved = f"all {count(total)} reserved huge pages are taken" if total else "no huge pages reserved"
    if setting in _HELPFUL:
        return ok(_NAME, f"{reserved}; transparent huge pages for shared memory: {setting}")
    return warned(
        _NAME,
        f"{reserved}, transparent ones for shared memory: {setting or 'not in this kernel'}; with pages of 4 KiB "
        "shuffled batches come about 2.3 times slower",
        f"as root: echo advise > /{_SETTING}, or reserve some: sysctl vm.nr_hugepages=1024 (2 GiB); then restart the sidecar",
    )
