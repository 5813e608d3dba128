"""`kms operator keygen` and `unwrap-share`: what the holder of a share does, where no KMS is reached."""

from pathlib import Path

import click

from blindfold.secret import SecretBytes
from cli.options import FILE, STREAM, json_option
from cli.output import write_json
from cli.output_file import PRIVATE, output_file
from cli.secret_io import read_bounded, read_secret
from kms.crypto.wrapped_share import MAX_SIZE, WrappedShare, fingerprint, new_key, unwrap_share

MAX_KEY_FILE = 16 << 10

_passphrase_option = click.option(
    "--passphrase-file",
    type=STREAM,
    metavar="FILE",
    help="File with the passphrase that protects the key, - for standard input.",
)


@click.command(
    epilog="""\b
Example:
  kms operator keygen --out olga.pem --passphrase-file passphrase.txt > olga.pub"""
)
@click.option("--out", type=FILE, required=True, help="File for the private key, readable by you alone.")
@_passphrase_option
@json_option
def keygen(out: Path, passphrase_file: str | None, as_json: bool) -> None:
    """Make a key that a share can be wrapped to.

    Prints its public half, for `kms init --share-key`. The private key is in PKCS 8, encrypted if a
    passphrase is given. Without it the share is lost.
    """
    private, public = new_key(_passphrase(passphrase_file))
    with output_file(out, mode=PRIVATE) as file:
        file.write(private.reveal())
    if as_json:
        write_json({"public_key": public.decode("ascii"), "fingerprint": fingerprint(public)})
    else:
        click.echo(public.decode("ascii"), nl=False)


@click.command(
    "unwrap-share",
    epilog="""\b
Example:
  kms operator unwrap-share --key olga.pem share-1.json | kms operator unlock""",
)
@click.argument("share", metavar="[SHARE_FILE]", type=STREAM, default="-")
@click.option("--key", type=FILE, required=True, help="Your private key, as `kms operator keygen` wrote it.")
@_passphrase_option
@json_option
def unwrap(share: str, key: Path, passphrase_file: str | None, as_json: bool) -> None:
    """Print the words of a share that was wrapped to your key.

    They go to paper, or into `kms operator unlock`.
    """
    wrapped = WrappedShare.parse(read_bounded(share, "share", MAX_SIZE).strip())
    private = SecretBytes(read_bounded(str(key), "--key", MAX_KEY_FILE))
    words = unwrap_share(wrapped, private, _passphrase(passphrase_file)).reveal().decode("ascii")
    if as_json:
        header = wrapped.header
        write_json({"share": words, "number": header.number, "threshold": header.threshold})
    else:
        click.echo(words)


def _passphrase(name: str | None) -> SecretBytes | None:
    return None if name is None else read_secret(name, "passphrase")
