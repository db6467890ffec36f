"""Which Python runs a way: the project's own, or that of a virtual environment made for a peer that does not fit it.

Such an environment sees the project's packages after its own, so torch is not installed again (it is 7 GB), while a
peer that needs an older numpy gets it. A stamp, written last, tells a complete environment from one whose making was
cut off; that one is made anew.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alluxio_lance.bench.ways import Entry
from alluxio_lance.errors import NotFound, Unavailable

__all__ = ["default_folder", "pinned", "python_for"]

_HERE = Path(__file__).resolve().parent
_STAMP = "complete.txt"
_INSTALL_S = 900


def default_folder() -> Path:
    """Return ``bench/.venvs`` in a checkout, else a folder in the user's cache."""
    if (_HERE.parent / "pyproject.toml").is_file():
        return _HERE / ".venvs"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "alluxio-lance" / "bench-venvs"


def pinned(distribution: str) -> str:
    """Return the line of ``peers.txt`` for a distribution, such as ``webdataset==1.0.2``.

    Raises
    ------
    NotFound
        When the file has no line for it.
    """
    lines = (_HERE / "peers.txt").read_text().splitlines()
    for line in lines:
        if line.startswith(f"{distribution}=="):
            return line
    raise NotFound(f"bench/peers.txt pins no version of {distribution}: add one")


def python_for(entry: Entry, folder: Path, *, install: bool, on_install: Callable[[str], None]) -> Path:
    """Find the Python that can run a way, and make it if need be.

    Parameters
    ----------
    folder
        Where the virtual environments lie.
    install
        Whether one may be made; that needs the network.
    on_install
        Told the requirement before an installation, which takes a minute.

    Raises
    ------
    Unavailable
        When the package cannot be imported and not be installed; the message is the reason that the table shows.
    """
    ours = Path(sys.executable)
    if entry.module is None or imports(ours, entry.module):
        return ours
    if not entry.peer or entry.distribution is None:
        raise Unavailable(f"{entry.module} cannot be imported: install {entry.distribution}", what=entry.module)
    requirement = pinned(entry.distribution)
    home = folder / requirement.replace("==", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / f"{home.name}.lock"):
        if not complete(home, requirement):
            if not install:
                raise Unavailable(f"{requirement} is not installed, and installing was switched off", what=requirement)
            on_install(requirement)
            make(home, requirement)
    python = home / "bin" / "python"
    if not imports(python, entry.module):
        raise Unavailable(f"{requirement} was installed in {home} but {entry.module} fails to import", what=requirement)
    return python


def imports(python: Path, module: str) -> bool:
    """Tell whether a Python can import a module, by trying: packages that are there may still fail."""
    done = subprocess.run([python, "-P", "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two benchmarks do not make one environment at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def site_packages() -> str:
    """Return where the packages of the project's environment lie."""
    return sysconfig.get_paths()["purelib"]


def stamp(requirement: str) -> str:
    """Return what an environment was made of: another project environment or Python needs another one."""
    return f"{requirement}\n{site_packages()}\n{sys.version}\n"


def complete(home: Path, requirement: str) -> bool:
    """Tell whether an environment is there and was made of the same things to its end."""
    file = home / _STAMP
    return file.is_file() and file.read_text() == stamp(requirement)


def make(home: Path, requirement: str) -> None:
    """Make an environment for one requirement.

    Raises
    ------
    Unavailable
        When pip fails; with its last line.
    """
    shutil.rmtree(home, ignore_errors=True)
    venv.EnvBuilder(with_pip=True, symlinks=True).create(home)
    python = home / "bin" / "python"
    # addsitedir, since a bare path would leave out the project's own .pth files, and with them its editable install.
    own = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (own / "project.pth").write_text(f"import site; site.addsitedir({site_packages()!r})\n")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{requirement} was not installed within {_INSTALL_S} s", what=requirement) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(
            f"{requirement} cannot be installed: {lines[-1] if lines else 'pip failed'}", what=requirement
        )
    (home / _STAMP).write_text(stamp(requirement))
