"""Models and what differs between them, as tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import count, size
from alluxio_lance.cli.look import cut, facts, flowing, number, table, whole
from alluxio_lance.client.models.comparing import Difference, ModelDiff, TensorChange
from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.weights.header import TensorSpec

__all__ = ["diff_view", "model_view"]

_LONGEST_VALUE: Final = 60


def model_view(model: MappedModel, signed_by: str | None) -> Group:
    """Return the facts, tensors and files of a version."""
    gap = Text()
    specs = [placed.spec for placed in model.tensors.values()]
    signature = "none" if signed_by is None else f"by {signed_by} - not checked, `model verify` does"
    rows: list[tuple[str, str | Text]] = [
        ("model", Text(model.uri, style="bold")),
        ("version", model.layout.semver),
        ("tensors", f"{count(len(specs))}, {size(sum(spec.size for spec in specs))}{_types(specs)}"),
        ("files", count(len(model.files))),
        ("signature", Text(signature)),
    ]
    parts: list[RenderableType] = [facts(rows), gap]
    if specs:
        parts += [_tensor_table(specs, model.notes.tied), gap]
    if model.files:
        grid = table("Files", flowing("path"), number("bytes"))
        for path, data in sorted(model.files.items()):
            grid.add_row(Text(path), count(data.nbytes))
        parts += [grid, gap]
    noted = {**model.notes.extra, **{f"quantized {name}": how for name, how in model.notes.quantized.items()}}
    noted |= {f"view {name}": view for name, view in model.notes.views.items()}
    if noted:
        parts += [Text("Notes", style="bold"), facts([(key, Text(_plain(value))) for key, value in noted.items()]), gap]
    return Group(*parts[:-1])


def _types(specs: Sequence[TensorSpec]) -> str:
    found = Counter(spec.dtype for spec in specs)
    return f" ({', '.join(f'{count(number)} {dtype}' for dtype, number in found.most_common())})" if found else ""


def _tensor_table(specs: Sequence[TensorSpec], tied: Mapping[str, str]) -> Table:
    aliases: dict[str, list[str]] = {}
    for alias, name in tied.items():
        aliases.setdefault(name, []).append(alias)
    columns = [flowing("name"), whole("type"), flowing("shape"), number("bytes")]
    grid = table("Tensors", *columns, *([flowing("tied to it")] if aliases else []))
    for spec in sorted(specs, key=lambda spec: spec.name):
        row = [Text(spec.name), Text(spec.dtype), _shape(spec), Text(count(spec.size))]
        grid.add_row(*row, *([Text(", ".join(sorted(aliases.get(spec.name, ()))))] if aliases else []))
    return grid


def _shape(spec: TensorSpec) -> Text:
    return Text(str(list(spec.shape)))


def diff_view(diff: ModelDiff) -> Group:
    """Return what differs between two versions."""
    gap = Text()
    parts: list[RenderableType] = [Text.assemble((diff.old, "bold"), " → ", (diff.new, "bold"))]
    if diff.is_empty:
        return Group(*parts, Text("the same, bit for bit", style="green"))
    parts.append(
        Text(
            f"tensors: {count(len(diff.changed))} changed, {count(len(diff.added))} added, "
            f"{count(len(diff.removed))} removed, {count(diff.same)} the same"
        )
    )
    if diff.changed:
        parts += [gap, _change_table(diff.changed)]
    for title, specs, sign in (("Added", diff.added, "+"), ("Removed", diff.removed, "-")):
        if specs:
            parts += [gap, _spec_table(f"{title} tensors", specs, sign)]
    for title, differences in (("Files", diff.files), ("Notes", diff.notes), ("Metadata", diff.metadata)):
        if differences:
            parts += [gap, _difference_table(title, differences)]
    return Group(*parts)


def _change_table(changed: Sequence[TensorChange]) -> Table:
    # A width for every screen: the relative change is what people look for, so it stands beside the name.
    columns = [flowing("name"), number("relative L2"), number("L2"), number("max"), number("elements"), flowing("")]
    grid = table("Changed tensors", *columns)
    for each in changed:
        grid.add_row(Text(each.name), *_numbers(each), Text(_remark(each)))
    return grid


def _numbers(each: TensorChange) -> list[str]:
    change = each.change
    if change is None:
        return [""] * 4
    relative = "" if change.relative_l2 is None else f"{change.relative_l2:.3g}"
    return [relative, f"{change.l2:.3g}", f"{change.max:.3g}", count(change.elements)]


def _remark(each: TensorChange) -> str:
    if each.old != each.new:
        return f"{each.old.dtype} {_shape(each.old)} → {each.new.dtype} {_shape(each.new)}"
    if each.change is None:
        return "other bits"
    return f"{count(each.change.not_finite)} not finite" if each.change.not_finite else ""


def _spec_table(title: str, specs: Sequence[TensorSpec], sign: str) -> Table:
    grid = table(title, whole(""), flowing("name"), whole("type"), flowing("shape"), number("bytes"))
    for spec in specs:
        grid.add_row(sign, Text(spec.name), spec.dtype, _shape(spec), count(spec.size))
    return grid


def _difference_table(title: str, differences: Sequence[Difference]) -> Table:
    columns = [flowing("old"), flowing("new")] if title != "Files" else [number("old bytes"), number("new bytes")]
    grid = table(title, whole(""), flowing("name"), *columns)
    for each in differences:
        sign = "+" if each.old is None else "-" if each.new is None else "~"
        grid.add_row(
            sign, Text(each.key), *(Text(cut(_plain(value), _LONGEST_VALUE)) for value in (each.old, each.new))
        )
    return grid


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return count(value) if type(value) is int else json.dumps(value, ensure_ascii=False, default=dict)
