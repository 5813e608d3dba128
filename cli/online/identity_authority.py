"""`kms identity-authority`: the KMS's own authorities are replaced while it serves.

What the offline root signs is made by `sign` and `new-root`, where its key is.
"""

from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import UsageError
from cli.online.session import Answer, Session, online
from cli.online.view import view
from cli.options import FILE, out_option
from cli.output import write_json, write_table
from cli.output_file import PUBLIC, output_file
from cli.secret_io import public_sink, read_bounded
from kms.errors import InvalidField
from kms.identity.rotation import MAX_PEM
from kms.model.names import IdentityAuthorityName, IdentityRootName, ResourceName

SERVICE = "IdentityAuthorityService"
ROOT_COLUMNS = ("name", "state", "identity_root", "expire_time")
COLUMNS = ("name", "state", "root", "expire_time", "identity_count")

_Name = TypeVar("_Name", bound=ResourceName)

_certificate = click.argument("certificate", metavar="FILE", type=FILE)
_authority = click.argument("name", metavar="AUTHORITY")
_force = click.option("--force", is_flag=True, help="Cut off those who depend on it still.")


@click.command(
    epilog="""\b
Example:
  kms identity-authority status"""
)
@online()
def status(session: Session) -> None:
    """Show the KMS's roots and intermediates.

    And of each intermediate how many identities have certificates of it that hold.
    """
    answer = session.call(SERVICE, "GetIdentityTrust", {})
    if session.as_json:
        write_json(view(answer))
        return
    write_table(_rows(answer["roots"], ROOT_COLUMNS))
    click.echo()
    write_table(_rows(answer["authorities"], COLUMNS))


@click.command(
    epilog="""\b
Example:
  kms identity-authority bundle --out ca.pem"""
)
@out_option
@online()
def bundle(session: Session, out: Path | None) -> None:
    """Write the roots that are trusted.

    In PEM, for those whom the KMS does not tell: callers with certificates of other authorities, proxies.
    """
    roots = session.call(SERVICE, "GetIdentityTrust", {})["roots"]
    with public_sink(out, binary=False) as sink:
        for root in roots:
            if root["state"] == "STATE_TRUSTED":
                sink.write(root["certificate_pem"].encode())


@click.command(
    epilog="""\b
Example:
  kms identity-authority prepare --out next.csr"""
)
@click.option("--out", "-o", type=FILE, required=True, help="File to write the request to, in PEM.")
@online()
def prepare(session: Session, out: Path) -> None:
    """Make the key of the next intermediate, and a request for its certificate.

    The key stays in the KMS. Take the request to where the root's key is, and the printed key_sha256 apart
    from it: `kms identity-authority sign` compares them. Until what it makes is activated, nothing has
    changed; a repeat gives the same request.
    """
    answer = session.call(SERVICE, "PrepareIdentityAuthority", {})
    with output_file(out, mode=PUBLIC) as file:
        file.write(answer.pop("csr_pem").encode())
    session.show(answer)


@click.command(
    epilog="""\b
Example:
  kms identity-authority activate ca-0123456789abcdef next.pem"""
)
@_authority
@_certificate
@online()
def activate(session: Session, name: str, certificate: Path) -> None:
    """Issue with a prepared intermediate from now on; FILE is what `sign` made.

    The one before issues no more. Its certificates are accepted until they expire, and renewed into new ones.
    """
    request = {"name": _whole(IdentityAuthorityName, name), "certificate_pem": _pem(certificate)}
    session.show(_without_pem(session.call(SERVICE, "ActivateIdentityAuthority", request)))


@click.command(
    epilog="""\b
Example:
  kms identity-authority retire ca-0123456789abcdef"""
)
@_authority
@_force
@online()
def retire(session: Session, name: str, force: bool) -> None:
    """Refuse all that an intermediate issued.

    From the next call on, on open connections too. One that was only prepared is forgotten with its key.
    While identities depend on it, their number and the end of the last certificate are told, and nothing is
    done without --force.
    """
    request = {"name": _whole(IdentityAuthorityName, name), "force": force}
    session.show(_without_pem(session.call(SERVICE, "RetireIdentityAuthority", request)))


@click.command(
    epilog="""\b
Example:
  kms identity-authority publish-root next-root.pem"""
)
@_certificate
@online()
def publish_root(session: Session, certificate: Path) -> None:
    """Have clients trust a new root beside the one before; FILE is what `new-root --out` made."""
    request = {"certificates_pem": _pem(certificate)}
    session.show(_without_pem(session.call(SERVICE, "PublishIdentityRoot", request)))


@click.command(
    epilog="""\b
Example:
  kms identity-authority retire-root root-0123456789abcdef"""
)
@click.argument("name", metavar="ROOT")
@_force
@online()
def retire_root(session: Session, name: str, force: bool) -> None:
    """Trust a root no more, nor what it signed; once an intermediate of another root issues.

    Those count too who got their certificates before the other root was published, and so do not know it.
    """
    request = {"name": _whole(IdentityRootName, name), "force": force}
    session.show(_without_pem(session.call(SERVICE, "RetireIdentityRoot", request)))


def _whole(kind: type[_Name], text: str) -> str:
    """The name, of which the id alone will do. Raises `UsageError`."""
    try:
        return str(kind.parse(text if "/" in text else kind.PATTERN.partition("{")[0] + text))
    except InvalidField:
        pass
    raise UsageError(f"{text!r} is not a name of the form {kind.PATTERN}, in short its last part")


def _pem(path: Path) -> str:
    """Raises `UsageError`."""
    return read_bounded(str(path), "certificate", MAX_PEM).decode("ascii", "replace")


def _without_pem(answer: Answer) -> Answer:
    return {name: value for name, value in answer.items() if not name.endswith("_pem")}


def _rows(answers: list[Answer], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: view(answer).get(name, "") for name in columns} for answer in answers]
