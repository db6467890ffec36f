"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

__all__ = [
    "Bump",
    "Json",
    "Message",
    "Metadata",
    "MetadataFile",
    "NoWait",
    "PromotionId",
    "Reason",
    "RequestId",
    "Selected",
    "SelectorArgument",
    "Target",
    "Yes",
]

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
    Argument(
        metavar="VERSION",
        help="1.4.0, 1.4, v7, sha-3fa9c1d2, a stage, a tag or a branch; also TYPE/NAME@VERSION.",
        show_default=False,
    ),
]
PromotionId = Annotated[
    str,
    Argument(
        metavar="PROMOTION",
        help="Its id, or the first eight digits: see `promotions --state waiting`.",
        show_default=False,
    ),
]
Json = Annotated[bool, Option("--json", help="Print one JSON document and nothing else.")]
Message = Annotated[str, Option("--message", "-m", help="Why; it stands in the history.", show_default=False)]
Reason = Annotated[
    str, Option("--reason", "--message", "-m", help="Why; it stands in the history.", show_default=False)
]
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
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]
NoWait = Annotated[
    bool, Option("--no-wait", help="Do not wait for an archived version to come back: start that, say how far it is.")
]
Bump = Annotated[
    Literal["major", "minor", "patch"] | None,
    Option(
        "--bump",
        metavar="NUMBER",
        help="major, minor or patch grows, where the change shall not decide.",
        show_default=False,
    ),
]
