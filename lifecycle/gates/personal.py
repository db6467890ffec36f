"""Personal data in texts: patterns, each with the check that tells a number of that kind from any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["KINDS", "Kind", "count_personal"]

_LONGEST: Final = 64 << 10
"""Characters of one value that are looked at."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of personal data."""

    name: str
    pattern: re.Pattern[str]
    """Without nested repetition, so that no text can make it slow."""
    check: Callable[[str], bool]


def _any(_text: str) -> bool:
    return True


def _luhn(text: str) -> bool:
    """Check a card number: prefix of a card network, and the sum of Luhn (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:  # noqa: PLR2004 - ISO/IEC 7812
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    """Check an account number: its length, and its remainder by 97 (ISO 13616)."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:  # noqa: PLR2004 - ISO 13616
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _phone(text: str) -> bool:
    digits = [character for character in text if character.isdigit()]
    return 9 <= len(digits) <= 15 and len(set(digits)) > 2  # noqa: PLR2004 - ITU-T E.164


KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        "e-mail address",
        re.compile(
            r"(?<![\w.+-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])", re.ASCII
        ),
        _any,
    ),
    Kind("card number", re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-]|\.\d|[ -]\d)", re.ASCII), _luhn),
    Kind("IBAN", re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Z0-9])", re.ASCII), _iban),
    Kind(
        "US social security number",
        # Not 000, 666 or 9xx; no group of zeros alone (SSA).
        re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])", re.ASCII),
        _any,
    ),
    Kind(
        "phone number",
        # With a country code, or in the American form: bare digits may be anything.
        re.compile(
            r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
            r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}-\d{3}-\d{4})(?![\w-])",
            re.ASCII,
        ),
        _phone,
    ),
)


def count_personal(values: Iterable[str]) -> dict[str, int]:
    """Count, by kind, the values that hold personal data of it."""
    found: dict[str, int] = {}
    for value in values:
        text = value[:_LONGEST]
        for kind in KINDS:
            if any(kind.check(match[0]) for match in kind.pattern.finditer(text)):
                found[kind.name] = found.get(kind.name, 0) + 1
    return found
