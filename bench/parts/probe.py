"""The fresh process of one measurement of a part: run with the part's module and the files of the task and its result."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

__all__: list[str] = []

if __name__ == "__main__":
    module, task, result = sys.argv[1:]
    found = importlib.import_module(module).probe(json.loads(Path(task).read_text()))
    Path(result).write_text(json.dumps(found))
