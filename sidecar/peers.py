"""Who talks to the sidecar: processes of this node, known by what the kernel says about their connection to the door."""

from __future__ import annotations

import os
import pwd
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alluxio_lance.errors import InvalidArgument, PermissionDenied
from alluxio_lance.lifecycle.access.users import is_owner, name_of

__all__ = ["Peer", "Peers"]

_LONGEST_COMMAND: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process at the other end of a connection to the door."""

    session: str
    """32 hexadecimal digits: its proof of identity in gRPC."""
    pid: int
    uid: int
    user: str
    command: str
    """Its command line, shortened."""

    @property
    def title(self) -> str:
        """Names it in refusals."""
        return f"process {self.pid} of {self.user} ({self.command or 'unknown command'})"

    @property
    def trusted_with_paths(self) -> bool:
        """Whether the sidecar may read files on its behalf: the same user as the sidecar, or root."""
        return is_owner(self.uid)

    def may_touch(self, uid: int) -> bool:
        """Whether this peer may act on what a process of ``uid`` opened."""
        return self.uid in (0, uid)


class Peers:
    """The sessions: each is valid while the connection to the door that made it is open.

    Parameters
    ----------
    allow_users
        Names or numbers of users who may connect, beside the sidecar's own user and root.

    Raises
    ------
    InvalidArgument
        When there is no user of such a name.
    """

    def __init__(self, allow_users: Iterable[str] = ()) -> None:
        self._allowed = {0, os.geteuid(), *map(_uid_of, allow_users)}
        self._sessions: dict[str, Peer] = {}
        self._shown: dict[str, str] = {}
        self._lock = threading.Lock()

    def serves(self, uid: int) -> bool:
        """Say whether a user may connect."""
        return uid in self._allowed

    def enter(self, pid: int, uid: int) -> Peer:
        """Begin a session for a process.

        Raises
        ------
        PermissionDenied
            When its user may not connect.
        """
        if not self.serves(uid):
            raise PermissionDenied(
                f"the sidecar of user {name_of(os.geteuid())} does not serve {name_of(uid)} - ask its owner to name "
                "that user in allow_users (ALLUXIO_LANCE_ALLOW_USERS)"
            )
        peer = Peer(session=secrets.token_hex(16), pid=pid, uid=uid, user=name_of(uid), command=_command_of(pid))
        with self._lock:
            self._sessions[peer.session] = peer
        return peer

    def leave(self, session: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(session, None)
            self._shown.pop(session, None)

    def show(self, session: str, header: str) -> None:
        """Note the authorization header of a call of a session."""
        with self._lock:
            if session in self._sessions:
                self._shown[session] = header

    def shown_by(self, pid: int) -> set[str]:
        """Return the authorization headers that a process has shown last, in its sessions that are open."""
        with self._lock:
            return {header for session, header in self._shown.items() if self._sessions[session].pid == pid}

    def find(self, session: str | None) -> Peer:
        """Return whose session it is.

        Raises
        ------
        PermissionDenied
            When it is nobody's, or the connection that made it is closed.
        """
        with self._lock:
            peer = self._sessions.get(session or "")
        if peer is None:
            what = "the call carries no session" if session is None else "the session is unknown or has ended"
            raise PermissionDenied(
                f"{what} - say hello at the door (door.sock in the run folder), keep that connection open, and send "
                "its session as the metadata entry alluxio-lance-session"
            )
        return peer


def _uid_of(user: str) -> int:
    if user.isascii() and user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise InvalidArgument(
            f"allow_users (ALLUXIO_LANCE_ALLOW_USERS) names {user!r}, and this node has no such user - correct the "
            "name, or give the number"
        ) from None


def _command_of(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        # The process of another user under hidepid, or one that has ended meanwhile.
        return ""
    text = raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    return text if len(text) <= _LONGEST_COMMAND else f"{text[: _LONGEST_COMMAND - 1]}…"
