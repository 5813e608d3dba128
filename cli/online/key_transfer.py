"""`kms key import`, `import-key`, `export` and `copy`: key material in, out and across."""

import base64
from pathlib import Path

import click

from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.offline.wrap import MAX_KEY_FILE, read_material
from cli.online.key import key_name
from cli.online.names import resolve
from cli.online.results import write_public, write_secret
from cli.online.session import Session, online
from cli.options import FILE, STREAM, out_option
from cli.output import write_fields, write_json
from cli.output_file import PUBLIC, output_file
from cli.secret_io import read_bounded
from kms.client import transfers
from kms.crypto import key_files
from kms.crypto.public_keys import to_pem
from kms.model.algorithms import ALGORITHMS
from kms.model.names import ImportKeyName, KeyVersionName, NamespaceName

_primary_option = click.option("--primary", "make_primary", is_flag=True, help="Use it for what is new.")


@click.command(
    "create",
    epilog="""\b
Example:
  kms key import-key create prod --out import.pem""",
)
@click.argument("namespace", metavar="NAMESPACE")
@click.option("--out", "-o", type=FILE, required=True, help="File for its public half, in PEM.")
@online()
def create_import_key(session: Session, namespace: str, out: Path) -> None:
    """Make a key to wrap material to, for one import within 24 hours.

    The name that is printed goes with the wrapped material, to `kms key import`.
    """
    made = transfers.create_import_key(session.api, resolve(NamespaceName, namespace, session.tenant))
    with output_file(out, mode=PUBLIC) as file:
        file.write(to_pem(made.public_key))
    shown = {"name": str(made.name), "expire_time": made.expire_time.isoformat(), "out": str(out)}
    (write_json if session.as_json else write_fields)(shown)


@click.command(
    "import",
    epilog="""\b
Example:
  kms key create prod/orders --policy prod/orders --import-only
  kms key import prod/orders --primary orders.key
  kms key import prod/orders --wrapped orders.wrapped --import-key prod/i0123456789abcdef
  kms key import prod/partner --public-key partner.pem""",
)
@click.argument("key", metavar="KEY")
@click.argument("material", metavar="[MATERIAL]", type=STREAM, default=None, required=False)
@click.option("--wrapped", type=FILE, help="Material that was wrapped elsewhere, instead of MATERIAL.")
@click.option("--import-key", metavar="NAME", help="Import key that --wrapped is wrapped to.")
@click.option("--public-key", type=FILE, help="RSA public key in PEM or DER: it verifies or encrypts only.")
@click.option("--algorithm", type=click.Choice(sorted(ALGORITHMS)), help="By default that of the key.")
@_primary_option
@online()
def import_key(
    session: Session,
    key: str,
    material: str | None,
    wrapped: Path | None,
    import_key: str | None,
    public_key: Path | None,
    algorithm: str | None,
    make_primary: bool,
) -> None:
    """Give a key a version whose bytes come from elsewhere.

    MATERIAL is a file with the raw bytes of an AES or HMAC key, or with an unencrypted RSA private key in PEM
    or PKCS 8 DER; by default standard input. It is wrapped before it leaves this process. What was wrapped
    elsewhere, by `kms key wrap` or a device, is imported with --wrapped and --import-key.
    """
    _check_sources(material, wrapped, import_key, public_key, make_primary=make_primary)
    name, api, chosen = key_name(session, key), session.api, algorithm or ""
    if public_key is not None:
        data = key_files.public_key(_read(public_key, "--public-key"), "public_key")
        made = transfers.import_public_key(api, name, data, algorithm=chosen)
    elif wrapped is not None:
        towards = resolve(ImportKeyName, import_key or "", session.tenant)
        data = _read(wrapped, "--wrapped")
        made = transfers.import_wrapped(api, name, towards, data, algorithm=chosen, make_primary=make_primary)
    else:
        with read_material(material or "-") as secret:
            made = transfers.import_material(api, name, secret, algorithm=chosen, make_primary=make_primary)
    _show(session, made)


def _check_sources(
    material: str | None,
    wrapped: Path | None,
    import_key: str | None,
    public_key: Path | None,
    *,
    make_primary: bool,
) -> None:
    """Raises `UsageError`."""
    if sum(source is not None for source in (material, wrapped, public_key)) > 1:
        raise UsageError("MATERIAL, --wrapped and --public-key exclude each other")
    if (wrapped is None) != (import_key is None):
        raise UsageError(
            "--wrapped and --import-key go together",
            hint="`kms key import-key create` printed the name of the import key.",
        )
    if public_key is not None and make_primary:
        raise UsageError("a public key is never primary", hint="Leave --primary out.")


@click.command(
    epilog="""\b
Example:
  kms key export prod/edge/1 --private-key recipient.pem --out edge.wrapped
  kms key export prod/edge/1 --private-key recipient.pem --unwrap --out edge.key"""
)
@click.argument("version", metavar="VERSION")
@click.option(
    "--private-key",
    type=STREAM,
    required=True,
    metavar="FILE",
    help="RSA private key of 3072 or 4096 bits, in PEM or DER, that the answer is wrapped to.",
)
@click.option("--unwrap", is_flag=True, help="Write the key itself instead of its wrapped form.")
@out_option
@online()
def export(session: Session, version: str, private_key: str, unwrap: bool, out: Path | None) -> None:
    """Get the bytes of a LOW version, wrapped to a key of yours.

    The private key proves that it is yours, and stays here. With --unwrap, the result is the raw AES or HMAC
    key, or PKCS 8 in DER, and its file has mode 0600.
    """
    name = resolve(KeyVersionName, version, session.tenant)
    recipient = key_files.recipient(SecretBytes(_read(private_key, "--private-key")), "private_key")
    exported = transfers.export_key(session.api, name, recipient)
    if unwrap:
        with recipient.unwrap(exported.wrapped_key) as secret:
            write_secret(session, _answer(name, "key", secret.reveal()), "key", out)
    else:
        write_public(session, _answer(name, "wrapped_key", exported.wrapped_key), "wrapped_key", out)


@click.command(
    epilog="""\b
Example:
  kms key copy prod/orders/3 prod/archive --primary"""
)
@click.argument("source", metavar="VERSION")
@click.argument("destination", metavar="KEY")
@_primary_option
@online()
def copy(session: Session, source: str, destination: str, make_primary: bool) -> None:
    """Give a key a version with the bytes of another key's version.

    They do not leave the KMS. KEY is for the same purpose and of at least the same sensitivity.
    """
    version = resolve(KeyVersionName, source, session.tenant)
    target = key_name(session, destination)
    _show(session, transfers.copy_key(session.api, version, target, make_primary=make_primary))


def _read(name: str | Path, option: str) -> bytes:
    return read_bounded(str(name), option, MAX_KEY_FILE)


def _answer(name: KeyVersionName, field: str, data: bytes) -> dict[str, str]:
    return {"name": str(name), field: base64.b64encode(data).decode("ascii")}


def _show(session: Session, name: KeyVersionName) -> None:
    session.show(session.call("KeyService", "GetKeyVersion", {"name": str(name)}))
