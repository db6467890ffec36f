"""From which addresses keys may be fetched."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.rules import RuleSet

__all__ = ["check_issuers", "is_safe_url"]

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def is_safe_url(url: str) -> bool:
    """Tell whether keys may be fetched from a URL: over TLS, or from this very host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


def check_issuers(rules: RuleSet) -> None:
    """Check that the keys of every issuer come from where nobody can exchange them.

    Raises
    ------
    InvalidArgument
        With the place of every address that does not.
    """
    faults = [
        f"access.issuers[{index}].{key}: {url!r} is no https address (http only on this host)"
        for index, issuer in enumerate(rules.access.issuers)
        for key, url in (("issuer", issuer.issuer), ("jwks", issuer.jwks))
        if url is not None and not is_safe_url(url)
    ]
    if faults:
        raise InvalidArgument("the rules have faults:\n  " + "\n  ".join(faults), faults=faults)
