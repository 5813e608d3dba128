"""`kms trusted-authority`: authorities of a tenant's own, whose certificates are accepted, and as whom."""

import base64
import uuid
from pathlib import Path
from typing import Any

import click

from cli.online.admission_options import admission_options, as_message, with_options
from cli.online.names import resolve
from cli.online.parameters import comment_option, etag_option
from cli.online.session import Session, online
from cli.options import FILE
from cli.secret_io import read_bounded
from kms.identity.certificates import MAX_CERTIFICATE
from kms.identity.corporate import KEY_TYPES
from kms.model.names import TenantName, TrustedAuthorityName

SERVICE = "TrustedAuthorityService"

_authority_argument = click.argument("name", metavar="AUTHORITY")
_settings = with_options(
    (
        click.option(
            "--certificates",
            type=FILE,
            required=True,
            help="PEM: its root, and the intermediates between it and the certificates of callers.",
        ),
        *admission_options(
            "subject, as CN=web,OU=Platform,O=Acme", "a field, such as /subject/OU or /san/dns,"
        ),
        click.option(
            "--key-type",
            "key_types",
            type=click.Choice(KEY_TYPES),
            multiple=True,
            help="What keys its certificates may have; may be repeated. By default all but RSA_2048.",
        ),
    )
)


def _message(settings: dict[str, Any], certificates: Path) -> dict[str, Any]:
    """The API's TrustedAuthority. Raises `OSError`."""
    return as_message(settings) | {"certificates_pem": certificates.read_text("utf-8")}


@click.command(
    epilog="""\b
Example:
  kms trusted-authority create corp --certificates corp-ca.pem --subject "*" \\
    --claim /subject/OU=Platform --namespace prod --identity /subject/CN --role key-user@prod"""
)
@_authority_argument
@_settings
@online()
def create(session: Session, name: str, certificates: Path, **settings: Any) -> None:
    """Trust an authority of the tenant's own.

    Namespace, id and the values of labels are words, or begin with / and are the field of the certificate
    that has them. Its callers have names below the authority's, which no other identity can have.
    """
    authority = resolve(TrustedAuthorityName, name, session.tenant)
    request = {
        "parent": str(TenantName(authority.tenant)),
        "trusted_authority_id": authority.authority,
        "trusted_authority": _message(settings, certificates),
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(SERVICE, "CreateTrustedAuthority", request))


@click.command(
    epilog="""\b
Example:
  kms trusted-authority get corp"""
)
@_authority_argument
@online()
def get(session: Session, name: str) -> None:
    """Show a trusted authority."""
    request = {"name": str(resolve(TrustedAuthorityName, name, session.tenant))}
    session.show(session.call(SERVICE, "GetTrustedAuthority", request))


@click.command(
    "list",
    epilog="""\b
Example:
  kms trusted-authority list""",
)
@online()
def list_authorities(session: Session) -> None:
    """List the trusted authorities of the tenant."""
    found = session.all_of(
        SERVICE, "ListTrustedAuthorities", {"parent": session.parent}, "trusted_authorities"
    )
    session.table(found, ("name", "subjects", "namespace", "identity", "roles"))


@click.command(
    epilog="""\b
Example:
  kms trusted-authority update corp --certificates corp-ca-2027.pem --subject "*" \\
    --namespace prod --identity /subject/CN"""
)
@_authority_argument
@etag_option
@_settings
@online()
def update(session: Session, name: str, etag: str, certificates: Path, **settings: Any) -> None:
    """Replace all of a trusted authority; what is not given is as in `create`.

    It counts from the next call of everybody it vouches for.
    """
    authority = {"name": str(resolve(TrustedAuthorityName, name, session.tenant)), "etag": etag}
    request = {"trusted_authority": authority | _message(settings, certificates)}
    session.show(session.call(SERVICE, "UpdateTrustedAuthority", request))


@click.command(
    epilog="""\b
Example:
  kms trusted-authority revoke corp --certificate stolen.pem --comment "host stolen"
  kms trusted-authority revoke corp 5d41402abc4b2a76"""
)
@_authority_argument
@click.argument("serial", metavar="[SERIAL]", default="")
@click.option(
    "--certificate", type=FILE, help="The certificate itself, PEM or DER, in the place of its number."
)
@comment_option
@online()
def revoke(session: Session, name: str, serial: str, certificate: Path | None, comment: str) -> None:
    """Refuse one certificate of a trusted authority, from the next call on.

    SERIAL is its serial number in lower-case hexadecimal. A tenant has room for 50,000 numbers, for good;
    a certificate that is given itself leaves its place when it has expired. Lists of revoked certificates
    that the authority publishes are not read.
    """
    authority = str(resolve(TrustedAuthorityName, name, session.tenant))
    request: dict[str, Any] = {"name": authority, "serial_number": serial, "comment": comment}
    if certificate is not None:
        data = read_bounded(str(certificate), "certificate", MAX_CERTIFICATE)
        request["certificate"] = base64.b64encode(data).decode("ascii")
    session.call(SERVICE, "RevokeCertificate", request)
    shown = {"serial_number": serial} if serial else {}
    session.show({"name": authority, **shown, "revoked": True})


@click.command(
    epilog="""\b
Example:
  kms trusted-authority delete corp"""
)
@_authority_argument
@etag_option
@online()
def delete(session: Session, name: str, etag: str) -> None:
    """Trust an authority no more: its certificates are refused from the next call on."""
    authority = str(resolve(TrustedAuthorityName, name, session.tenant))
    session.call(SERVICE, "DeleteTrustedAuthority", {"name": authority, "etag": etag})
    session.show({"name": authority, "deleted": True})
