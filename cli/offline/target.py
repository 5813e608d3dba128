"""What a secret is sealed to: the options that name it, and its verification."""

import os
import re
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

_WHOLE_NAME = re.compile(r"tenants/[^/]+/namespaces/[^/]+/secretPolicies/[^/]+")
_SHORT_NAME = re.compile(r"[^/]+/[^/]+")


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
    click.option(
        "--policy",
        metavar="NAME",
        help="The policy that must be: NAMESPACE/ID, or the whole name.",
    ),
    click.option("--any-policy", is_flag=True, help="Seal to whichever policy the document is of."),
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
    "public_key", "policy_document", "policy", "any_policy", "trust_keys", "profile_path", "tenant",
    "allow_expired", "require_binding", "state", "no_state",
)  # fmt: skip


def verified_target(
    *,
    public_key: Path,
    policy_document: Path,
    policy: str | None,
    any_policy: bool,
    trust_keys: tuple[str, ...],
    profile_path: Path | None,
    tenant: str | None,
    allow_expired: bool,
    require_binding: str | None,
    state: Path | None,
    no_state: bool,
) -> Target:
    """Both documents, verified, of one tenant and the policy meant, and not older than those used before."""
    if state and no_state:
        raise UsageError("--state and --no-state exclude each other")
    settings = read_profile(profile_path)
    tenant = tenant or settings.tenant
    meant = meant_policy(policy, tenant, any_policy=any_policy)
    trust = Trust(must_pin(trust_keys, settings), datetime.now(UTC), allow_expired)
    target = Target(
        read_verified(public_key, verify_key, trust), read_verified(policy_document, verify_policy, trust)
    )
    check_belongs(target, tenant, require_binding)
    if meant is not None:
        target.policy.document.check_named(meant)
    if not no_state:
        memory = state or seen.default_path(os.environ)
        remember(memory, target.key.root, target.key.document, target.policy.document)
    return target


def meant_policy(text: str | None, tenant: str, *, any_policy: bool) -> str | None:
    """The resource name of the policy to seal to, None for any. Raises `UsageError`.

    It has to be said: whoever may write one policy of the tenant has a signed document to put in place of
    another's.
    """
    if text is None and any_policy:
        return None
    if text is None:
        raise UsageError(
            "which policy is meant is not said, so a document of any would do",
            hint="Give --policy NAMESPACE/ID, or --any-policy if you made sure of the document yourself.",
        )
    if any_policy:
        raise UsageError("--policy and --any-policy exclude each other")
    return policy_name(text, tenant)


def policy_name(text: str, tenant: str) -> str:
    """A resource name written whole, or short as NAMESPACE/ID. Raises `UsageError`."""
    if _WHOLE_NAME.fullmatch(text):
        return text
    if not _SHORT_NAME.fullmatch(text):
        raise UsageError(f"--policy: {text!r} is not NAMESPACE/ID, nor the whole name of a secret policy")
    if not tenant:
        raise UsageError(
            "--policy: the tenant is not known",
            hint="Give --tenant ID, or write the whole name: tenants/ID/namespaces/ID/secretPolicies/ID.",
        )
    namespace, policy = text.split("/")
    return f"tenants/{tenant}/namespaces/{namespace}/secretPolicies/{policy}"


def check_belongs(target: Target, tenant: str, require_binding: str | None) -> None:
    """Raises `DocumentMismatch` for two tenants or roots, for another than `tenant`, or another binding."""
    key, policy = target.key.document, target.policy.document
    if key.tenant != policy.tenant:
        raise DocumentMismatch(f"the key is of tenant {key.tenant!r}, the policy of {policy.tenant!r}")
    if target.key.root != target.policy.root:
        raise DocumentMismatch(
            f"the key is vouched for by the documents root {target.key.root}, "
            f"the policy by {target.policy.root}"
        )
    if tenant and key.tenant != tenant:
        raise DocumentMismatch(f"the documents are of tenant {key.tenant!r}, not of {tenant!r}")
    if require_binding and policy.binding is not Binding[require_binding.upper()]:
        raise DocumentMismatch(
            f"the policy document binds secrets to the {policy.binding.name.lower()}, "
            f"not to the {require_binding}"
        )
