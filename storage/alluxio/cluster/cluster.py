"""A local Alluxio: started, found again, looked at, stopped."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import requests

from alluxio_lance.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unavailable
from alluxio_lance.files.information import ask
from alluxio_lance.storage.alluxio.cluster.flags import MAIN_CLASSES, jvm_flags, logging_configuration, properties
from alluxio_lance.storage.alluxio.cluster.jars import class_path, java
from alluxio_lance.storage.alluxio.cluster.nodes import Node, start, stop
from alluxio_lance.storage.alluxio.cluster.plan import ClusterPlan, default_folder

__all__ = ["Cluster", "ClusterStatus", "NodeStatus"]

_STATE: Final = "cluster.json"
_READY: Final = 180.0
"""Seconds until all three must answer: on a busy machine a JVM alone takes half a minute. One that ends is told at once."""
_PAUSE: Final = 0.1
_ANSWER: Final = 5.0
"""Seconds for one answer."""
_FORMATTED: Final = "formatted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One of the processes."""

    name: str
    pid: int
    alive: bool
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """How a local Alluxio is."""

    folder: Path
    ready: bool
    """All processes run and answer, and the worker has joined."""
    uri: str
    """What to give as a store."""
    s3: str
    """The proxy's S3 endpoint."""
    nodes: tuple[NodeStatus, ...]
    capacity_bytes: int
    used_bytes: int


class Cluster:
    """A local Alluxio in a folder, whether this process started it or another one.

    Processes outlive the one that started them: `stop` ends them.
    """

    def __init__(self, plan: ClusterPlan, nodes: dict[str, Node]) -> None:
        self.plan = plan
        self._nodes = nodes

    # -- starting and finding ------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, plan: ClusterPlan, on_step: Callable[[str], None] = lambda _: None) -> Self:
        """Start master, worker and proxy, and wait until they serve.

        Parameters
        ----------
        on_step
            Told what is being done, in a few words.

        Raises
        ------
        AlreadyExists
            When one runs in the folder already.
        Conflict
            When a port is taken.
        InvalidArgument
            When its files have been in another under-store so far.
        Unavailable
            When Java or Maven is missing, or a process ends or does not answer; the sentence names its log.
        """
        program, jars = java(), class_path(on_step)
        with _held(plan.folder):
            with suppress(NotFound):
                found = cls.find(plan.folder)
                if any(node.is_alive for node in found._nodes.values()):  # noqa: SLF001 - of this class
                    raise AlreadyExists(
                        f"an Alluxio runs in {plan.folder} already: see `{_command('status', plan.folder)}`, or end it "
                        f"with `{_command('down', plan.folder)}`"
                    )
            if taken := plan.ports.taken():
                raise Conflict(
                    f"port {taken[0]} is taken by another program, another Alluxio perhaps: choose others with --port-base"
                )
            _check_under_store(plan)
            cluster = cls(plan, {})
            try:
                cluster._launch(program, jars, on_step)
            except BaseException:
                cluster._end()
                raise
        return cluster

    @classmethod
    def find(cls, folder: Path) -> Self:
        """Find the one that was started in a folder, whether it still runs or not.

        Raises
        ------
        NotFound
            When none was started there, or it was stopped.
        """
        try:
            record = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFound(f"no Alluxio runs in {folder}: start one with `{_command('up', folder)}`") from None
        return cls(
            ClusterPlan.of_record(record["plan"]), {name: Node(**node) for name, node in record["nodes"].items()}
        )

    def _launch(self, program: str, jars: str, on_step: Callable[[str], None]) -> None:
        plan = self.plan
        for folder in ("conf", "logs", "journal", "cache", *(() if plan.under_store else ("ufs",))):
            (plan.folder / folder).mkdir(parents=True, exist_ok=True)
        (plan.folder / "conf" / "log4j2.xml").write_text(logging_configuration(), encoding="utf-8")
        _write_private(plan.folder / "conf" / "alluxio-site.properties", _as_text(properties(plan)))
        base = self._command(program, jars)
        self._format(base, on_step)
        for name in MAIN_CLASSES:
            on_step(f"start the {name}")
            self._begin(name, base)
        on_step("wait until it serves")
        self._await()

    def _command(self, program: str, jars: str) -> list[str]:
        """Return what runs any of the processes, but for its main class."""
        return [program, *jvm_flags(self.plan), *_where(self.plan), "-cp", jars]

    def _begin(self, name: str, base: list[str]) -> None:
        self._nodes[name] = start([*base, MAIN_CLASSES[name]], self._log(name))
        self._save()

    def _format(self, base: list[str], on_step: Callable[[str], None]) -> None:
        """Make an empty journal, once: it is the memory of which files there are."""
        mark = _mark(self.plan)
        if mark.exists():
            return
        on_step("make the journal")
        done = subprocess.run([*base, "alluxio.cli.Format", "MASTER"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])
            raise Unavailable(
                f"the journal of Alluxio could not be made in {self.plan.folder}:\n{last}", what="alluxio"
            )
        mark.write_text(self.plan.root, encoding="utf-8")

    def _await(self) -> None:
        deadline = time.monotonic() + _READY
        while not self._serves():
            for name, node in self._nodes.items():
                if not node.is_alive:
                    raise Unavailable(
                        f"the {name} of Alluxio ended; the end of {self._log(name)} says\n{_tail(self._log(name))}",
                        what="alluxio",
                    )
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Alluxio did not serve within {_READY:.0f} s: see the logs in {self.plan.folder / 'logs'}",
                    what="alluxio",
                )
            time.sleep(_PAUSE)

    # -- looking -------------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        """Look at it now."""
        plan = self.plan
        info = self._info("master", plan.ports.master_web) or {}
        return ClusterStatus(
            folder=plan.folder,
            ready=self._serves(),
            uri=self.uri,
            s3=self.s3,
            nodes=tuple(
                NodeStatus(name=name, pid=node.pid, alive=node.is_alive, log=self._log(name))
                for name, node in self._nodes.items()
            ),
            capacity_bytes=int(info.get("capacity", {}).get("total", 0)),
            used_bytes=int(info.get("capacity", {}).get("used", 0)),
        )

    @property
    def uri(self) -> str:
        """What to give as a store, with a folder in it: the namespace, with the ports of the proxy and the worker."""
        ports = self.plan.ports
        return f"alluxio://localhost:{ports.master}/?proxy={ports.proxy}&worker={ports.worker_web}"

    @property
    def s3(self) -> str:
        """The S3 endpoint of the proxy."""
        return f"http://localhost:{self.plan.ports.proxy}/api/v1/s3"

    def node(self, name: str) -> Node:
        """Return one of the processes: ``master``, ``worker`` or ``proxy``."""
        return self._nodes[name]

    def _serves(self) -> bool:
        ports = self.plan.ports
        master = self._info("master", ports.master_web)
        workers = (master or {}).get("workers", [])
        return (
            any(worker.get("state") == "ACTIVE" for worker in workers)
            and self._info("worker", ports.worker_web) is not None
            and self._info("proxy", ports.proxy) is not None
        )

    @staticmethod
    def _info(name: str, port: int) -> dict[str, Any] | None:
        try:
            return ask("localhost", port, name, patience=_ANSWER) or None
        except requests.RequestException:
            return None

    def _log(self, name: str) -> Path:
        return self.plan.folder / "logs" / f"{name}.out"

    # -- stopping ------------------------------------------------------------------------------------------------------

    def restart(self, name: str) -> None:
        """End one of the processes, if it still runs, start it anew, and wait until all serve.

        Parameters
        ----------
        name
            ``master``, ``worker`` or ``proxy``.

        Raises
        ------
        Unavailable
            When it ends or does not answer; the sentence names its log.
        """
        base = self._command(java(), class_path(lambda _: None))
        with _held(self.plan.folder):
            stop(self._nodes[name])
            self._begin(name, base)
            self._await()

    def stop(self) -> None:
        """End its processes; what it keeps in its folder stays. A second call does nothing."""
        with _held(self.plan.folder):
            self._end()

    def _end(self) -> None:
        # The proxy first, which uses the others; the master last, to which the worker says goodbye.
        for name in ("proxy", "worker", "master"):
            if name in self._nodes:
                stop(self._nodes[name])
        (self.plan.folder / _STATE).unlink(missing_ok=True)

    def _save(self) -> None:
        record = {"plan": self.plan.record(), "nodes": {name: asdict(node) for name, node in self._nodes.items()}}
        _write_private(self.plan.folder / _STATE, json.dumps(record, indent=2))


