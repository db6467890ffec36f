"""Prints what valgrind found that is ours; run as a script with the folder of its XML files, one of each process.

Wrong accesses and wrong frees count wherever they happen, since whoever uses what the native module gave away would be on
the stack, not the module. What may well be others' counts only with the module on the stack: CPython and numpy leave
memory behind, and load whole words that are not all initialised.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

ANYWHERE = {"InvalidRead", "InvalidWrite", "InvalidJump", "InvalidFree", "MismatchedFree", "Overlap"}
WHOLE_WORDS = ("(ld-linux", "__wmemcmp_")
"""The dynamic loader, and the C library where Python compares strings, read whole words and vectors, behind the end too;
valgrind has no plainer ones for these."""


def errors(file: Path) -> Iterator[str]:
    """Give each error as text.

    A child that was killed leaves its file without an end: what is whole counts.
    """
    text = file.read_text(errors="replace")
    for part in text.split("<error>")[1:]:
        inner, end, _ = part.partition("</error>")
        if not end:
            continue
        error = ET.fromstring(f"<error>{inner}</error>")  # noqa: S314 - valgrind wrote it just now
        kind = error.findtext("kind", "")
        frames = [
            f"{frame.findtext('fn', '?')} ({Path(frame.findtext('obj', '?')).name} {frame.findtext('line', '')})"
            for frame in error.iter("frame")
        ]
        if (kind in ANYWHERE and not any(each in frames[0] for each in WHOLE_WORDS)) or any(
            "_shm." in frame for frame in frames
        ):
            what = error.findtext("what") or error.findtext("xwhat/text", "")
            yield "\n    ".join([f"{kind}: {what}", *frames[:12]])


def main() -> None:
    """Print all of them."""
    for file in sorted(Path(sys.argv[1]).glob("valgrind.*.xml")):
        for error in errors(file):
            sys.stdout.write(f"{file.name}: {error}\n")


if __name__ == "__main__":
    main()
