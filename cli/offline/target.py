"""What a secret is sealed to: the options that name it, and its verification."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from blindfold import Binding, KeyDocument, PolicyDocument, seen
from blindfold.errors import DocumentMismatch
from cli.documents import Trust, Verified, read_verified, verify_key, verify_policy
from cli.errors import UsageError
from cli.memory import remember
from cli.options import FILE, allow_expired_option, must_pin, read_profile, trust_key_option

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """What a secret is sealed to."""

    key: Verified[KeyDocument]
    policy: Verified[PolicyDocument]

    def to_json(self) -> dict[str, Any]:
        key, policy = self.key.document, self.policy.document
        return {
            "tenant": key.tenant,
            "key_version": key.key_version,
            "key_fingerprint": key.fingerprint.hex(),
            "policy": policy.resource_name,
            "policy_revision": policy.revision,
            "policy_digest": policy.digest.hex(),
            "binding": policy.binding.name,
            "used_expired_documents": self.key.expired or self.policy.expired,
        }


def target_options(command: _Command) -> _Command:
    """The `TARGET_OPTIONS` but `profile_path` and `tenant`, which commands have anyway."""
    for decorate in reversed(_OPTIONS):
        command = decorate(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--public-key", type=FILE, required=True, help="Signed public key of the tenant."),
    click.option("--policy-document", type=FILE, required=True, help="Signed policy document to seal to."),
    trust_key_option,
    allow_expired_option,
    click.option(
        "--require-binding",
        type=click.Choice(["revision", "policy"]),
        help="Refuse a policy document of the other binding.",
    ),
    click.option(
        "--state",
        type=FILE,
        help="Memory of documents used before, to refuse older ones; by default of the user.",
    ),
    click.option("--no-state", is_flag=True, help="Neither read nor write that memory."),
)

TARGET_OPTIONS = (
    "public_key", "policy_document", "trust_keys", "profile_path", "tenant", "allow_expired",
    "require_binding", "state", "no_state",
)  # fmt: skip


def verified_target(
    *,
    public_key: Path,
    policy_document: Path,
    trust_keys: tuple[str, ...],
    profile_path: Path | None,
    tenant: str | None,
    allow_expired: bool,
    require_binding: str | None,
    state: Path | None,
    no_state: bool,
) -> Target:
    """Both documents, verified, of one tenant, and not older than those used before."""
    if state and no_state:
        raise UsageError("--state and --no-state exclude each other")
    settings = read_profile(profile_path)
    trust = Trust(must_pin(trust_keys, settings), datetime.now(UTC), allow_expired)
    target = Target(
        read_verified(public_key, verify_key, trust), read_verified(policy_document, verify_policy, trust)
    )
    check_belongs(target, tenant or settings.tenant, require_binding)
    if not no_state:
        memory = state or seen.default_path(os.environ)
        remember(memory, target.key.document, target.policy.document)
    return target


def check_belongs(target: Target, tenant: str, require_binding: str | None) -> None:
    """Raises `DocumentMismatch` for two tenants, for another than `tenant`, or for another binding."""
    key, policy = target.key.document, target.policy.document
    if key.tenant != policy.tenant:
        raise DocumentMismatch(f"the key is of tenant {key.tenant!r}, the policy of {policy.tenant!r}")
    if tenant and key.tenant != tenant:
        raise DocumentMismatch(f"the documents are of tenant {key.tenant!r}, not of {tenant!r}")
    if require_binding and policy.binding is not Binding[require_binding.upper()]:
        raise DocumentMismatch(
            f"the policy document binds secrets to the {policy.binding.name.lower()}, "
            f"not to the {require_binding}"
        )
