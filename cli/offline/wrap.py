"""`kms key wrap`: key material made ready for an import, where no KMS can be reached."""

import base64
from pathlib import Path

import click

from blindfold.secret import SecretBytes
from cli.options import FILE, STREAM, json_option, out_option
from cli.output import write_json
from cli.secret_io import public_sink, read_bounded
from kms.crypto.key_files import key_material, public_key
from kms.crypto.key_wrapping import Recipient

# PEM of the largest key that can be wrapped, with room for text around it.
MAX_KEY_FILE = 16 << 10


@click.command(
    epilog="""\b
Example:
  kms key wrap --import-key import.pem --out orders.wrapped orders.key"""
)
@click.option(
    "--import-key", type=FILE, required=True, help="What `kms key import-key create` wrote, in PEM or DER."
)
@out_option
@json_option
@click.argument("material", metavar="[MATERIAL]", type=STREAM, default="-")
def wrap(material: str, import_key: Path, out: Path | None, as_json: bool) -> None:
    """Wrap key material to an import key, offline.

    MATERIAL is a file with the raw bytes of an AES or HMAC key, or with an unencrypted RSA private key in PEM
    or PKCS 8 DER; by default standard input. `kms key import --wrapped` imports the result. A device that
    has CKM_RSA_AES_KEY_WRAP with SHA-256 and an AES key of 256 bits makes the same.
    """
    towards = Recipient(public_key(read_bounded(str(import_key), "--import-key", MAX_KEY_FILE), "import_key"))
    with read_material(material) as secret:
        wrapped = towards.wrap(secret)
    if as_json and out is None:
        write_json({"wrapped_key": base64.b64encode(wrapped).decode("ascii")})
        return
    with public_sink(out, binary=True) as sink:
        sink.write(wrapped)
    if as_json:
        write_json({"out": str(out)})


def read_material(name: str) -> SecretBytes:
    """What is to be wrapped, in the form that an import takes. Raises `UsageError`, `InvalidField`."""
    data = SecretBytes(read_bounded(name, "key material", MAX_KEY_FILE))
    return key_material(data, "key material")
