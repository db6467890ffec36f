"""Text in small letters, of whichever script, on every database: for a search that does not mind the case."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

__all__ = ["FOLDED", "folded"]

FOLDED: Final = "alluxio_lance_folded"
"""What the function is called on SQLite, whose connections bring it; the other databases know it as ``lower``."""


class folded(GenericFunction[str]):  # noqa: N801 - a function of SQL
    """The text in small letters."""

    type = sa.Text()
    inherit_cache = True
    name = FOLDED


@compiles(folded, "mysql", "mariadb")
def _on_mysql(element: folded, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(folded, "postgresql")
def _on_postgresql(element: folded, compiler: Any, **options: Any) -> str:
    # The columns have the collation "C", which knows the letters of ASCII only.
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "und-x-icu")'
