"""The token that the environment names: who has one is known by it and not by his user. Loads no gRPC."""

from __future__ import annotations

import os
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["TOKEN", "find_token"]

TOKEN: Final = "ALLUXIO_LANCE_TOKEN"  # noqa: S105 - the name of a variable


def find_token() -> str | None:
    """Read ``ALLUXIO_LANCE_TOKEN``; None when there is none.

    Raises
    ------
    InvalidArgument
        When it cannot be a token.
    """
    token = os.environ.get(TOKEN, "").strip()
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidArgument(f"{TOKEN} holds no token: it has spaces or letters that none has - set it anew")
    return token or None
