"""Real database servers in folders of their own: for the catalog's tests and for its benchmark.

Nothing of the machine's own database servers is touched. The servers forgo fsync (the folder is thrown away), but
write each commit to the kernel: what they acknowledged survives ``kill -9``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

import sqlalchemy as sa

from alluxio_lance.errors import Unavailable

__all__ = ["SERVERS", "MariaDB", "PostgreSQL", "Server"]

_PATIENCE: Final = 60.0
"""Seconds that a server may take to start or to stop."""


class Server(ABC):
    """A database server in a folder under the system's temporary one, which goes away with it.

    Raises
    ------
    Unavailable
        When its programs are not installed; the message names the Debian package.
    """

    package: ClassVar[str]
    """The Debian package that brings the programs."""
    user: ClassVar[str]
    """The system user that the server runs as when root starts it; both refuse to run as root."""
    programs: ClassVar[tuple[str, ...]]
    places: ClassVar[str]
    """Where the programs lie when they are not on the path: a pattern below ``/usr``."""

    def __init__(self) -> None:
        if absent := self.absent():
            raise Unavailable(f"{' and '.join(absent)} not found: apt-get install {self.package}", what=self.package)
        # Short: the path of a Unix socket has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="al-db-"))
        self._port = _free_port()
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        if _is_root():
            shutil.chown(self._folder, self.user, self.user)
        self._prepare()
        self.start()

    @classmethod
    def absent(cls) -> list[str]:
        """Name the programs that are not installed."""
        return [name for name in cls.programs if _program(name, cls.places) is None]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        deadline = time.monotonic() + _PATIENCE
        while not self._starts(deadline):
            # After a kill the last of the old processes may still hold the memory.
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.package} did not start: {self._log()[-2000:]}", what=self.package)
            time.sleep(0.05)

    def _starts(self, deadline: float) -> bool:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(self._command()), cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.02)
        return False

    def kill(self) -> None:
        """End the server and all its processes as ``kill -9`` does."""
        process = self._process
        if process is None:
            return
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        for pid in [process.pid, *map(int, children)]:
            _kill(pid)
        process.wait(_PATIENCE)
        self._process = None

    def close(self) -> None:
        """Stop the server in good order and remove its folder; a second call does nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if isinstance(self, PostgreSQL) else signal.SIGTERM)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create(self) -> str:
        """Make an empty database and return its URL."""
        self._count += 1
        name = f"catalog{self._count}"
        self._execute(self._create_statement(name))
        return self._url(name)

    def drop(self, url: str) -> None:
        """Remove a database that `create` made; its connections must be closed."""
        self._execute(f"DROP DATABASE {sa.make_url(url).database}")

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except sa.exc.DBAPIError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        engine = sa.create_engine(self._url(self._own), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def _as_user(self, command: Sequence[str]) -> list[str]:
        """Prefix a command: it runs as the server's user, and dies with this process."""
        become = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"] if _is_root() else []
        return ["setpriv", "--pdeathsig=KILL", *become, *command]

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            self._as_user(command), cwd=self._folder, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
        if done.returncode != 0:
            raise Unavailable(f"{command[0]} failed: {done.stderr[-2000:]}", what=self.package)

    def _log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def _program(self, name: str) -> str:
        return str(_program(name, self.places))

    _own: ClassVar[str]

    @abstractmethod
    def _prepare(self) -> None:
        """Fill the server's folder."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the program that serves, with its arguments."""

    @abstractmethod
    def _url(self, database: str) -> str:
        """Return the catalog URL of a database."""

    @abstractmethod
    def _create_statement(self, name: str) -> str:
        """Return the SQL that makes a database."""


class PostgreSQL(Server):
    """A PostgreSQL server."""

    package = "postgresql"
    user = "postgres"
    programs = ("initdb", "postgres")
    places = "lib/postgresql/*/bin"
    _own = "postgres"

    def _prepare(self) -> None:
        options = ["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        self._run([self._program("initdb"), "-D", f"{self._folder}/data", *options])

    def _command(self) -> list[str]:
        place = ["-D", f"{self._folder}/data", "-k", str(self._folder), "-h", "127.0.0.1", "-p", str(self._port)]
        # Reserved huge pages are for whoever reserved them.
        return [self._program("postgres"), *place, "-F", "-c", "huge_pages=off"]

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/{database}"

    def _create_statement(self, name: str) -> str:
        return f"CREATE DATABASE {name}"


class MariaDB(Server):
    """A MariaDB server."""

    package = "mariadb-server"
    user = "mysql"
    programs = ("mariadb-install-db", "mariadbd")
    places = "sbin"
    _own = "mysql"

    def _prepare(self) -> None:
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        self._run([self._program("mariadb-install-db"), "--no-defaults", f"--datadir={self._folder}/data", *options])

    def _command(self) -> list[str]:
        place = [f"--datadir={self._folder}/data", f"--socket={self._folder}/s", "--bind-address=127.0.0.1"]
        # Written to the kernel at each commit, and never waited for until it is on the disk.
        speed = ["--innodb-flush-log-at-trx-commit=2", "--debug-no-sync", "--skip-name-resolve"]
        return [self._program("mariadbd"), "--no-defaults", *place, f"--port={self._port}", *speed]

    def _url(self, database: str) -> str:
        return f"mariadb+pymysql://root@127.0.0.1:{self._port}/{database}"

    def _create_statement(self, name: str) -> str:
        # Not the collation that the catalog's own columns have: it must not depend on the database's.
        return f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"


SERVERS: Final[Mapping[str, type[Server]]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}


def _is_root() -> bool:
    return os.geteuid() == 0


def _program(name: str, places: str) -> str | None:
    if (found := shutil.which(name)) is not None:
        return found
    return max((str(path) for path in Path("/usr").glob(f"{places}/{name}")), default=None)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
