"""`kms key`: keys of a namespace and their versions."""

import uuid
from typing import Any

import click

from cli.errors import UsageError
from cli.online.names import resolve
from cli.online.parameters import description_option, etag_option, field_mask, labels_option, span
from cli.online.session import Session, online
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName, NamespaceName

SERVICE = "KeyService"
COLUMNS = ("name", "purpose", "algorithm", "sensitivity", "primary_version", "kms_policy")
VERSION_COLUMNS = ("name", "state", "primary", "algorithm", "sensitivity", "origin", "last_used_time")
LEVELS = ("LOW", "MEDIUM", "HIGH")

_key_argument = click.argument("name", metavar="KEY")
_version_argument = click.argument("name", metavar="VERSION")


def key_name(session: Session, name: str) -> KeyName:
    return resolve(KeyName, name, session.tenant)


def version_name(session: Session, name: str) -> str:
    return str(resolve(KeyVersionName, name, session.tenant))


@click.command(
    epilog="""\b
Example:
  kms key create prod/orders --policy prod/orders
  kms key create prod/signing --purpose ASYMMETRIC_SIGN --algorithm RSA_PSS_3072_SHA256 --rotation 90d"""
)
@_key_argument
@click.option(
    "--purpose",
    type=click.Choice([item.value for item in Purpose]),
    default=Purpose.ENCRYPT_DECRYPT.value,
    show_default=True,
    help="What the key is for, for its whole life.",
)
@click.option("--algorithm", type=click.Choice(sorted(ALGORITHMS)), help="By default the purpose's first.")
@click.option(
    "--sensitivity",
    type=click.Choice(LEVELS),
    default="MEDIUM",
    show_default=True,
    help="LOW may be exported; MEDIUM stays in the KMS; HIGH stays in a device.",
)
@click.option("--policy", metavar="POLICY", help="KMS policy that says who may use it.")
@click.option("--rotation", type=span, metavar="TIME", help="Make a new version this often, such as 90d.")
@description_option
@labels_option
@click.option("--import-only", is_flag=True, help="Draw no bytes: the first version waits for an import.")
@online()
def create(
    session: Session,
    name: str,
    purpose: str,
    algorithm: str | None,
    sensitivity: str,
    policy: str | None,
    rotation: str | None,
    description: str,
    labels: tuple[tuple[str, str], ...],
    import_only: bool,
) -> None:
    """Make a key with its first version.

    KEY is NAMESPACE/ID, or the whole name. Nobody can use the key until a KMS policy, its own or its
    namespace's, allows him.
    """
    whole = key_name(session, name)
    key: dict[str, Any] = {
        "purpose": f"KEY_PURPOSE_{purpose}",
        "sensitivity": f"SENSITIVITY_{sensitivity}",
        "description": description,
        "labels": dict(labels),
    }
    if algorithm is not None:
        key["algorithm"] = f"KEY_ALGORITHM_{algorithm}"
    if policy is not None:
        key["kms_policy"] = str(resolve(KmsPolicyName, policy, session.tenant))
    if rotation is not None:
        key["rotation_period"] = rotation
    request = {
        "parent": str(NamespaceName(whole.tenant, whole.namespace)),
        "key_id": whole.key,
        "key": key,
        "skip_initial_version": import_only,
        "request_id": str(uuid.uuid4()),
    }
    session.show(session.call(SERVICE, "CreateKey", request))


@click.command(
    epilog="""\b
Example:
  kms key get prod/orders"""
)
@_key_argument
@online()
def get(session: Session, name: str) -> None:
    """Show a key."""
    session.show(session.call(SERVICE, "GetKey", {"name": str(key_name(session, name))}))


@click.command(
    "list",
    epilog="""\b
Example:
  kms key list prod --selector team=sales""",
)
@click.argument("namespace", metavar="NAMESPACE")
@click.option("--selector", default="", metavar="SELECTOR", help="Only keys whose labels it selects.")
@online()
def list_keys(session: Session, namespace: str, selector: str) -> None:
    """List the keys of a namespace."""
    parent = str(resolve(NamespaceName, namespace, session.tenant))
    request = {"parent": parent, "label_selector": selector}
    session.table(session.all_of(SERVICE, "ListKeys", request, "keys"), COLUMNS)


