"""Which edition of Alluxio answers: 2.9 has a master with a namespace and blocks, DORA (300 and later) has neither."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import requests

from alluxio_lance.errors import Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.information import ask
from alluxio_lance.files.reasons import reason

__all__ = ["Edition", "detect", "edition_of"]

_FIRST_DORA: Final = 300
_LACKS: Final = ("free", "mount", "block files")
"""What DORA does without: its workers keep pages, not blocks, and nobody can be told to drop or to mount anything."""
_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """The Alluxio that answers."""

    version: str
    """As it says itself: ``2.9.6``, ``313``."""
    dora: bool
    lacks: tuple[str, ...]
    """What we can use in other editions and not in this one, in words: ``free``, ``mount``, ``block files``."""


def detect(address: AlluxioAddress) -> Edition:
    """Ask the proxy.

    Raises
    ------
    Unavailable
        When it does not answer, or not as a proxy of Alluxio whose REST service is on.
    """
    where = f"the proxy of Alluxio at {address.host}:{address.proxy}"
    try:
        told = ask(address.host, address.proxy, "proxy", patience=_PATIENCE)
    except requests.RequestException as error:
        raise Unavailable(
            f"{where} does not answer ({reason(error)}): is it up? See `alluxio-lance alluxio status`",
            what="alluxio",
        ) from error
    version = (told or {}).get("version")
    if not isinstance(version, str) or not version:
        raise Unavailable(
            f"{where} does not tell its version: start it with alluxio.proxy.s3.v2.version.enabled=false, since the "
            "second version of its S3 service swallows every other call",
            what="alluxio",
        )
    return edition_of(version)


def edition_of(version: str) -> Edition:
    """Tell the edition by its version."""
    number = re.match(r"\d+", version)
    dora = number is not None and int(number[0]) >= _FIRST_DORA
    return Edition(version=version, dora=dora, lacks=_LACKS if dora else ())
