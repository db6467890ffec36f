"""The commands about who made a model: key, sign and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from alluxio_lance.cli.advising import advised
from alluxio_lance.cli.human import count, size
from alluxio_lance.cli.model_opening import open_model
from alluxio_lance.cli.model_records import verified_record
from alluxio_lance.cli.options import Json, Message, Selected, Target
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import plain_target, target
from alluxio_lance.client.models.signing import make_key, sign_active, signer
from alluxio_lance.client.models.signing import verify as verify_model

__all__ = ["key", "sign", "verify"]


def key(
    context: Context,
    file: Annotated[
        Path,
        Argument(metavar="FILE", help="Where the private key goes; the public one is FILE.pub.", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Make a key pair to sign models with. The private key is readable by its owner alone and never overwritten."""
    session, file = session_of(context), file.expanduser().absolute()
    public, fingerprint = make_key(file)
    if as_json:
        session.print_json({"private_key": str(file), "public_key": str(public), "fingerprint": fingerprint})
        return
    session.line("made the key ", (fingerprint, "bold"))
    session.line(f"  keep it secret  {file}")
    session.line(f"  give it away    {public}")


def sign(
    context: Context,
    resource: Target,
    key: Annotated[Path, Option("--key", metavar="FILE", help="The private key.", show_default=False)],
    message: Message = "",
    no_activate: Annotated[
        bool, Option("--no-activate", help="Keep it aside: readers go on with the version before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sign the active version of a model: verified first, and made a new version, a patch, that adds the signature."""
    session, name = session_of(context), plain_target(resource)
    with_key = signer(key.expanduser())
    subject = f"{name.type}/{name.name}"
    with (
        open_model(session, f"alluxio://{subject}", silent=as_json) as found,
        session.manager() as manager,
        advised(session, subject, f"activate {subject}@VERSION"),
        progress_bar(session.err, silent=as_json) as on_progress,
    ):
        made = sign_active(found, with_key, manager, message=message, activate=not no_activate, on_progress=on_progress)
    print_version(session, "signed", made, as_json=as_json, then=f"model verify {subject}@{made.semver}")


def verify(
    context: Context,
    resource: Selected,
    public_key: Annotated[
        Path | None,
        Option("--public-key", metavar="FILE", help="The key that must have signed it, FILE.pub.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare every byte of a model with its manifest, and its signature with a key; exit code 1 when they do not fit."""
    session = session_of(context)
    with (
        open_model(session, str(target(resource)), silent=as_json) as found,
        progress_bar(session.err, silent=as_json) as on_progress,
    ):
        verified = verify_model(found, public_key and public_key.expanduser(), on_progress=on_progress)
        uri = found.uri
    if as_json:
        session.print_json({"uri": uri, "verified": verified_record(verified)})
        return
    session.line(
        (uri, "bold"),
        f": every byte is as the manifest says; tensors: {count(verified.tensors)}, {size(verified.num_bytes)}; "
        f"files: {count(verified.files)}",
    )
    if verified.signed_by is None:
        session.line("not signed", (" - anybody who may write it could have made the manifest, too", "dim"))
    elif verified.trusted:
        session.line(("signed", "bold green"), f" with the key given, {verified.signed_by}")
    else:
        session.line(f"signed by {verified.signed_by}", (" - whose that is only --public-key FILE can tell", "dim"))
