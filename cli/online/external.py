"""`blindfold external`: secrets of vaults, fetched by the caller himself."""

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from blindfold.secret import SecretBytes
from cli.access_file import FILE as ACCESS_FILE
from cli.online.applying import named
from cli.online.names import resolve
from cli.online.secret_output import deliver
from cli.online.session import Session, online
from cli.options import STREAM, out_option
from cli.output import write_json
from cli.resource_file import read_files
from cli.secret_io import read_bounded
from kms.client.accesses import FetchedAccesses
from kms.client.opening import open_sealed
from kms.external.fetched import Fetched
from kms.external.sources import SecretSources
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import Allowances, SecretManagementAccess
from kms.model.secret_type import MAX_CIPHERTEXT, BlindfoldSecret, SecretEncoding, VaultSecret

Given = Mapping[SecretManagementAccessName, SecretManagementAccess]


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
@click.option(
    "--access-file",
    "access_files",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    metavar="FILE|DIR",
    help="Read accesses from here instead of the KMS; may be repeated.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="Connect to no other vault; may be repeated. Needed for credentials that are not sealed for one.",
)
@click.option("--allow-clear", is_flag=True, help="Use credentials that are in clear.")
@click.option("--allow-http", is_flag=True, help="Connect to a loopback address without TLS.")
@out_option
@online()
def get(
    session: Session,
    access: str,
    path: str,
    access_files: tuple[Path, ...],
    endpoints: tuple[str, ...],
    allow_clear: bool,
    allow_http: bool,
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
    allowances = Allowances(clear_secrets=allow_clear, plain_http=allow_http, endpoints=endpoints)
    fetched = asyncio.run(_fetch(session, wanted, _given(session, access_files), allowances))
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


def _given(session: Session, paths: tuple[Path, ...]) -> Given:
    """The accesses in files. Raises `CliError`, `UsageError`."""
    if not paths:
        return {}
    files = named(
        read_files(paths, ACCESS_FILE),
        lambda name: str(resolve(SecretManagementAccessName, name, session.tenant)),
    )
    return {SecretManagementAccessName.parse(name): file.content for name, file in files}


async def _fetch(session: Session, wanted: VaultSecret, given: Given, allowances: Allowances) -> Fetched:
    accesses = FetchedAccesses()

    async def find(name: SecretManagementAccessName) -> SecretManagementAccess:
        if name in given:
            return given[name]
        return await asyncio.to_thread(accesses.fetch, session.api, name)

    async def open_blindly(secret: BlindfoldSecret) -> SecretBytes:
        return await asyncio.to_thread(open_sealed, session.api, secret.sealed)

    sources = SecretSources(find, open_blindly, allowances)
    try:
        fetched = await sources.get(wanted)
    except BaseException:
        await sources.close()
        raise
    # A secret with a lease is to outlive this program, and the token that it was made with too.
    await sources.close(revoke=not fetched.is_leased)
    return fetched
