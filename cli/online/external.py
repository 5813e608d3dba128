"""`blindfold external`: secrets of vaults, fetched by the caller himself."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import click

from cli.online.names import resolve
from cli.online.secret_output import deliver
from cli.online.session import Session, online
from cli.online.vault_sources import Reach, access_options
from cli.options import STREAM, out_option
from cli.output import write_json
from cli.secret_io import read_bounded
from kms.external.fetched import Fetched
from kms.external.sources import SecretSources
from kms.model.names import SecretManagementAccessName
from kms.model.secret_type import MAX_CIPHERTEXT, SecretEncoding, VaultSecret


@click.command(
    epilog="""\b
Example:
  blindfold external get --key password prod/corp-vault secret/db/web
  blindfold external get --access-file vault.yaml --out ca.pem prod/corp-vault secret/ca"""
)
@click.argument("access", metavar="ACCESS")
@click.argument("path", metavar="PATH")
@click.option("--key", default="", help="One member of what is there; by default all of it, as JSON.")
@click.option("--version", type=click.IntRange(1), help="An older version, where there are versions.")
@click.option("--base64", "is_base64", is_flag=True, help="The vault has the secret in base64.")
@click.option(
    "--ciphertext",
    type=STREAM,
    metavar="FILE",
    help="What the vault encrypted and is to decrypt, where PATH names a key of its transit engine.",
)
@access_options
@out_option
@online()
def get(
    session: Session,
    access: str,
    path: str,
    reach: Reach,
    out: Path | None,
    **about: Any,
) -> None:
    """Fetch a secret from a vault, to which this program connects itself.

    ACCESS is NAMESPACE/ID, or the whole name; the KMS gives it to whomever it selects. PATH is that of the
    secret, such as secret/db/web. Sealed credentials of the access are opened with the help of the KMS, which
    sees neither them nor the secret. A file that --out names has mode 0600.

    A secret with a lease lives until that ends; nothing renews or revokes it once this program has ended.
    """
    wanted = _wanted(resolve(SecretManagementAccessName, access, session.tenant), path, **about)
    fetched = asyncio.run(_fetch(reach.sources(session), wanted))
    secret = fetched.secret.reveal()
    shown = {"access": str(wanted.access), "path": path, "version": fetched.version}
    if session.as_json and out is None:
        write_json(shown | {"secret": base64.b64encode(secret).decode("ascii")})
        return
    deliver(iter([secret]), out, stream=False)
    if session.as_json:
        write_json(shown | {"out": str(out)})


def _wanted(
    name: SecretManagementAccessName,
    path: str,
    *,
    key: str,
    version: int | None,
    is_base64: bool,
    ciphertext: str | None,
) -> VaultSecret:
    encoding = SecretEncoding.BASE64 if is_base64 else SecretEncoding.TEXT
    text = read_bounded(ciphertext, "the ciphertext", MAX_CIPHERTEXT) if ciphertext else b""
    return VaultSecret(name, path, key, version or 0, encoding, text.decode("ascii", "replace").strip())


async def _fetch(sources: SecretSources, wanted: VaultSecret) -> Fetched:
    try:
        fetched = await sources.get(wanted)
    except BaseException:
        await sources.close()
        raise
    # A secret with a lease is to outlive this program, and the token that it was made with too.
    await sources.close(revoke=not fetched.is_leased)
    return fetched
