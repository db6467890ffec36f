"""The commands about who may do what: whoami, token create, list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from rich.text import Text
from typer import Argument, Context, Option, Typer

from alluxio_lance.cli.access_view import tokens_view
from alluxio_lance.cli.governance_records import identity_record, token_record
from alluxio_lance.cli.human import read_duration, until
from alluxio_lance.cli.look import facts, print_facts
from alluxio_lance.cli.options import Json, Message
from alluxio_lance.cli.outcome import moment_text
from alluxio_lance.cli.session import TOKEN, session_of
from alluxio_lance.errors import InvalidArgument

__all__ = ["token", "whoami"]

token = Typer(help="Make, list and revoke bearer tokens.", no_args_is_help=False)


def whoami(context: Context, as_json: Json = False) -> None:
    """Show who the system takes you for, and with which roles."""
    session = session_of(context)
    with session.manager() as manager:
        found = manager.whoami()
    if as_json:
        session.print_json(identity_record(found))
        return
    rows = [("you are", Text(found.actor, style="bold")), ("roles", Text(", ".join(found.roles) or "none"))]
    rows += [("known by", Text(found.method)), ("from", Text(found.origin or "unknown"))]
    session.out.print(facts(list(rows)))


@token.command()
def create(
    context: Context,
    name: Annotated[str, Argument(metavar="NAME", help="Whose it is, or what for: ci.", show_default=False)],
    role: Annotated[
        list[str] | None, Option("--role", metavar="ROLE", help="A role that it has; repeat it.", show_default=False)
    ] = None,
    lifetime: Annotated[
        str | None,
        Option(
            "--lifetime", metavar="TIME", help="How long it holds: 12h, 30d. By default for ever.", show_default=False
        ),
    ] = None,
    message: Message = "",
    as_json: Json = False,
) -> None:
    """Make a bearer token; it is shown this once, and nobody can read it again."""
    session = session_of(context)
    if not role:
        raise InvalidArgument("a token needs a role: --role viewer, developer, releaser, admin, or one of the rules")
    length = None if lifetime is None else read_duration("--lifetime", lifetime)
    with session.manager() as manager:
        made, secret = manager.issue_token(name, role, lifetime=length, message=message)
    if as_json:
        session.print_json({"token": token_record(made), "secret": secret})
        return
    session.line("made token ", (made.id, "bold"), f" for {made.name}, with the role {', '.join(made.roles)}")
    ends = made.expires_at
    expiry = "never, until it is revoked" if ends is None else f"{until(ends, datetime.now(UTC))}, {moment_text(ends)}"
    print_facts(
        session.out,
        [
            ("expires", expiry),
            ("token", Text(secret, style="bold yellow")),
            ("", Text("it is shown only now: keep it where secrets are kept", style="yellow")),
            ("use", Text(f"{TOKEN}=… {session.command} whoami", style="cyan")),
            ("end", Text(f"{session.command} token revoke {made.id}", style="cyan")),
        ],
    )


@token.command("list")
def list_(context: Context, as_json: Json = False) -> None:
    """List all tokens, newest first, without their secrets."""
    session = session_of(context)
    with session.manager() as manager:
        tokens = manager.list_tokens()
    if as_json:
        session.print_json({"tokens": [token_record(each) for each in tokens]})
    elif tokens:
        session.out.print(tokens_view(tokens, datetime.now(UTC)))
    else:
        session.line(f"there is no token, or none that you may see: {session.command} token create NAME --role ROLE")


@token.command()
def revoke(
    context: Context,
    id: Annotated[str, Argument(metavar="ID", help="Its 12 characters: see `token list`.", show_default=False)],
    message: Message = "",
    as_json: Json = False,
) -> None:
    """End a token at once."""
    session = session_of(context)
    with session.manager() as manager:
        ended = manager.revoke_token(id, message=message)
    if as_json:
        session.print_json({"token": token_record(ended)})
    else:
        session.line("revoked token ", (ended.id, "bold"), f" of {ended.name}: nobody gets in with it any more")
