"""Started between the server and a foreign program: sets its limits, drops its rights, and becomes it.

Arguments: the limits as JSON, then the program with its own arguments. It is run by its path with ``python -I -S`` and
imports nothing of ours: after a fork of a process with threads nothing may run in Python, and here nothing needs to.
Its own failures end with 125, so that they cannot be taken for the program's answer.
"""

import ctypes
import json
import os
import resource
import sys

# What `os.execvpe` imports by itself, when this process may no longer be able to read the folder of its own Python.
import warnings  # noqa: F401

FAILED = 125
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _drop(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(limits: dict[str, int], command: list[str]) -> int:
    """Become the program; returns only when that fails."""
    try:
        if "uid" in limits:
            _drop(limits["uid"], limits["gid"])
            # Only there: for the server's own user it would count the server's threads too.
            _limit(resource.RLIMIT_NPROC, limits["processes"])
        ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, limits["files"])
        _limit(resource.RLIMIT_FSIZE, limits["file_size"])
        _limit(resource.RLIMIT_CPU, limits["cpu"])
        os.umask(0o077)
        _limit(resource.RLIMIT_AS, limits["memory"])
        os.execvpe(command[0], command, os.environ)  # noqa: S606 - becoming a program that an admin named is the point
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not the program's answer
        sys.stderr.write(f"{command[0]}: {error}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
