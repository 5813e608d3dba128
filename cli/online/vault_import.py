"""`kms import`: what a vault's transit engine has, brought here: keys, then what they encrypted."""

import asyncio
import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.online.call_errors import to_cli_error
from cli.online.crypto import aad_option
from cli.online.key import key_name
from cli.online.names import resolve
from cli.online.session import Session, online
from cli.online.transit_lines import Line, batches, lines_of, lines_progress
from cli.online.vault_comparison import Both
from cli.online.vault_moving import Moving
from cli.online.vault_sources import Reach, access_options
from cli.options import STREAM, out_option
from cli.output import write_json
from cli.secret_io import public_sink
from kms.client.errors import CallFailed
from kms.client.moving import RawItem, move_raw
from kms.external.shadow import Verdict
from kms.model.algorithms import Purpose
from kms.model.names import KeyName, SecretManagementAccessName

_input_argument = click.argument("data", metavar="[INPUT]", type=STREAM, default="-")


@click.command(
    "vault-transit",
    epilog="""\b
Example:
  kms key create prod/orders-vault --purpose RAW_ENCRYPT_DECRYPT --import-only --policy prod/orders
  kms import vault-transit prod/corp-vault transit/orders prod/orders-vault""",
)
@click.argument("access", metavar="ACCESS")
@click.argument("path", metavar="PATH")
@click.argument("key", metavar="KEY")
@click.option("--primary", "make_primary", is_flag=True, help="Use the newest version for what is new.")
@click.option("--in-clear", is_flag=True, help="For vaults that cannot wrap: wrap the material here.")
@access_options
@online()
def vault_transit(
    session: Session, access: str, path: str, key: str, make_primary: bool, in_clear: bool, reach: Reach
) -> None:
    """Bring all versions of an exportable transit key here, under their numbers.

    ACCESS is NAMESPACE/ID of an access that selects you, PATH that of the key, below one of its mounts. KEY
    has no versions of its own: `kms key create --import-only` makes such a key, for RAW_ENCRYPT_DECRYPT
    if the vault's is an AES key. Called again, this brings what the vault has rotated to since. The vault
    wraps the material to the KMS, for which its mount has another key meanwhile, blindfold-import-....
    """
    name = key_name(session, key)
    moving = Moving(
        session, name, _purpose(session, name), path, make_primary=make_primary, in_clear=in_clear
    )
    access_name = resolve(SecretManagementAccessName, access, session.tenant)
    made = asyncio.run(moving.run(reach.sources(session), access_name))
    if session.as_json:
        write_json({"name": str(name), "imported": made})
    else:
        click.echo(f"{len(made)} versions imported", err=True)


@click.command(
    "vault-ciphertexts",
    epilog="""\b
Example:
  kms import vault-ciphertexts prod/orders-vault --to prod/orders --out moved.txt column.txt""",
)
@click.argument("key", metavar="KEY")
@_input_argument
@click.option("--to", "destination", metavar="KEY", required=True, help="Key for the new ciphertexts.")
@aad_option
@click.option("--new-aad", metavar="TEXT", help="Context for the new ciphertexts; by default the old one.")
@out_option
@online()
def vault_ciphertexts(
    session: Session, key: str, data: str, destination: str, aad: str, new_aad: str | None, out: Path | None
) -> None:
    """Move ciphertexts of an imported transit key to a key of this KMS.

    INPUT has one `vault:v1:...` a line; for each, there is a line with the new ciphertext in base64, in the
    same order. No plaintext leaves the KMS. The first line that cannot be moved ends it, and leaves no file.
    """
    source, target = key_name(session, key), key_name(session, destination)
    bound = aad.encode(), (aad if new_aad is None else new_aad).encode()
    with public_sink(out, binary=True) as sink, lines_progress() as progress:
        for batch in batches(lines_of(data)):
            for moved in _moved(session, source, target, batch, *bound):
                sink.write(base64.b64encode(moved) + b"\n")
                progress.advance(1)
    if session.as_json and out is not None:
        write_json({"name": str(target), "moved": progress.done, "out": str(out)})


@click.command(
    "vault-compare",
    epilog="""\b
Example:
  kms import vault-compare prod/corp-vault transit/orders prod/orders-vault sample.txt""",
)
@click.argument("access", metavar="ACCESS")
@click.argument("path", metavar="PATH")
@click.argument("key", metavar="KEY")
@_input_argument
@aad_option
@access_options
@online()
def vault_compare(
    session: Session, access: str, path: str, key: str, data: str, aad: str, reach: Reach
) -> None:
    """Have the vault and the KMS decrypt the same, and say where they differ.

    ACCESS, PATH and KEY are those of `kms import vault-transit`, INPUT is that of `kms import
    vault-ciphertexts`. Only counts and the numbers of lines are shown; what was decrypted is compared by an
    HMAC under a key of this run. Ends with 4 unless all are the same. With --aad, the vault gets it as
    associated data.
    """
    name = key_name(session, key)
    both = Both(session, name, _purpose(session, name), path, aad)
    access_name = resolve(SecretManagementAccessName, access, session.tenant)
    verdicts = asyncio.run(both.compare(reach.sources(session), access_name, lines_of(data)))
    _report(session, verdicts)


def _report(session: Session, verdicts: list[tuple[int, Verdict]]) -> None:
    counts = Counter(verdict for _, verdict in verdicts)
    other = [(number, verdict) for number, verdict in verdicts if verdict is not Verdict.SAME]
    shown: dict[str, Any] = {verdict.name.lower(): counts[verdict] for verdict in Verdict}
    if session.as_json:
        write_json(shown | {"lines": [{"line": line, "verdict": it.name} for line, it in other]})
    else:
        for line, verdict in other:
            click.echo(f"line {line}: {verdict.value}")
        click.echo(", ".join(f"{count} {name}" for name, count in shown.items()), err=True)
    if other or not verdicts:
        raise CliError(
            f"{len(other)} of {len(verdicts)} are not the same",
            hint="Look at these lines before anything is moved.",
            code=ExitCode.MISMATCH,
        )


def _purpose(session: Session, name: KeyName) -> Purpose:
    answer = session.call("KeyService", "GetKey", {"name": str(name)})
    return Purpose(answer["purpose"].removeprefix("KEY_PURPOSE_"))


def _moved(
    session: Session, source: KeyName, target: KeyName, batch: list[Line], aad: bytes, new_aad: bytes
) -> Iterator[bytes]:
    """The new ciphertexts. Raises `CliError` with the number of the line."""
    items = [RawItem(line.ciphertext.version, line.ciphertext.data, aad, new_aad) for line in batch]
    for line, moved in zip(batch, move_raw(session.api, source, target, items), strict=True):
        if isinstance(moved, CallFailed):
            raise to_cli_error(moved, f"line {line.number}: ")
        yield moved
