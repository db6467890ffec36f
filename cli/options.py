"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

__all__ = ["Json", "Message", "Metadata", "MetadataFile", "RequestId", "Selected", "SelectorArgument", "Target"]

Target = Annotated[
    str, Argument(metavar="TYPE/NAME", help="The resource, such as datasets/cifar10.", show_default=False)
]
Selected = Annotated[
    str,
    Argument(
        metavar="TYPE/NAME[@VERSION]",
        help="The resource and, if need be, one of its versions: datasets/cifar10@1.4, or an alluxio:// URI.",
        show_default=False,
    ),
]
SelectorArgument = Annotated[
    str | None,
    Argument(metavar="VERSION", help="1.4.0, 1.4, v7 or sha-3fa9c1d2; also TYPE/NAME@VERSION.", show_default=False),
]
Json = Annotated[bool, Option("--json", help="Print one JSON document and nothing else.")]
Message = Annotated[str, Option("--message", "-m", help="Why; it stands in the history.", show_default=False)]
RequestId = Annotated[
    str | None,
    Option("--request-id", help="A second run with the same id returns the first one's result.", show_default=False),
]
Metadata = Annotated[
    list[str] | None,
    Option("--metadata", metavar="KEY=VALUE", help="Metadata, VALUE as JSON or text; repeat it.", show_default=False),
]
MetadataFile = Annotated[
    Path | None,
    Option("--metadata-file", metavar="FILE", help="Metadata from a file with a JSON object.", show_default=False),
]