@click.command(
    epilog="""\b
Example:
  kms key update prod/orders --policy prod/orders --rotation 30d
  kms key update prod/orders --no-rotation"""
)
@_key_argument
@click.option("--policy", metavar="POLICY", help="KMS policy that says who may use it.")
@click.option("--rotation", type=span, metavar="TIME", help="Make a new version this often.")
@click.option("--no-rotation", is_flag=True, help="Make no new versions by itself.")
@click.option("--sensitivity", type=click.Choice(LEVELS), help="Raise it, which makes a new version.")
@click.option("--minimum-encrypt-version", type=click.IntRange(0), help="Refuse older ones for new things.")
@click.option("--minimum-decrypt-version", type=click.IntRange(0), help="Refuse older ones altogether.")
@etag_option
@online()
def update(
    session: Session,
    name: str,
    policy: str | None,
    rotation: str | None,
    no_rotation: bool,
    sensitivity: str | None,
    minimum_encrypt_version: int | None,
    minimum_decrypt_version: int | None,
    etag: str,
) -> None:
    """Change what is given, and leave the rest."""
    if rotation is not None and no_rotation:
        raise UsageError("--rotation and --no-rotation exclude each other")
    changes: dict[str, Any] = {
        "kms_policy": None if policy is None else str(resolve(KmsPolicyName, policy, session.tenant)),
        "rotation_period": rotation,
        "sensitivity": None if sensitivity is None else f"SENSITIVITY_{sensitivity}",
        "minimum_encrypt_version": minimum_encrypt_version,
        "minimum_decrypt_version": minimum_decrypt_version,
    }
    changes = {field: value for field, value in changes.items() if value is not None}
    mask = [*changes, *(["rotation_period", "next_rotation_time"] if no_rotation else [])]
    if not mask:
        raise UsageError("nothing to change", hint="See `kms key update --help`.")
    request = {
        "key": {"name": str(key_name(session, name)), "etag": etag, **changes},
        "update_mask": field_mask(mask),
    }
    session.show(session.call(SERVICE, "UpdateKey", request))


@click.command(
    epilog="""\b
Example:
  kms key rotate prod/orders"""
)
@_key_argument
@online()
def rotate(session: Session, name: str) -> None:
    """Make a new primary version; older ones go on decrypting and verifying."""
    session.show(session.call(SERVICE, "RotateKey", {"name": str(key_name(session, name))}))


@click.command(
    epilog="""\b
Example:
  kms key versions prod/orders"""
)
@_key_argument
@online()
def versions(session: Session, name: str) -> None:
    """List the versions of a key, oldest first."""
    request = {"parent": str(key_name(session, name))}
    session.table(session.all_of(SERVICE, "ListKeyVersions", request, "key_versions"), VERSION_COLUMNS)


@click.command(
    "version",
    epilog="""\b
Example:
  kms key version prod/orders/2""",
)
@_version_argument
@online()
def get_version(session: Session, name: str) -> None:
    """Show a version, with what is left of its nonce budget."""
    session.show(session.call(SERVICE, "GetKeyVersion", {"name": version_name(session, name)}))


def _changing(command: str, method: str, help_: str) -> click.Command:
    """A command that changes a version's state and nothing else."""

    @click.command(command, help=help_, epilog=f"\b\nExample:\n  kms key {command} prod/orders/2")
    @_version_argument
    @etag_option
    @online()
    def change(session: Session, name: str, etag: str) -> None:
        request = {"name": version_name(session, name), "etag": etag}
        session.show(session.call(SERVICE, method, request))

    return change


set_primary = _changing("set-primary", "SetPrimaryKeyVersion", "Use an enabled version for what is new.")
enable = _changing("enable", "EnableKeyVersion", "Let a disabled version serve again.")
disable = _changing("disable", "DisableKeyVersion", "Stop a version from serving.")
mark_compromised = _changing(
    "mark-compromised",
    "MarkKeyVersionCompromised",
    "Say that others may know a version: it makes nothing new from now on.",
)
cancel_destroy = _changing(
    "cancel-destroy", "CancelDestroyKeyVersion", "Take a scheduled destruction back; the version is disabled."
)


@click.command(
    "schedule-destroy",
    epilog="""\b
Example:
  kms key schedule-destroy prod/orders/1 --delay 30d""",
)
@_version_argument
@click.option("--delay", type=span, metavar="TIME", help="24h to 120d; by default 30d.")
@etag_option
@online()
def schedule_destroy(session: Session, name: str, delay: str | None, etag: str) -> None:
    """Set the time at which a version's bytes are overwritten; what it encrypted is lost then."""
    request: dict[str, Any] = {"name": version_name(session, name), "etag": etag}
    if delay is not None:
        request["delay"] = delay
    session.show(session.call(SERVICE, "ScheduleDestroyKeyVersion", request))
