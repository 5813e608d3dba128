"""`kms encrypt`, `decrypt`, `sign` and the others: what keys are used for."""

import base64
from pathlib import Path

import click

from blindfold.envelope import read_exactly
from cli.errors import UsageError
from cli.online.key import key_name
from cli.online.names import resolve
from cli.online.results import write_public, write_secret
from cli.online.session import Session, online
from cli.options import STREAM, out_option
from cli.output import write_json
from cli.secret_io import input_stream, public_sink
from kms.model.algorithms import MAX_PLAINTEXT
from kms.model.names import KeyVersionName, NamespaceName

SERVICE = "CryptoService"
# The largest thing that a call takes: a ciphertext of the largest plaintext, with room to notice more.
MAX_INPUT = MAX_PLAINTEXT + 1024

_key_argument = click.argument("key", metavar="KEY")
_input_argument = click.argument("data", metavar="[INPUT]", type=STREAM, default="-")
aad_option = click.option(
    "--aad", default="", metavar="TEXT", help="Public context that is bound to it and must be given again."
)
_compromised_option = click.option(
    "--allow-compromised", is_flag=True, help="Use a version that others may know."
)


def _read(name: str) -> str:
    """Input in base64, as the API takes bytes. Raises `UsageError` for more than a call takes."""
    with input_stream(name) as stream:
        data = read_exactly(stream, MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise UsageError(
            f"a call takes at most {MAX_PLAINTEXT} bytes",
            hint="Encrypt larger data with a data key, or seal it with `blindfold seal`.",
        )
    return base64.b64encode(data).decode("ascii")


def base64_text(value: str) -> str:
    return base64.b64encode(value.encode()).decode("ascii")


@click.command(
    epilog="""\b
Example:
  kms encrypt prod/orders --aad order-17 --out order.enc order.json
  kms encrypt prod/orders --json < order.json"""
)
@_key_argument
@_input_argument
@aad_option
@out_option
@online()
def encrypt(session: Session, key: str, data: str, aad: str, out: Path | None) -> None:
    """Encrypt up to 64 KiB under the primary version of a key."""
    request = {"name": str(key_name(session, key)), "plaintext": _read(data)}
    request["additional_authenticated_data"] = base64_text(aad)
    write_public(session, session.call(SERVICE, "Encrypt", request), "ciphertext", out)


@click.command(
    epilog="""\b
Example:
  kms decrypt prod/orders --aad order-17 --out order.json order.enc"""
)
@_key_argument
@_input_argument
@aad_option
@_compromised_option
@out_option
@online()
def decrypt(
    session: Session, key: str, data: str, aad: str, allow_compromised: bool, out: Path | None
) -> None:
    """Decrypt what a key encrypted.

    The ciphertext names the version itself. A file has mode 0600.
    """
    request = {
        "name": str(key_name(session, key)),
        "ciphertext": _read(data),
        "additional_authenticated_data": base64_text(aad),
        "allow_compromised": allow_compromised,
    }
    write_secret(session, session.call(SERVICE, "Decrypt", request), "plaintext", out)


@click.command(
    epilog="""\b
Example:
  kms reencrypt prod/orders --to prod/archive --out order.new order.enc"""
)
@_key_argument
@_input_argument
@click.option("--to", "destination", metavar="KEY", help="The other key; by default the same.")
@aad_option
@click.option("--new-aad", metavar="TEXT", help="Context for the new ciphertext; by default the old one.")
@out_option
@online()
def reencrypt(
    session: Session,
    key: str,
    data: str,
    destination: str | None,
    aad: str,
    new_aad: str | None,
    out: Path | None,
) -> None:
    """Move a ciphertext to the primary version of a key.

    The plaintext does not leave the KMS.
    """
    source = str(key_name(session, key))
    request = {
        "name": source,
        "ciphertext": _read(data),
        "additional_authenticated_data": base64_text(aad),
        "destination": source if destination is None else str(key_name(session, destination)),
        "destination_additional_authenticated_data": base64_text(aad if new_aad is None else new_aad),
    }
    write_public(session, session.call(SERVICE, "ReEncrypt", request), "ciphertext", out)


@click.command(
    "data-key",
    epilog="""\b
Example:
  kms data-key prod/orders --wrapped orders.key.enc --out orders.key
  kms data-key prod/orders --wrapped orders.key.enc --wrapped-only""",
)
@_key_argument
@click.option(
    "--bytes",
    "count",
    type=click.Choice(["16", "32", "64"]),
    default="32",
    show_default=True,
    help="Its length.",
)
@click.option(
    "--wrapped",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="File for the data key as KEY encrypts it.",
)
@click.option("--wrapped-only", is_flag=True, help="Do not hand out the data key itself.")
@aad_option
@out_option
@online()
def data_key(
    session: Session, key: str, count: str, wrapped: Path, wrapped_only: bool, aad: str, out: Path | None
) -> None:
    """Make a data key, to encrypt more than a call takes.

    `kms decrypt` gets it back from the wrapped one. A file with the data key itself has mode 0600.
    """
    if wrapped_only and out is not None:
        raise UsageError("--out is for the data key itself", hint="Leave out --out or --wrapped-only.")
    request = {
        "name": str(key_name(session, key)),
        "byte_count": int(count),
        "with_plaintext": not wrapped_only,
        "additional_authenticated_data": base64_text(aad),
    }
    answer = session.call(SERVICE, "GenerateDataKey", request)
    # First, so that no data key is handed out whose wrapped form was lost.
    with public_sink(wrapped, binary=True) as sink:
        sink.write(base64.b64decode(answer["ciphertext"]))
    if not wrapped_only:
        write_secret(session, answer, "plaintext", out)
    elif session.as_json:
        write_json({"name": answer["name"], "wrapped": str(wrapped)})


@click.command(
    epilog="""\b
Example:
  kms sign prod/signing --out release.sig release.txt"""
)
@_key_argument
@_input_argument
@out_option
@online()
def sign(session: Session, key: str, data: str, out: Path | None) -> None:
    """Sign a message of up to 64 KiB with RSA-PSS.

    The primary version of the key signs; --json says which one it is.
    """
    request = {"name": str(key_name(session, key)), "message": _read(data)}
    write_public(session, session.call(SERVICE, "Sign", request), "signature", out)


@click.command(
    epilog="""\b
Example:
  kms verify prod/signing/1 --signature release.sig release.txt"""
)
@click.argument("key", metavar="VERSION")
@_input_argument
@click.option("--signature", type=STREAM, required=True, metavar="FILE", help="The signature.")
@_compromised_option
@online()
def verify(session: Session, key: str, data: str, signature: str, allow_compromised: bool) -> None:
    """Verify a signature by a version of a key.

    Exit code 0 only if it holds.
    """
    name = str(resolve(KeyVersionName, key, session.tenant))
    request = {
        "name": name,
        "message": _read(data),
        "signature": _read(signature),
        "allow_compromised": allow_compromised,
    }
    session.show({"verified": True, **session.call(SERVICE, "Verify", request)})


@click.command(
    epilog="""\b
Example:
  kms mac prod/webhooks --out body.mac body.json"""
)
@_key_argument
@_input_argument
@out_option
@online()
def mac(session: Session, key: str, data: str, out: Path | None) -> None:
    """Make an HMAC-SHA256 code of up to 64 KiB.

    The primary version of the key makes it; --json says which one it is.
    """
    request = {"name": str(key_name(session, key)), "message": _read(data)}
    write_public(session, session.call(SERVICE, "Mac", request), "mac", out)


@click.command(
    "mac-verify",
    epilog="""\b
Example:
  kms mac-verify prod/webhooks/1 --mac body.mac body.json""",
)
@click.argument("key", metavar="VERSION")
@_input_argument
@click.option("--mac", "code", type=STREAM, required=True, metavar="FILE", help="The code.")
@_compromised_option
@online()
def mac_verify(session: Session, key: str, data: str, code: str, allow_compromised: bool) -> None:
    """Verify a code by a version of a key.

    Exit code 0 only if it holds.
    """
    name = str(resolve(KeyVersionName, key, session.tenant))
    request = {
        "name": name,
        "message": _read(data),
        "mac": _read(code),
        "allow_compromised": allow_compromised,
    }
    session.show({"verified": True, **session.call(SERVICE, "MacVerify", request)})


@click.command(
    "public-key",
    epilog="""\b
Example:
  kms public-key prod/signing/1 --out signing.pem""",
)
@click.argument("key", metavar="VERSION")
@click.option(
    "--format",
    "form",
    type=click.Choice(["PEM", "DER", "JWK"]),
    default="PEM",
    show_default=True,
    help="Form.",
)
@out_option
@online()
def public_key(session: Session, key: str, form: str, out: Path | None) -> None:
    """Get the public key of a version."""
    name = str(resolve(KeyVersionName, key, session.tenant))
    request = {"name": name, "format": f"PUBLIC_KEY_FORMAT_{form}"}
    write_public(session, session.call(SERVICE, "GetPublicKey", request), "public_key", out)


@click.command(
    epilog="""\b
Example:
  kms random prod --bytes 32 --out seed"""
)
@click.argument("namespace", metavar="NAMESPACE")
@click.option(
    "--bytes", "count", type=click.IntRange(1, 1024), default=32, show_default=True, help="How many."
)
@out_option
@online()
def random(session: Session, namespace: str, count: int, out: Path | None) -> None:
    """Get random bytes, if the KMS policy of a namespace allows it.

    A file has mode 0600.
    """
    name = str(resolve(NamespaceName, namespace, session.tenant))
    answer = session.call(SERVICE, "GenerateRandom", {"name": name, "byte_count": count})
    write_secret(session, {"name": name, **answer}, "data", out)
