"""Tables are never written through a FUSE mount: what Lance needs for a commit does not work there."""

from __future__ import annotations

from pathlib import Path

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.files.mounts import Mount, mounts

__all__ = ["refuse_mount"]


def refuse_mount(root: Path) -> None:
    """Refuse a folder within a FUSE mount of Alluxio.

    Raises
    ------
    InvalidArgument
        Naming the address that reaches the same folder.
    """
    found = mounts()
    if not found:
        return
    real = root.resolve()
    within = [mount for mount in found if real.is_relative_to(mount.path)]
    if within:
        innermost = max(within, key=lambda mount: len(mount.path.parts))
        raise InvalidArgument(
            f"{root} lies in the FUSE mount of Alluxio at {innermost.path}, through which no table can be written: "
            f"give the store {_address(innermost, real)}"
        )


def _address(mount: Mount, folder: Path) -> str:
    """Name a folder of a mount by the address of the Alluxio behind it, as far as the mount's process tells of it."""
    shown = mount.shown()
    inner = folder.relative_to(mount.path).as_posix()
    below = "" if inner == "." else inner
    if shown is None:
        return f"alluxio://HOST:19998/FOLDER/{below}?proxy=39999".replace("/?", "?")
    path = "/".join(part for part in (shown.root.strip("/"), below) if part)
    return f"alluxio://{shown.host or 'HOST'}:{shown.port or 19998}/{path or 'FOLDER'}?proxy=39999"
