"""Policies as files (docs/policies.md, "Policies as files")."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from cli.resource_file import FileKind
from cli.structured_text import to_yaml
from kms.authz.compile import read_policy
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import content_schema, to_json


def _file_kind(word: str, kind: PolicyKind) -> FileKind[PolicyContent]:
    return FileKind(word, partial(read_policy, kind=kind), content_schema(kind))


FILES: Mapping[PolicyKind, FileKind[PolicyContent]] = MappingProxyType(
    {
        PolicyKind.KMS: _file_kind("KmsPolicy", PolicyKind.KMS),
        PolicyKind.SECRET: _file_kind("SecretPolicy", PolicyKind.SECRET),
    }
)


def print_policy(kind: PolicyKind, name: str, content: PolicyContent) -> str:
    """A policy file in YAML."""
    return to_yaml({"kind": FILES[kind].word, "name": name, "content": to_json(content)})
