"""The parts of an expression that must all hold: cut at the ``&&`` that stand in no bracket and no text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["conjuncts"]

_SIGN: Final = re.compile(r"""[rRbB]{0,2}(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|&&|\|\||.""", re.DOTALL)


def conjuncts(text: str) -> list[str]:
    """Cut an expression; it stays whole where ``||`` or ``?`` stands beside the ``&&``, which bind less tightly."""
    parts: list[str] = [""]
    for sign, depth in _signs(text):
        if depth == 0 and sign in ("||", "?"):
            return [text]
        if depth == 0 and sign == "&&":
            parts.append("")
        else:
            parts[-1] += sign
    if len(parts) == 1:
        inner = _unwrapped(text)
        return [text] if inner is None else conjuncts(inner)
    return [piece for part in parts for piece in conjuncts(part)]


def _signs(text: str) -> Iterator[tuple[str, int]]:
    """Yield the signs and texts, each with how many brackets are open around it; a bracket is inside itself."""
    depth = 0
    for match in _SIGN.finditer(text):
        sign = match[0]
        depth += sign in ("(", "[", "{")
        yield sign, depth
        depth -= sign in (")", "]", "}")


def _unwrapped(text: str) -> str | None:
    """Return what is inside the brackets around a whole expression; None when there are none around all of it."""
    bare = text.strip()
    if not bare.startswith("(") or not bare.endswith(")"):
        return None
    signs = list(_signs(bare))
    closed = next((index for index, each in enumerate(signs) if each == (")", 1)), -1)
    return bare[1:-1] if closed == len(signs) - 1 else None
