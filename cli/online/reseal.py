"""`blindfold reseal`: the same secret under other documents, never in the clear on any disk."""

from pathlib import Path
from typing import Any

import click

from blindfold.envelope import MAC_SIZE, Header
from blindfold.pieces import PieceSource
from blindfold.sealing import Sink, seal_stream
from blindfold.stream import CHUNK, TAG, padded_size
from cli.errors import CliError
from cli.offline.sealed_output import write_sealed
from cli.offline.target import TARGET_OPTIONS, Target, target_options, verified_target
from cli.online.open import Opened, opened
from cli.online.secret_output import held
from cli.online.session import Session, online
from cli.options import STREAM, out_option
from cli.secret_io import STDIO


@click.command(
    epilog="""\b
Example:
  blindfold reseal --public-key new.key --policy-document web-tls.policy \\
      --policy prod/web-tls tls.key.sealed"""
)
@target_options
@click.option("--expect-name", metavar="NAME", help="Refuse a secret that was sealed under another name.")
@out_option
@click.argument("sealed", metavar="INPUT", type=STREAM)
@online(keep=True)
def reseal(session: Session, sealed: str, expect_name: str | None, out: Path | None, **options: Any) -> None:
    """Seal a secret anew, to another key version or policy, in place.

    Opens INPUT with the help of the KMS and seals what is in it to the documents given, with its name, its
    content type, its form and its padding. INPUT is replaced in one step, unless --out names another file,
    once all of it is verified and is in the new one.
    """
    target = verified_target(**{name: options[name] for name in TARGET_OPTIONS})
    out = out or (None if sealed == STDIO else Path(sealed))
    with opened(session, sealed, expect_name) as secret:
        write_sealed(
            lambda sink: seal_again(secret, sink, target),
            target,
            form=secret.form,
            out=out,
            as_json=session.as_json,
        )


def seal_again(secret: Opened, sink: Sink, target: Target) -> None:
    """Raises as the secret's pieces, as `seal_stream`, and `CliError` if not all of it arrived."""
    metadata = secret.header.metadata
    pieces, length = secret.pieces, None
    if metadata.padded:
        whole = held(pieces, "Open it with --out, and seal that file with --pad.")
        pieces, length = iter([whole]), len(whole)
    source, counted = PieceSource(pieces), CountedSink(sink)
    seal_stream(
        source,
        counted,
        target.key.document,
        target.policy.document,
        name=metadata.name,
        content_type=metadata.content_type,
        pad_to=length,
    )
    counted.check_holds(source.taken, ended=source.ended)


class CountedSink:
    """A sink that knows how long a secret was written to it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""
        self._count = 0

    def write(self, data: bytes, /) -> None:
        self._sink.write(data)
        # The header and the mac come in one piece.
        self._head = self._head or data
        self._count += len(data)

    def check_holds(self, length: int, *, ended: bool) -> None:
        """Raises `CliError` unless what was written holds a secret of that length, read to its end."""
        header = Header.parse(self._head[:-MAC_SIZE])
        plain = padded_size(length) if header.metadata.padded else length
        chunks = max(1, -(-plain // CHUNK))
        if not ended or self._count != len(self._head) + plain + chunks * TAG:
            raise CliError("the new file does not hold all of the secret; the old one is unchanged")
