"""Commands over signed documents: `verify`, `fingerprint`, and `show` of each type."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from blindfold.bundle import root_fingerprint
from blindfold.errors import DocumentMismatch
from cli.documents import (
    POLICY_DOCUMENT,
    PUBLIC_KEY,
    TYPE_NAMES,
    VERIFIERS,
    Trust,
    bundle_fields,
    is_expired,
    naming,
    parse_unverified,
    read_bundle,
    read_verified,
)
from cli.offline.document_view import details, summary
from cli.options import (
    FILE,
    allow_expired_option,
    json_option,
    must_pin,
    pinned,
    read_profile,
    tenant_option,
    trust_options,
)
from cli.output import warn, write_fields, write_json

_bundle_argument = click.argument("path", metavar="BUNDLE", type=FILE)


@click.command(
    epilog="""\b
Example:
  blindfold verify --trust-key sha256:... web-tls.policy
  blindfold verify --type public-key --json tenant.key"""
)
@click.option(
    "--type",
    "type_name",
    type=click.Choice(list(VERIFIERS)),
    help="Type that the document must be of.",
)
@trust_options
@tenant_option
@allow_expired_option
@json_option
@_bundle_argument
def verify(
    path: Path,
    type_name: str | None,
    trust_keys: tuple[str, ...],
    profile_path: Path | None,
    tenant: str | None,
    allow_expired: bool,
    as_json: bool,
) -> None:
    """Verify a signed document up to a pinned root.

    Checks the documents root key, its delegation, the signature, the dates, the form of the document, and of
    a public key its modulus. Prints what the document is and until when it serves.
    """
    settings = read_profile(profile_path)
    trust = Trust(must_pin(trust_keys, settings), datetime.now(UTC), allow_expired)
    name = type_name or TYPE_NAMES[read_bundle(path).delegation.type]
    verified = read_verified(path, VERIFIERS[name], trust)
    expected = tenant or settings.tenant
    if expected and verified.document.tenant != expected:
        raise DocumentMismatch(f"{path}: of tenant {verified.document.tenant!r}, not of {expected!r}")
    state = {"verified": True, "expired": verified.expired}
    write_view(summary(verified.document) | state | bundle_fields(verified.bundle), as_json=as_json)


@click.command(
    epilog="""\b
Example:
  blindfold fingerprint tenant.key"""
)
@json_option
@_bundle_argument
def fingerprint(path: Path, as_json: bool) -> None:
    """Print the fingerprint of the root that signed a document.

    Compare it with the one that `kms init` printed, over a channel that whoever gave you the document does
    not control; only then give it to --trust-key. The signatures are checked up to that root, the date is
    not.
    """
    bundle = read_bundle(path)
    root = root_fingerprint(bundle.delegation.root)
    trust = Trust(frozenset({root}), datetime.now(UTC), allow_expired=True)
    with naming(path):
        VERIFIERS[TYPE_NAMES[bundle.delegation.type]](bundle, trust)
    if as_json:
        write_json({"root": root})
    else:
        click.echo(root)


@click.command(
    "show",
    epilog="""\b
Example:
  blindfold policy-document show web-tls.policy""",
)
@trust_options
@json_option
@_bundle_argument
def show_policy_document(
    path: Path, trust_keys: tuple[str, ...], profile_path: Path | None, as_json: bool
) -> None:
    """Show a policy document: its rules, binding and dates.

    With a pinned documents root key it is verified first, its date excepted; without one it is shown as it
    is, with a warning.
    """
    show(path, POLICY_DOCUMENT, trust_keys, profile_path, as_json=as_json)


@click.command(
    "show",
    epilog="""\b
Example:
  blindfold public-key show tenant.key""",
)
@trust_options
@json_option
@_bundle_argument
def show_public_key(
    path: Path, trust_keys: tuple[str, ...], profile_path: Path | None, as_json: bool
) -> None:
    """Show a tenant's public key: its version, fingerprint and dates.

    With a pinned documents root key it is verified first, its date excepted; without one it is shown as it
    is, with a warning.
    """
    show(path, PUBLIC_KEY, trust_keys, profile_path, as_json=as_json)


def show(
    path: Path,
    type_name: str,
    trust_keys: tuple[str, ...],
    profile_path: Path | None,
    *,
    as_json: bool,
) -> None:
    """View a bundle. Raises as `Bundle.verify` where a root is pinned, its date excepted."""
    keys = pinned(trust_keys, read_profile(profile_path))
    bundle = read_bundle(path)
    now = datetime.now(UTC)
    with naming(path):
        if keys:
            document = VERIFIERS[type_name](bundle, Trust(keys, now, allow_expired=True))
        else:
            document = parse_unverified(bundle)
            if TYPE_NAMES[document.TYPE] != type_name:
                raise DocumentMismatch(f"a {TYPE_NAMES[document.TYPE]}, not a {type_name}")
    if not keys:
        warn("not verified: no documents root key is pinned (--trust-key, or trust_keys in the profile)")
    state = {"verified": bool(keys), "expired": is_expired(bundle, now)}
    rest = {"document": json.loads(bundle.document)} if as_json else details(document)
    write_view(summary(document) | state | bundle_fields(bundle) | rest, as_json=as_json)


def write_view(shown: dict[str, Any], *, as_json: bool) -> None:
    """For a program all of it, for a person without what is empty."""
    if as_json:
        write_json(shown)
    else:
        write_fields({name: value for name, value in shown.items() if value not in ("", [])})
