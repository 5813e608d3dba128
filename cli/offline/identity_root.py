"""`kms identity-authority sign` and `new-root`: what is done where the identity root's key is, offline."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.options import FILE, json_option
from cli.output import write_fields, write_json
from cli.output_file import PRIVATE, PUBLIC, output_file
from cli.profile import FINGERPRINT
from cli.secret_io import read_bounded, read_secret
from kms.identity.authority import CertificateAuthority, create_root
from kms.identity.csr import MAX_CSR
from kms.identity.rotation import endorse_root, sign_request
from kms.identity.trust import fingerprint

MAX_ROOT_FILE = 16 << 10

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _root_options(*, required: bool) -> Callable[[_Command], _Command]:
    """`root_file` and `passphrase_file`, for `_load`."""
    root = click.option(
        "--root",
        "root_file",
        type=FILE,
        required=required,
        help="The identity root's key and certificate, in PEM, as `kms init` and `new-root` write them.",
    )
    passphrase = click.option(
        "--passphrase-file", type=FILE, help="Passphrase of that key, if it is encrypted."
    )
    return lambda command: root(passphrase(command))


def _sha256(context: click.Context, option: click.Parameter, text: str) -> bytes:
    if not FINGERPRINT.fullmatch(text):
        raise click.BadParameter("not of the form sha256:<64 lower-case hex digits>")
    return bytes.fromhex(text.removeprefix("sha256:"))


@click.command(
    epilog="""\b
Example:
  kms identity-authority sign --root identity-root.pem --key-sha256 sha256:... --out next.pem next.csr"""
)
@_root_options(required=True)
@click.option(
    "--key-sha256",
    required=True,
    callback=_sha256,
    metavar="sha256:HEX",
    help="What `kms identity-authority prepare` printed: the request could have been exchanged on its way.",
)
@click.option("--out", "-o", type=FILE, required=True, help="File to write the certificate to, in PEM.")
@json_option
@click.argument("request", metavar="FILE", type=FILE)
def sign(
    request: Path,
    root_file: Path,
    passphrase_file: Path | None,
    key_sha256: bytes,
    out: Path,
    as_json: bool,
) -> None:
    """Certify the KMS's next intermediate with the root's key, offline.

    FILE is the request that `kms identity-authority prepare` wrote. Nothing of it counts but its key.
    """
    root = _load(root_file, passphrase_file)
    csr = read_bounded(str(request), "request", MAX_CSR)
    certificate = sign_request(root, csr, key_sha256, datetime.now(UTC))
    with output_file(out, mode=PUBLIC) as file:
        file.write(certificate)
    _show(root, out, as_json=as_json)


@click.command(
    epilog="""\b
Example:
  kms identity-authority new-root --root identity-root.pem --key-out next-root-key.pem --out next-root.pem"""
)
@_root_options(required=False)
@click.option(
    "--trust-domain",
    metavar="NAME",
    help="In the place of --root, where its key is lost: nobody endorses the new root. See `adopt-root`.",
)
@click.option(
    "--key-out",
    type=FILE,
    required=True,
    help="File to write the new root's key and certificate to, mode 0600: it stays offline.",
)
@click.option(
    "--new-passphrase-file", type=FILE, help="Passphrase to encrypt the new key with; by default it is not."
)
@click.option(
    "--out",
    "-o",
    type=FILE,
    required=True,
    help="File to write the new root's certificate and its endorsement to, in PEM.",
)
@json_option
def new_root(
    root_file: Path | None,
    passphrase_file: Path | None,
    trust_domain: str | None,
    key_out: Path,
    new_passphrase_file: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Make a new identity root, endorsed by the one before, offline.

    `kms identity-authority publish-root` takes what --out gets. Keep both keys until the old root is retired.
    With --trust-domain nobody endorses it, and only `adopt-root` takes it.
    """
    if key_out.exists():
        raise UsageError(
            f"{key_out} is there already", hint="Name a new file: no root's key is written over."
        )
    new, published = _made(root_file, passphrase_file, trust_domain)
    with (
        new.private_key_pem(_passphrase(new_passphrase_file)) as key,
        output_file(key_out, mode=PRIVATE) as file,
    ):
        file.write(key.reveal() + new.certificate_pem())
    with output_file(out, mode=PUBLIC) as file:
        file.write(published)
    _show(new, out, as_json=as_json)


def _made(
    root_file: Path | None, passphrase_file: Path | None, trust_domain: str | None
) -> tuple[CertificateAuthority, bytes]:
    """A new root, and its certificate with the endorsement that there is. Raises `UsageError`."""
    now = datetime.now(UTC)
    if (root_file is None) is (trust_domain is None):
        raise UsageError("give --root, or --trust-domain where no root is left to endorse the new one")
    if root_file is None or trust_domain is not None:
        new = create_root(str(trust_domain), now)
        return new, new.certificate_pem()
    old = _load(root_file, passphrase_file)
    new = create_root(old.trust_domain, now)
    return new, endorse_root(old, new.certificate_pem(), now)


def _load(root_file: Path, passphrase_file: Path | None) -> CertificateAuthority:
    """Raises `UsageError`, `ConfigError`."""
    with SecretBytes(read_bounded(str(root_file), "identity root", MAX_ROOT_FILE)) as pem:
        return CertificateAuthority.load_offline(pem.reveal(), pem, _passphrase(passphrase_file))


def _passphrase(file: Path | None) -> SecretBytes | None:
    return None if file is None else read_secret(str(file), "passphrase")


def _show(root: CertificateAuthority, out: Path, *, as_json: bool) -> None:
    shown = {
        "identity_root": f"sha256:{fingerprint(root.certificate).hex()}",
        "trust_domain": root.trust_domain,
        "out": str(out),
    }
    (write_json if as_json else write_fields)(shown)
