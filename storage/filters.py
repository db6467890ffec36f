"""What a filter may say: an expression over the columns of a table, from a list of words that can do no harm.

Lance gives filters to DataFusion, which stops its whole process when an expression is nested very deeply
(``1+1+…`` a thousand times) or makes very large values (``repeat(text, 100000000)``), and it ignores what stands behind
a semicolon. So an expression is read here first, word by word, and refused unless it is short and made of known parts.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["FUNCTIONS", "LONGEST", "MOST_STEPS", "Filter", "read_filter"]

LONGEST: Final = 64 << 10
"""Characters; enough for a list of some thousand keys."""
MOST_STEPS: Final = 128
"""Operators and brackets; the recursion of DataFusion ends the process somewhere above 800."""
FUNCTIONS: Final = frozenset(
    {
        *("abs", "exp", "isnan", "ln", "log10", "power", "round", "sqrt"),
        *("btrim", "char_length", "character_length", "contains", "ends_with", "left", "length", "lower", "ltrim"),
        *("octet_length", "regexp_like", "right", "rtrim", "starts_with", "strpos", "upper"),
        *("date_part", "date_trunc"),
        *("array_contains", "array_has", "array_has_all", "array_has_any", "array_length", "cardinality", "make_array"),
        *("cast", "coalesce", "nullif"),
    }
)
"""Always the same for the same row, and never much larger than what goes in."""
_STEPS: Final = frozenset({"and", "between", "ilike", "in", "is", "like", "not", "or"})
"""Words that do something."""
_OTHERS: Final = frozenset({"as", "date", "distinct", "escape", "false", "from", "null", "timestamp", "true"})
_KEYWORDS: Final = _STEPS | _OTHERS
_CALLABLE: Final = FUNCTIONS | _KEYWORDS | {"decimal"}
"""What may stand before a bracket; decimal is a type with arguments."""
_MOST_DIGITS: Final = 38
"""Of a decimal: more, or a scale below 0, end the thread of Lance that evaluates it."""
_LONGEST_LIST: Final = 1000
_BRACKET: Final = re.compile(r"\s*\(")
# Numbers are taken whole (?>…): to try all their cuts would keep the whole process busy for minutes.
_WORDS: Final = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<comment>--|/\*)
    | (?P<text>[xX]?'(?:[^']|'')*')
    | (?P<number>(?>\d+\.?\d*|\.\d+)(?>[eE][+-]?\d+)?(?![\w.]))
    | (?P<quoted>`[^`]+`)
    | (?P<name>[^\W\d]\w*)
    | (?P<operator><=|>=|<>|!=|==|[-+*/%<>=])
    | (?P<mark>[(),.\[\]])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression that may be evaluated."""

    text: str
    columns: tuple[str, ...]
    """The columns whose values it needs, as far as their names tell."""


def read_filter(text: str, columns: Collection[str]) -> Filter:
    """Check an expression; whether its types fit is left to Lance.

    Parameters
    ----------
    columns
        The columns of the table.

    Raises
    ------
    InvalidArgument
        When it is empty, too long, or has a part that is not on the list; the message shows the place.
    """
    if not text.strip():
        raise InvalidArgument("the filter is empty - give an expression such as: label = 3 AND split = 'train'")
    if len(text) > LONGEST:
        raise InvalidArgument(
            f"the filter has {len(text)} characters and may have {LONGEST} - choose the rows by their numbers instead (take)"
        )
    known = {column.lower() for column in columns}
    names: set[str] = set()
    steps, before = 0, ""
    last: deque[str] = deque(maxlen=4)
    for kind, word, called, at in _read(text):
        lower = word.strip("`").lower()
        steps += kind == "operator" or word in ("(", "[") or (kind == "name" and lower in _STEPS)
        if called and (kind == "quoted" or (kind == "name" and lower not in _CALLABLE)):
            raise _refused(f"calls {word}; it may call {', '.join(sorted(FUNCTIONS))}", text, at)
        # Behind a point stands a field of a struct, behind AS a type.
        is_name = kind == "quoted" or (kind == "name" and not called and lower not in _KEYWORDS)
        if is_name and before not in (".", "as"):
            if lower not in known:
                raise _refused(f"asks for {word}, which is no column; its columns are {_listed(columns)}", text, at)
            names.add(lower)
        if _is_impossible_decimal([*last, lower]):
            raise _refused(
                f"has an impossible decimal: its digits are at most {_MOST_DIGITS}, its scale at least 0", text, at
            )
        before = lower
        last.append(lower)
    if steps > MOST_STEPS:
        raise InvalidArgument(
            f"the filter has {steps} operators and brackets and may have {MOST_STEPS} - compare with a list (IN) instead of "
            "with one value at a time, or choose the rows by their numbers (take)"
        )
    return Filter(text, tuple(column for column in columns if column.lower() in names))


def _read(text: str) -> Iterator[tuple[str, str, bool, int]]:
    """Cut into words: kind, word, whether it is called as a function, and where it stands."""
    at = 0
    while at < len(text):
        found = _WORDS.match(text, at)
        if found is None or found.lastgroup == "comment":
            raise _refused(_reason(text[at]), text, at)
        word, at = found.group(), found.end()
        assert found.lastgroup is not None
        if found.lastgroup != "space":
            yield found.lastgroup, word, _BRACKET.match(text, at) is not None, found.start()


def _is_impossible_decimal(words: list[str]) -> bool:
    """Look at the last words: ``decimal (39`` or ``decimal (9, -``."""
    if words[-3:-1] == ["decimal", "("]:
        return len(words[-1]) > len(str(_MOST_DIGITS)) or (words[-1].isdecimal() and int(words[-1]) > _MOST_DIGITS)
    return words[-5:-3] == ["decimal", "("] and words[-1] == "-"


def _reason(character: str) -> str:
    if character == '"':
        return "has a double quote; text stands in single quotes, a column's name in `backticks` where it needs any"
    if character == "'":
        return "has a text that does not end"
    if character.isdigit():
        return "has a number that is none"
    return "has a sign that no filter needs"


def _listed(columns: Collection[str]) -> str:
    joined = ", ".join(columns)
    return joined if len(joined) <= _LONGEST_LIST else f"{joined[:_LONGEST_LIST]}…"


def _refused(what: str, text: str, at: int) -> InvalidArgument:
    shown = text[max(0, at - 20) : at + 20]
    return InvalidArgument(f"the filter {what} - at character {at + 1}: …{shown}…")
