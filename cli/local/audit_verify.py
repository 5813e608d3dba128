"""`kms audit verify`: whether a copy of the audit trail is complete and untouched. Needs no KMS."""

from pathlib import Path

import click

from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from cli.options import FILE, STREAM, json_option
from cli.output import warn, write_fields, write_json
from cli.secret_io import input_stream, read_document
from kms.audit.verify import verify as verify_lines
from kms.model.chain import Malformed, SignedCheckpoint

KEY_SIZE = 32


@click.command(
    epilog="""\b
Example:
  kms audit verify audit.jsonl --audit-key 5f0c... --checkpoint kept-elsewhere.checkpoint"""
)
@click.argument("trail", metavar="FILE", type=STREAM)
@click.option(
    "--audit-key",
    metavar="HEX",
    required=True,
    help="Public audit key of the store, as `kms init` printed it.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FILE,
    multiple=True,
    help="A checkpoint that was kept elsewhere; may be repeated.",
)
@json_option
def verify(trail: str, audit_key: str, checkpoints: tuple[Path, ...], as_json: bool) -> None:
    """Verify an exported audit trail, offline.

    Proves by the audit key alone that no event up to the last checkpoint was changed, removed, added or
    moved. That the end was not cut off is proven only up to the checkpoints that were kept elsewhere.
    Otherwise it ends with exit code 5, and names the first event at fault.
    """
    key = _parse_key(audit_key)
    outside = [_read_checkpoint(path) for path in checkpoints]
    with input_stream(trail) as stream:
        # What is not UTF-8 becomes surrogates, which the verification reports with the line they are in.
        report = verify_lines((line.decode("utf-8", "surrogateescape") for line in stream), key, outside)
    shown: dict[str, object] = {
        "verified": True,
        "store_id": report.store_id.hex(),
        "first": report.first,
        "signed_through": report.signed_through,
        "last": report.last,
        "checkpoints": report.checkpoints,
    }
    if as_json:
        write_json(shown)
    else:
        write_fields(shown)
    if report.first > 1:
        warn(f"the copy begins with event {report.first}; what was before is proven by earlier copies only")
    if report.last > report.signed_through:
        warn(f"events {report.signed_through + 1} to {report.last} are not signed by any checkpoint yet")


def _parse_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise UsageError(f"--audit-key is {2 * KEY_SIZE} hex digits", hint="`kms init` printed it.")
    return key


def _read_checkpoint(path: Path) -> SignedCheckpoint:
    try:
        return SignedCheckpoint.parse(read_document(path).removesuffix(b"\n"))
    except Malformed:
        pass
    raise CliError(
        f"{path} is not a checkpoint",
        hint="Give a file that `kms audit checkpoint` or the server's --checkpoint-file wrote.",
        code=ExitCode.DAMAGED,
    )
