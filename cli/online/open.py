"""`blindfold open`: the KMS helps, if the policy allows it, and never sees the secret."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from blindfold.envelope import Header, read_header
from cli.errors import UsageError
from cli.online.secret_output import deliver, held
from cli.online.session import Session, online
from cli.options import STREAM, out_option
from cli.output import write_json
from cli.progress import Progress, ProgressSource
from cli.secret_io import PrefixedSource, input_stream, remaining_size, sealed_input
from kms.client.opening import open_sealed_unfinished


@dataclass(frozen=True, slots=True)
class Opened:
    """An answered secret: its authenticated header, the form it came in, and its pieces as they verify."""

    header: Header
    form: str
    pieces: Iterator[bytes]


@contextmanager
def opened(session: Session, name: str, expect_name: str | None) -> Iterator[Opened]:
    """A sealed secret in any form, once the KMS has answered.

    Raises as `kms.client.opening.open_sealed_unfinished`, and so do the pieces.
    """
    with input_stream(name) as stream:
        progress = Progress(remaining_size(stream))
        try:
            form, source = sealed_input(stream)
            header, public, mac = read_header(source)
            rewound = ProgressSource(PrefixedSource(public + mac, source), progress)
            pieces = open_sealed_unfinished(session.api, rewound, expect_name=expect_name)
            yield Opened(header, form, pieces)
        finally:
            progress.close()


@click.command(
    "open",
    epilog="""\b
Example:
  blindfold open --expect-name web/tls.key --out tls.key tls.key.sealed
  blindfold open < token.txt | login --password-stdin""",
)
@click.option("--expect-name", metavar="NAME", help="Refuse a secret that was sealed under another name.")
@click.option(
    "--stream",
    "as_stream",
    is_flag=True,
    help="Write to standard output piece by piece; what is written before a failure is not to be used.",
)
@out_option
@click.argument("sealed", metavar="[INPUT]", type=STREAM, default="-")
@online()
def open_command(
    session: Session, sealed: str, expect_name: str | None, as_stream: bool, out: Path | None
) -> None:
    """Open a sealed secret with the help of the KMS, which never sees it.

    INPUT is in any form: binary, blindfold:v1: text, or string:/// location; by default standard input. A
    file that --out names has mode 0600 and appears only once all of the secret is verified; standard output
    gets nothing before that either, so it takes at most 16 MiB, unless --stream is given.

    Opening proves what the secret was sealed to, not who sealed it, nor that it is the newest one. With
    --json and without --out, the secret is inside the JSON object, in base64.
    """
    if as_stream and (session.as_json or out is not None):
        raise UsageError("--stream excludes --json and --out")
    with opened(session, sealed, expect_name) as secret:
        if session.as_json and out is None:
            write_json(_fields(secret) | {"secret": base64.b64encode(held(secret.pieces)).decode("ascii")})
            return
        deliver(secret.pieces, out, stream=as_stream)
        if session.as_json:
            write_json(_fields(secret) | {"out": str(out)})


def _fields(secret: Opened) -> dict[str, object]:
    lock, metadata = secret.header.lock, secret.header.metadata
    return {
        "tenant": lock.tenant,
        "key_version": lock.key_version,
        "name": metadata.name,
        "content_type": metadata.content_type,
        "created": metadata.created,
    }
