"""The commands about the rules: rules show, set, check, default, edit."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from rich.syntax import Syntax
from rich.text import Text
from typer import Argument, Context, Exit, Option, Typer, confirm

from alluxio_lance.cli.default_rules import DEFAULT_RULES
from alluxio_lance.cli.governance_records import rules_record
from alluxio_lance.cli.look import facts
from alluxio_lance.cli.options import Json, Message
from alluxio_lance.cli.outcome import moment_text
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.governance import Rules

if TYPE_CHECKING:
    from alluxio_lance.lifecycle.rules.document import RuleSet

__all__ = ["rules"]

rules = Typer(help="Stages, gates, policies, hooks and roles: one TOML document.", no_args_is_help=False)

_File = Annotated[Path, Argument(metavar="FILE", help="A TOML document; - is stdin.", show_default=False)]
_EDITOR: Final = "vi"


@rules.command()
def show(context: Context, as_json: Json = False) -> None:
    """Print the rules as they are now; piped, it is the document itself."""
    session = session_of(context)
    with session.manager() as manager:
        found = manager.rules()
    if as_json:
        session.print_json(rules_record(found))
        return
    if found.changed_at is None:
        notice = "nothing was configured: the built-in rules hold, see `rules default`"
    else:
        notice = f"revision {found.revision}, {moment_text(found.changed_at)} by {found.changed_by}"
    session.err.print(Text(notice, style="dim"), soft_wrap=True)
    _print_document(session, found.text)


@rules.command("set")
def set_(
    context: Context,
    file: _File,
    revision: Annotated[
        int | None,
        Option("--revision", help="Only if the rules still have this revision.", show_default=False),
    ] = None,
    message: Message = "",
    as_json: Json = False,
) -> None:
    """Replace the rules; a document with a fault changes nothing, and every fault is named."""
    session, text = session_of(context), _read(file)
    with session.manager() as manager:
        made = manager.set_rules(text, revision=revision, message=message)
    _print_set(session, made, as_json=as_json)


@rules.command()
def check(context: Context, file: _File, as_json: Json = False) -> None:
    """Check a document without a system: every fault with its place, or what the rules would be."""
    session = session_of(context)
    summary = _summary(_reader()(_read(file)))
    if as_json:
        session.print_json({"sound": True, **summary})
    else:
        session.line(("sound", "bold green"))
        session.out.print(facts([(key.replace("_", " "), Text(_said(value))) for key, value in summary.items()]))


@rules.command()
def default(context: Context, as_json: Json = False) -> None:
    """Print the built-in rules as a document, to begin with."""
    session = session_of(context)
    if as_json:
        session.print_json({"text": DEFAULT_RULES})
    else:
        _print_document(session, DEFAULT_RULES)


@rules.command()
def edit(context: Context, message: Message = "") -> None:
    """Open the rules in an editor (VISUAL or EDITOR) and set what it saves."""
    session = session_of(context)
    with session.manager() as manager, tempfile.TemporaryDirectory(prefix="alluxio-lance-") as folder:
        before = manager.rules()
        file = Path(folder) / "rules.toml"
        file.write_text(before.text or DEFAULT_RULES, encoding="utf-8")
        begun = file.read_text(encoding="utf-8")
        while True:
            _open_editor(file)
            text = file.read_text(encoding="utf-8")
            if text == begun:
                session.line("nothing was changed")
                return
            try:
                made = manager.set_rules(text, revision=before.revision, message=message)
                break
            except InvalidArgument as error:
                if not sys.stdin.isatty():
                    raise
                session.err.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
                if not confirm("Edit it again?", default=True, err=True):
                    session.err.print(Text("the rules stay as they were", style="yellow"))
                    raise Exit(1) from None
    _print_set(session, made, as_json=False)


def _reader() -> Callable[[str], RuleSet]:
    try:
        from alluxio_lance.lifecycle.rules import read_rules  # noqa: PLC0415 - the base install has no pydantic
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"to check rules needs {error.name}: pip install 'alluxio-lance[server]'", what="alluxio-lance[server]"
        ) from error
    return read_rules


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the rules {file} cannot be read: {error}") from error


def _print_document(session: Session, text: str) -> None:
    if session.out.is_terminal:
        session.out.print(Syntax(text, "toml", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        session.out.file.write(text)


def _print_set(session: Session, made: Rules, *, as_json: bool) -> None:
    if as_json:
        session.print_json(rules_record(made))
    else:
        session.line("the rules have revision ", (str(made.revision), "bold"), " now")


def _summary(read: RuleSet) -> dict[str, Any]:
    edges = [f"{name} → {each}" for name, stage in read.stages.items() for each in stage.to]
    return {
        "stages": edges,
        "gates": [f"{gate.name} ({gate.kind}: {', '.join(gate.on)})" for gate in read.gates],
        "hooks": [hook.name for hook in read.hooks],
        "automations": [f"{each.name} ({each.do} on {each.on})" for each in read.automations],
        "policies": [each.name for each in read.policies],
        "roles": list(read.roles),
        "protected_tags": list(read.tags.protected),
    }


def _said(values: list[str]) -> str:
    return "\n".join(values) or "none"


def _open_editor(file: Path) -> None:
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR)
    try:
        code = subprocess.run([*command, str(file)], check=False).returncode
    except OSError as error:
        raise InvalidArgument(f"the editor {command[0]!r} cannot be started ({error.strerror}): set EDITOR") from error
    if code:
        raise InvalidArgument(f"the editor {command[0]!r} ended with code {code}: the rules stay as they were")
