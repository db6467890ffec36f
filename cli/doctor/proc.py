"""Facts of the kernel, read from /proc and /sys below a root that tests can move."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["meminfo", "selected", "text_of"]


def text_of(path: Path) -> str | None:
    """Return the text of a small file without its last newline; None when it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def meminfo(root: Path) -> Mapping[str, int]:
    """Return ``/proc/meminfo``: bytes for sizes, plain counts for ``HugePages_…``."""
    facts: dict[str, int] = {}
    for line in (text_of(root / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        number, *unit = rest.split()
        facts[name] = int(number) * (1024 if unit else 1)
    return facts


def selected(text: str | None) -> str | None:
    """Return the word in brackets of a setting such as ``always [never] advise``."""
    if text is None or "[" not in text:
        return None
    return text.partition("[")[2].partition("]")[0]
