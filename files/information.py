"""What a process of Alluxio says of itself, over its web port."""

from __future__ import annotations

from typing import Any, Final

import requests

__all__ = ["ask"]

_OK: Final = 200


def ask(host: str, port: int, name: str, *, patience: float) -> dict[str, Any] | None:
    """Ask a process for its information: version, configuration, and what only it knows.

    Parameters
    ----------
    host, port
        Where its web port is; a proxy has only one.
    name
        ``master``, ``worker`` or ``proxy``.
    patience
        Seconds to wait for an answer.

    Returns
    -------
    dict or None
        None when what answers there tells nothing of the kind.

    Raises
    ------
    requests.RequestException
        When nothing answers; `alluxio_lance.files.reasons.reason` says why in a few words.
    """
    with requests.Session() as session:
        # What an HTTP proxy of the site would answer is not Alluxio's.
        session.trust_env = False
        answer = session.get(f"http://{host}:{port}/api/v1/{name}/info", timeout=patience, allow_redirects=False)
    try:
        told = answer.json() if answer.status_code == _OK else None
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
