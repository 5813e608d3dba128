"""`kms audit verify` and `prove`: whether a copy of the audit trail is complete and untouched, and has one's
own calls. Needs no KMS."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from cli.options import FILE, STREAM, json_option
from cli.output import warn, write_fields, write_json, write_table
from cli.secret_io import input_stream, read_document
from kms.audit.verify import Report
from kms.audit.verify import verify as verify_lines
from kms.model.chain import Malformed, SignedCheckpoint
from kms.model.receipt import Receipt

_Command = TypeVar("_Command", bound=Callable[..., Any])

KEY_SIZE = 32
COLUMNS = ("time", "decision", "action", "caller", "resource", "reason")


def _copy_options(command: _Command) -> _Command:
    """What is verified, by what."""
    options = (
        click.argument("trail", metavar="FILE", type=STREAM),
        click.option(
            "--audit-key",
            metavar="HEX",
            required=True,
            help="Public audit key of the store, as `kms init` printed it.",
        ),
        click.option(
            "--checkpoint",
            "checkpoints",
            type=FILE,
            multiple=True,
            help="A checkpoint that was kept elsewhere; may be repeated.",
        ),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _receipt_option(*, required: bool) -> Callable[[_Command], _Command]:
    return click.option(
        "--receipts",
        type=FILE,
        required=required,
        help="Receipts of calls, one a line, as --receipts of those calls wrote them.",
    )


@click.command(
    epilog="""\b
Example:
  kms audit verify audit.jsonl --audit-key 5f0c... --checkpoint kept-elsewhere.checkpoint"""
)
@_copy_options
@_receipt_option(required=False)
def verify(
    trail: str, audit_key: str, checkpoints: tuple[Path, ...], receipts: Path | None, as_json: bool
) -> None:
    """Verify an exported audit trail, offline.

    Proves by the audit key alone that no event up to the last checkpoint was changed, removed, added or
    moved. That the end was not cut off, nor replaced, is proven only up to the checkpoints and receipts that
    were kept elsewhere. Otherwise it ends with exit code 5, and names the first event at fault.
    """
    kept = () if receipts is None else _read_receipts(receipts)
    report = _verified(trail, audit_key, checkpoints, kept)
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


@click.command(
    epilog="""\b
Example:
  kms encrypt prod/orders --receipts my.receipts < order > order.encrypted
  kms audit export --out audit.jsonl
  kms audit prove audit.jsonl --receipts my.receipts --audit-key 5f0c..."""
)
@_copy_options
@_receipt_option(required=True)
def prove(trail: str, audit_key: str, checkpoints: tuple[Path, ...], receipts: Path, as_json: bool) -> None:
    """Show the events of receipts in an exported audit trail, once all of it is verified.

    Whoever kept the receipt of a call sees that its event is in the chain, and what it says. A trail
    that has no such event, or another one in its place, ends with exit code 5. `signed` says whether a
    checkpoint covers the event. Of one that the reader may not see, there is no more than that it is there.
    """
    events: dict[Receipt, Mapping[str, Any] | None] = {}
    report = _verified(trail, audit_key, checkpoints, _read_receipts(receipts), events.__setitem__)
    signed = {receipt: receipt.sequence <= report.signed_through for receipt in events}
    if as_json:
        write_json(
            [
                {"receipt": str(receipt), "signed": signed[receipt], "event": event and dict(event)}
                for receipt, event in events.items()
            ]
        )
        return
    write_table(
        [
            {"sequence": receipt.sequence, "signed": signed[receipt]}
            | {name: (event or {}).get(name, "") for name in COLUMNS}
            for receipt, event in events.items()
        ]
    )


def _verified(
    trail: str,
    audit_key: str,
    checkpoints: tuple[Path, ...],
    receipts: Sequence[Receipt],
    found: Callable[[Receipt, Mapping[str, Any] | None], None] = lambda receipt, event: None,
) -> Report:
    key = _parse_key(audit_key)
    outside = [_read_checkpoint(path) for path in checkpoints]
    with input_stream(trail) as stream:
        # What is not UTF-8 becomes surrogates, which the verification reports with the line they are in.
        lines = (line.decode("utf-8", "surrogateescape") for line in stream)
        return verify_lines(lines, key, outside, receipts, found)


def _read_receipts(path: Path) -> list[Receipt]:
    lines = read_document(path).decode("ascii", "replace").splitlines()
    try:
        return [Receipt.parse(line) for line in lines]
    except Malformed:
        pass
    raise CliError(
        f"{path} holds something else than receipts",
        hint="Give a file that --receipts of a call wrote.",
        code=ExitCode.DAMAGED,
    )


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
