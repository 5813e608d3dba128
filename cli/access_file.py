"""Accesses to vaults as files (docs/external-secrets.md, "An access")."""

from collections.abc import Mapping

from cli.resource_file import FileKind
from cli.structured_text import to_yaml
from kms.authz.selector import parse_selector
from kms.model.access_json import access_schema, parse_access
from kms.model.secret_management_access import SecretManagementAccess


def read_access(value: Mapping[str, object]) -> SecretManagementAccess:
    """A content that is checked as far as that can be done without a KMS. Raises `InvalidField`."""
    access = parse_access(value)
    for index, expression in enumerate(access.where.expressions):
        parse_selector(expression, f"where.expressions[{index}]")
    return access


FILE = FileKind("SecretManagementAccess", read_access, access_schema())


def print_access(name: str, content: Mapping[str, object]) -> str:
    """An access file in YAML."""
    return to_yaml({"kind": FILE.word, "name": name, "content": content})
