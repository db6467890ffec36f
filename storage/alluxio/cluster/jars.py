"""The jars of Alluxio: fetched once with Maven, kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alluxio_lance.errors import Unavailable

__all__ = ["class_path", "jar_folder", "java"]

_POM: Final = Path(__file__).with_name("pom.xml")
_NEEDED: Final = (11, 24)
"""Alluxio 2.9's own fork of the concurrency classes breaks with Java 25."""


def java() -> str:
    """Find the Java to run.

    Raises
    ------
    Unavailable
        When there is none that Alluxio runs on; the sentence says what to install.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(str(Path(home, "bin", "java")) if home else "java")
    if found is None:
        raise Unavailable(
            "a local Alluxio needs Java 11, 17 or 21, and there is no java here: install a JDK "
            "(Debian: apt install openjdk-17-jdk-headless), or set JAVA_HOME",
            what="java",
        )
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', said)
    version = int(match[1]) if match else 0
    if not _NEEDED[0] <= version <= _NEEDED[1]:
        raise Unavailable(
            f"{found} is Java {version or 'of an unknown version'}, and Alluxio needs 11, 17 or 21: set JAVA_HOME to one",
            what="java",
        )
    return found


def jar_folder() -> Path:
    """Return where the jars are kept."""
    version = re.search(r"<alluxio\.version>([^<]+)<", _POM.read_text(encoding="utf-8"))
    assert version is not None
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "alluxio-lance" / f"alluxio-{version[1]}"


def class_path(on_step: Callable[[str], None]) -> str:
    """Return Java's class path, after fetching the jars if they are not there.

    Raises
    ------
    Unavailable
        When Maven is missing or cannot fetch them.
    """
    folder = jar_folder()
    with _locked(folder):
        if not folder.is_dir():
            on_step("fetch the jars")
            _fetch(folder)
    return f"{folder}/*"


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(
            "the jars of Alluxio are fetched with Maven, and there is no mvn here: install it (Debian: apt install maven)",
            what="maven",
        )
    # Whole or not at all: the folder gets its name when all jars are there.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as part:
        command = [maven, "-B", "-q", "-f", str(_POM.resolve()), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={part}/lib"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=part)
        if done.returncode != 0:
            why = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise Unavailable(f"Maven could not fetch the jars of Alluxio: try again, it said\n{why}", what="maven")
        Path(part, "lib").rename(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process fetch, and the others wait for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