def _mark(plan: ClusterPlan) -> Path:
    """Return the file that says that there is a journal, and of which under-store."""
    return plan.folder / "journal" / _FORMATTED


def _check_under_store(plan: ClusterPlan) -> None:
    """Refuse another under-store: Alluxio would take the journal's files for removed, and forget them without a word."""
    mark = _mark(plan)
    before = mark.read_text(encoding="utf-8") if mark.exists() else ""
    if before not in ("", plan.root):
        raise InvalidArgument(
            f"the Alluxio in {plan.folder} has its files in {before}, not in {plan.root}: give the --under-store and the "
            "--option of its first start again, or another --folder"
        )


def _command(verb: str, folder: Path) -> str:
    """Return the command about the one in a folder, such that it can be copied."""
    place = [] if folder == default_folder() else ["--folder", str(folder)]
    return shlex.join(["alluxio-lance", "alluxio", verb, *place])


def _where(plan: ClusterPlan) -> list[str]:
    # The properties go by a file: a command line, with the keys of an object store in it, is seen by everybody.
    home = plan.folder
    folders = {"home": home, "conf.dir": home / "conf", "site.conf.dir": home / "conf", "logs.dir": home / "logs"}
    return [f"-Dalluxio.{key}={folder}" for key, folder in folders.items()]


def _as_text(found: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in found.items())


def _write_private(path: Path, text: str) -> None:
    """Write a file whole, that only this user can read."""
    part = path.with_name(f"{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123 - only open takes a descriptor
        out.write(text)
    part.replace(path)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:])


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Let one process start or stop the Alluxio of a folder at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
