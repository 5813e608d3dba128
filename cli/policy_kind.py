"""The two kinds of policies, and what the commands and the API call the things of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from cli.online.names import resolve
from cli.policy_file import FILES
from cli.resource_file import FileKind
from kms.model.names import KmsPolicyName, SecretPolicyName
from kms.model.policy import PolicyContent, PolicyKind

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Kind:
    """`group` is the command; `resource`, `field` and `listed` are the API's words; `revisions` the methods
    that list and get revisions; `example` a policy's name in examples.
    """

    policy: PolicyKind
    group: str
    noun: str
    resource: str
    resources: str
    field: str
    listed: str
    revisions: tuple[str, str]
    name_type: type[KmsPolicyName] | type[SecretPolicyName]
    columns: tuple[str, ...]
    revision_columns: tuple[str, ...]
    example: str

    @property
    def service(self) -> str:
        return f"{self.resource}Service"

    @property
    def file(self) -> FileKind[PolicyContent]:
        return FILES[self.policy]

    def resolve(self, name: str, tenant: str) -> KmsPolicyName | SecretPolicyName:
        """Raises `UsageError`."""
        return resolve(self.name_type, name, tenant)

    def name(self, name: str, tenant: str, revision: int | None = None) -> str:
        """The whole name of a policy, or of one of its revisions. Raises `UsageError`."""
        policy = str(self.resolve(name, tenant))
        return policy if revision is None else f"{policy}/revisions/{revision}"

    def command(self, name: str, help_text: str, *examples: str) -> Callable[[_Command], click.Command]:
        """A command of this kind's group; the examples are what follows its name."""
        lines = (f"  kms {self.group} {name} {example}".rstrip() for example in examples)
        return click.command(name, help=help_text, epilog="\b\nExample:\n" + "\n".join(lines))


KMS = Kind(
    policy=PolicyKind.KMS,
    group="policy",
    noun="KMS policy",
    resource="KmsPolicy",
    resources="KmsPolicies",
    field="kms_policy",
    listed="kms_policies",
    revisions=("ListKmsPolicyRevisions", "GetKmsPolicyRevision"),
    name_type=KmsPolicyName,
    columns=("name", "revision", "state", "update_time"),
    revision_columns=("name", "create_time", "author"),
    example="prod/orders",
)
SECRET = Kind(
    policy=PolicyKind.SECRET,
    group="secret-policy",
    noun="secret policy",
    resource="SecretPolicy",
    resources="SecretPolicies",
    field="secret_policy",
    listed="secret_policies",
    revisions=("ListRevisions", "GetRevision"),
    name_type=SecretPolicyName,
    columns=("name", "revision", "state", "binding", "update_time"),
    revision_columns=("name", "create_time", "author", "revoke_time", "denied_identities"),
    example="prod/web-tls",
)
