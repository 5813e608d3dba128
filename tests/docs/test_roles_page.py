"""docs/roles.md has a line for every role and every method. What it says of them, tests/server measures."""

import re
from importlib import import_module
from pathlib import Path

from kms.authz.roles import ROLES
from kms.client import api

PAGE = (Path(__file__).parents[2] / "docs" / "roles.md").read_text(encoding="utf-8")
# Mentioned below the table: they need no role.
WITHOUT_ROLE = {"Enrol", "EnrolWithJwt", "GetLockStatus", "RenewCertificate", "Unlock"}


def test_every_role_is_explained_and_has_a_column() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE) == list(ROLES)
    assert "| | " + " | ".join(f"`{role}`" for role in ROLES) + " |" in PAGE


def test_every_method_has_a_row() -> None:
    modules = [import_module(f"protos.kms.v1.{name}_pb2") for name in api._MODULES.values()]
    methods = {
        method.name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods - WITHOUT_ROLE == set(re.findall(r"^\| ([A-Z]\w+)(?:: \w+)? \|", PAGE, re.MULTILINE))
