"""Expressions of gates and automations: CEL, the Common Expression Language, over JSON values.

Numbers of the data are doubles throughout, so that a metric means the same whether somebody wrote ``1`` or ``1.0``. CEL
compares a double with an integer, but adds only doubles to doubles: ``metrics.loss + 0.5``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cel

from alluxio_lance.lifecycle.rules.conjuncts import conjuncts

__all__ = ["Expression", "Faulty", "Seen", "plain"]

_LONGEST: Final = 2000
_SHOWN: Final = 200
_FUNCTIONS: Final = frozenset({
    "bytes", "contains", "double", "duration", "dyn", "endsWith", "getDate", "getDayOfMonth", "getDayOfWeek",
    "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "int",
    "matches", "size", "startsWith", "string", "timestamp", "type", "uint",
})  # fmt: skip
_MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
_TOKEN: Final = re.compile(
    r"""(?P<text>[rRbB]{0,2}(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<path>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*|\s*\[\s*(?:"[^"\\\]]*"|'[^'\\\]]*'|\d+)\s*\])*)"""
    r"""|(?P<number>\d[\w.]*)""",
    re.DOTALL,
)
_PART: Final = re.compile(r"""\.\s*([A-Za-z_]\w*)|\[\s*(?:"([^"]*)"|'([^']*)'|(\d+))\s*\]|^([A-Za-z_]\w*)""")

Path = tuple[str | int, ...]


class Faulty(Exception):
    """An expression that cannot be read, or gives no answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an expression gave, and the values that it saw."""

    expression: str
    holds: bool
    values: Mapping[str, Any]
    note: str = ""
    """Why it holds without having been compared; why it gave no answer."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    Raises
    ------
    Faulty
        When it is no CEL, or names a variable or a function that there is not.
    """

    text: str
    names: Iterable[str]
    """The variables that it may use."""
    paths: tuple[Path, ...] = field(init=False)
    """What it reads, as far as its text tells: ``("metrics", "accuracy")``."""
    _program: cel.Program = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_program", _compile(self.text, frozenset(self.names)))
        object.__setattr__(self, "paths", tuple(_paths(self.text, frozenset(self.names))))

    def uses(self, name: str) -> bool:
        """Tell whether it reads a variable."""
        return any(path[0] == name for path in self.paths)

    def ask(self, values: Mapping[str, Any]) -> Seen:
        """Evaluate it.

        Without a ``current`` version (its value is None) a comparison with one holds: there is nothing that the new
        version could be worse than. What else the expression reads must be there all the same, and hold.

        Raises
        ------
        Faulty
            When it gives no answer, or another one than true or false.
        """
        data = {name: doubles(values[name]) for name in values}
        seen = {_spell(path): plain(_look(data, path)) for path in self.paths}
        try:
            answer = self._program.execute(data)
        except Exception as error:  # noqa: BLE001 - the library raises whatever fits: each means that there is no answer
            if self.uses("current") and data.get("current") is None and self._holds_alone(data):
                return Seen(self.text, holds=True, values=seen, note="there is no current version to compare with")
            raise Faulty(f"{self._reason(error, data)}; it saw {_brief(seen)}") from None
        if not isinstance(answer, bool):
            raise Faulty(f"it gives {plain(answer)!r}, not true or false")
        return Seen(self.text, holds=answer, values=seen)

    def _holds_alone(self, data: dict[str, Any]) -> bool:
        """Tell whether only the comparison with a version that there is not stands in the way of an answer.

        In CEL an error beside a true part is an error, whichever part it came from: so each part is asked by itself, and
        one that compares, with the version in place of the one that there is not, must at least go together with it.
        """
        return not self._missing(data) and all(_is_sound(part, data) for part in conjuncts(self.text))

    def _missing(self, data: Mapping[str, Any]) -> list[str]:
        return [_spell(path) for path in self.paths if path[0] != "current" and _look(data, path) is _ABSENT]

    def _reason(self, error: Exception, data: Mapping[str, Any]) -> str:
        if isinstance(error, KeyError):
            missing = [_spell(path) for path in self.paths if _look(data, path) is _ABSENT]
            return f"there is no {', '.join(missing) or error}"
        if isinstance(error, TypeError):
            return "the kinds of its values do not go together (numbers are doubles: write 1.0 beside + - * /, not 1)"
        return str(error).partition("\n")[0]


def _is_sound(part: str, data: dict[str, Any]) -> bool:
    compares = any(path[0] == "current" for path in _paths(part, frozenset(data)))
    try:
        answer = cel.compile(part).execute({**data, "current": data} if compares else data)
    except (KeyError, IndexError):
        return compares
    except Exception:  # noqa: BLE001 - as above: whatever it is, there is no answer
        return False
    return compares or answer is True


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT: Final = _Absent()


def doubles(value: Any) -> Any:
    """Copy JSON values with every number as a double.

    Raises
    ------
    Faulty
        When a number is too large for one.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise Faulty("a number is too large to be compared") from None
    if isinstance(value, Mapping):
        return {key: doubles(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [doubles(each) for each in value]
    return value


def plain(value: Any) -> Any:
    """Turn a value into JSON that every database keeps: finite, short, whole numbers as such."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {plain(each)}" for key, each in list(value.items())[:20])
        return f"{{{text}}}"[:_SHOWN]
    return str(value)[:_SHOWN]


def _compile(text: str, names: frozenset[str]) -> cel.Program:
    if len(text) > _LONGEST:
        raise Faulty(f"it has {len(text)} characters, and {_LONGEST} are allowed")
    try:
        program = cel.compile(text)
    except ValueError as error:
        reason = next((line for line in str(error).splitlines() if "ERROR:" in line), str(error))
        raise Faulty(f"it is no CEL expression: {reason.partition('ERROR: ')[2] or reason}"[:_SHOWN]) from None
    bound = set(re.findall(rf"\.\s*(?:{'|'.join(_MACROS)})\s*\(\s*([A-Za-z_]\w*)\s*,", text))
    if unknown := set(program.variables()) - names - bound:
        raise Faulty(f"there is no {', '.join(sorted(unknown))}: it may use {', '.join(sorted(names))}")
    called = {name for name in program.functions() if name.isidentifier()}
    if strange := called - _FUNCTIONS:
        raise Faulty(f"there is no function {', '.join(sorted(strange))}: there are {', '.join(sorted(_FUNCTIONS))}")
    if not names & set(program.variables()):
        raise Faulty(f"it reads nothing: use {', '.join(sorted(names))}")
    return program


def _paths(text: str, names: frozenset[str]) -> Iterable[Path]:
    found: dict[Path, None] = {}
    end = 0
    while match := _TOKEN.search(text, end):
        end = match.end()
        if match["path"] is None:
            continue
        parts = [_part(each) for each in _PART.finditer(match["path"])]
        if text[end:].lstrip().startswith("(") and len(parts) > 1:
            parts.pop()  # a method's name
        preceded = text[: match.start()].rstrip()
        if parts[0] in names and not preceded.endswith("."):
            found[tuple(parts)] = None
    return found


def _part(match: re.Match[str]) -> str | int:
    attribute, double, single, index, first = match.groups()
    if index is not None:
        return int(index)
    return next(each for each in (attribute, double, single, first) if each is not None)


def _look(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return data


def _spell(path: Path) -> str:
    first, *others = path
    return str(first) + "".join(
        f".{part}" if isinstance(part, str) and part.isidentifier() else f"[{part!r}]" for part in others
    )


def _brief(seen: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in seen.items()) or "nothing"
