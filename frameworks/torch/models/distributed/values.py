"""What a checkpoint has beside tensors, as JSON that gives it back exactly: numbers, texts, lists, tuples, dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from alluxio_lance.errors import Corrupt, InvalidArgument

__all__ = ["decoded", "encoded"]

_SCALARS: Final = (bool, int, float, str)
_DEEPEST: Final = 50


def encoded(name: str, value: Any, depth: int = 0) -> Any:
    """Write a value down. Scalars and None are themselves, all others stand under the name of their type.

    Raises
    ------
    InvalidArgument
        When it is of another type, whose objects only a pickle could hold; ``name`` says where.
    """
    if depth > _DEEPEST:
        raise InvalidArgument(f"entry {name!r} is nested more than {_DEEPEST} levels deep: flatten it")
    if type(value) is float and value - value != 0:
        # JSON has no numbers for these.
        return {"float": repr(value)}
    if value is None or type(value) in _SCALARS:
        return value
    if type(value) in {list, tuple}:
        kind = type(value).__name__
        return {kind: [encoded(f"{name}[{i}]", each, depth + 1) for i, each in enumerate(value)]}
    if type(value) is dict:
        return {"dict": [[_key(name, key), encoded(f"{name}.{key}", each, depth + 1)] for key, each in value.items()]}
    raise InvalidArgument(
        f"entry {name!r} is a {type(value).__name__}: beside tensors a checkpoint has numbers, texts, None, and lists, tuples "
        "and dicts of them, since nothing is pickled - leave it out, or make it one of these"
    )


def _key(name: str, key: Any) -> Any:
    if type(key) not in {str, int}:
        raise InvalidArgument(f"entry {name!r} has the key {key!r}: keys are texts or whole numbers")
    return key


def decoded(name: str, written: Any) -> Any:
    """Read what `encoded` has written.

    Raises
    ------
    Corrupt
        When it is nothing that it writes.
    """
    if written is None or type(written) in _SCALARS:
        return written
    if isinstance(written, Mapping) and len(written) == 1:
        ((kind, inner),) = written.items()
        try:
            if kind == "float":
                return float(inner)
            if kind == "dict":
                return {key: decoded(name, each) for key, each in inner}
            if kind in {"list", "tuple"}:
                each = [decoded(name, each) for each in inner]
                return each if kind == "list" else tuple(each)
        except (TypeError, ValueError, RecursionError) as error:
            raise _damaged(name) from error
    raise _damaged(name)


def _damaged(name: str) -> Corrupt:
    return Corrupt(f"the notes of the model say of entry {name!r} what no release has written - roll back", entry=name)
