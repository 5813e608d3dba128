"""`get` of the signed documents that sealing needs. They are public; whoever seals verifies them."""

from pathlib import Path

import click

from cli.online.names import resolve
from cli.online.session import Session, online
from cli.options import out_option
from cli.output import write_fields, write_json
from cli.secret_io import public_sink
from kms.client.documents import Fetched, fetch_policy_document, fetch_public_key
from kms.model.names import SecretPolicyName, TenantName


@click.command(
    "get",
    epilog="""\b
Example:
  blindfold public-key get --out acme.key""",
)
@out_option
@online()
def get_public_key(session: Session, out: Path | None) -> None:
    """Get the signed public key of the tenant from the KMS.

    It serves until its date, 7 days; `blindfold public-key show` tells. It is not verified here:
    `blindfold seal` does that, against the documents root that is pinned.
    """
    _write(session, fetch_public_key(session.api, TenantName.parse(session.parent)), out)


@click.command(
    "get",
    epilog="""\b
Example:
  blindfold policy-document get prod/web-tls --out web-tls.policy""",
)
@click.argument("name", metavar="POLICY")
@out_option
@online()
def get_policy_document(session: Session, name: str, out: Path | None) -> None:
    """Get the signed document of a policy from the KMS, of its current revision.

    POLICY is NAMESPACE/ID, or the whole name. It is not verified here: `blindfold seal` does that, against
    the documents root that is pinned.
    """
    policy = resolve(SecretPolicyName, name, session.tenant)
    _write(session, fetch_policy_document(session.api, policy), out)


def _write(session: Session, fetched: Fetched, out: Path | None) -> None:
    """The bundle is one line of JSON, which a program that asks for JSON gets as it is."""
    with public_sink(out, binary=False) as sink:
        sink.write(fetched.bundle + b"\n")
    if out is not None:
        shown = {"name": fetched.name, "out": str(out)}
        (write_json if session.as_json else write_fields)(shown)
