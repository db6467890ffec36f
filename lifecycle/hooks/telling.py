"""The ways to tell somebody: a signed POST, a program, a function. They meet in a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from alluxio_lance.lifecycle.gates.posting import Post, Undelivered, send
from alluxio_lance.lifecycle.gates.python import call_within, installed
from alluxio_lance.lifecycle.gates.reporting import short
from alluxio_lance.lifecycle.gates.sandbox import Limits, NotStarted, run_confined
from alluxio_lance.lifecycle.rules.document import Hook

__all__ = ["HOOK_GROUP", "Untold", "Wait", "tell"]

HOOK_GROUP: Final = "alluxio_lance.hooks"
_MEMORY: Final = 1 << 30

Wait = Callable[[float], bool]
"""Waits for some seconds; True when there is no time left to try again."""


class Untold(Exception):
    """It could not be told; the text says why."""


def tell(hook: Hook, news: Mapping[str, Any], wait: Wait) -> None:
    """Tell somebody.

    Raises
    ------
    Untold
        When nobody took it, after all retries.
    """
    _WAYS[hook.kind](hook, news, wait)


def _post(hook: Hook, news: Mapping[str, Any], wait: Wait) -> None:
    post = Post(
        url=hook.url or "",
        body=json.dumps({"hook": hook.name, **news}).encode(),
        secret_env=hook.secret_env,
        timeout=hook.timeout.total_seconds(),
        retries=hook.retries,
        allow_private=hook.allow_private,
    )
    try:
        send(post, wait=wait)
    except Undelivered as error:
        raise Untold(str(error)) from None


def _run(hook: Hook, news: Mapping[str, Any], _wait: Wait) -> None:
    limits = Limits(seconds=hook.timeout.total_seconds(), memory=_MEMORY, environment={})
    try:
        ran = run_confined(hook.command, json.dumps({"hook": hook.name, **news}).encode(), limits)
    except (NotStarted, OSError) as error:
        raise Untold(f"{hook.command[0]} could not be started: {short(error)}") from None
    if ran.timed_out or ran.code:
        ending = f"took more than {limits.seconds:g} s" if ran.timed_out else f"ended with {ran.code}"
        raise Untold(f"{hook.command[0]} {ending}: {short(ran.errors)}")


def _call(hook: Hook, news: Mapping[str, Any], _wait: Wait) -> None:
    name = hook.function or ""
    try:
        call_within(hook.timeout.total_seconds(), installed(HOOK_GROUP, name), {"hook": hook.name, **news})
    except TimeoutError:
        raise Untold(f"{name} took more than {hook.timeout.total_seconds():g} s") from None
    except Exception as error:  # noqa: BLE001 - a hook is foreign code: whatever it raises is reported
        raise Untold(f"{name} raised {type(error).__name__}: {short(error)}") from None


_WAYS: Final[dict[str, Callable[[Hook, Mapping[str, Any], Wait], None]]] = {
    "webhook": _post,
    "command": _run,
    "python": _call,
}
