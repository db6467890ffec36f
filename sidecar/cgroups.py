"""The cgroups that limit this process: its own and those above it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["ROOT", "limiting"]

ROOT: Final = Path("/")
_MOUNT: Final = "sys/fs/cgroup"


def limiting(controller: str, root: Path = ROOT) -> Iterator[tuple[Path, bool]]:
    """Yield the folders in which a controller may keep its limits, and whether each is of version 1 of cgroups.

    In a container only the root of the hierarchy may be visible, and not every level has the controller.

    Parameters
    ----------
    controller
        Such as ``memory``.
    root
        Where /proc and /sys are found.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / _MOUNT / controller if controllers else root / _MOUNT
        inside = PurePosixPath(path.lstrip("/"))
        for folder in (inside, *inside.parents) if inside.parts else (inside,):
            yield mount / folder, bool(controllers)
