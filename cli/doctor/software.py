"""Checks of what is installed: Python, our own packages, the frameworks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Final

from alluxio_lance import __version__
from alluxio_lance.cli.doctor.check import Check, failed, ok, warned

__all__ = ["software"]

_CLIENT: Final = ("grpcio", "numpy", "protobuf", "pyarrow")
_SERVER: Final = ("alembic", "blake3", "grpcio-health-checking", "pylance", "sqlalchemy")
_OLDEST: Final = (3, 11)
_NEIGHBOUR: Final = "0.1.4"
"""The release of PyPI's `alluxio` beside which the doors alluxio.torch and alluxio.tf were tried."""

_Version = Callable[[str], str | None]


def _installed(package: str) -> str | None:
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None


def software(version_of: _Version = _installed) -> Iterator[Check]:
    """Check Python and packages; ``version_of`` returns the version of a package, None when it is missing."""
    yield _python()
    yield ok("alluxio-lance", __version__)
    yield _group("client packages", _CLIENT, version_of, failed, "pip install alluxio-lance")
    yield _group(
        "server packages", _SERVER, version_of, warned, "pip install 'alluxio-lance[server]', to run `up` here"
    )
    yield _framework("PyTorch", ("torch",), "torch", version_of)
    yield _framework("TensorFlow", ("tensorflow-cpu", "tensorflow"), "tf", version_of)
    yield _neighbour(version_of("alluxio"))


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < _OLDEST:
        return failed("Python", found, "use Python 3.11 or later")
    return ok("Python", found)


def _group(
    name: str,
    packages: tuple[str, ...],
    version_of: _Version,
    bad: Callable[[str, str, str], Check],
    remedy: str,
) -> Check:
    versions = {package: version_of(package) for package in packages}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        return bad(name, f"missing: {', '.join(missing)}", remedy)
    return ok(name, ", ".join(f"{package} {version}" for package, version in versions.items()))


def _framework(name: str, packages: tuple[str, ...], extra: str, version_of: _Version) -> Check:
    for package in packages:
        version = version_of(package)
        if version is not None:
            return ok(name, f"{package} {version}")
    return warned(name, "not installed", f"pip install 'alluxio-lance[{extra}]', if you train with it")


def _neighbour(version: str | None) -> Check:
    name = "PyPI's alluxio"
    if version is None:
        return warned(
            name,
            "not installed; alluxio.torch and alluxio.tf stand beside it",
            "pip install 'alluxio-lance[torch]' or [tf]",
        )
    if version != _NEIGHBOUR:
        return warned(name, f"{version}, and only {_NEIGHBOUR} was tried", f"pip install alluxio=={_NEIGHBOUR}")
    return ok(name, version)
