"""SECURITY.md: what it states of roles, lives and limits is what the code has."""

import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kms.authz.roles import ROLES
from kms.errors import Denied
from kms.identity.authority import MAX_LEAF_LIFE, UNLOCK_LIFE
from kms.main import configuration, initialising
from kms.model.caller import Caller
from kms.model.names import OperatorName, TenantName
from kms.services import blindfold_keys, document_signing, evaluation
from kms.services.call import Call
from kms.services.guard import check_tenant

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
SPEC = (ROOT / "docs/spec/blindfold.md").read_text(encoding="utf-8")
MEMORY_OF_PROCESS = (ROOT / "kms/crypto/private_process.py").read_text(encoding="utf-8")
# Nobody has this role in a tenant by himself: it says which keys one may use, not who may open.
ENROLMENTS = "ENROL 600/minute burst 100 by address"
PROVIDERS = ("keyfile", "passphrase", "shamir", "pkcs11")
NOT_AN_ATTACKER = {"key-user"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPERATOR = Caller(OperatorName("olga"), "spiffe://kms.test/operator/olga", (), roles=frozenset({"operator"}))


def hours(life: timedelta) -> float:
    return life / timedelta(hours=1)


def test_every_role_has_its_line() -> None:
    assert set(re.findall(r"\(`([a-z-]+)`\) \|", PAGE)) == ROLES.keys() - NOT_AN_ATTACKER


def test_identity_administrators_do_not_write_policies_and_operators_are_outside_of_tenants() -> None:
    assert not ROLES["tenant-admin"] & {"secretPolicies.create", "secretPolicies.update"}
    assert not ROLES["tenant-admin"] & {"blindfoldKeys.generate", "blindfoldKeys.scheduleDestroy"}
    of_tenants = ("secret", "kms", "blindfold", "keys", "namespaces")
    assert not any(item.startswith(of_tenants) for item in ROLES["operator"])
    with pytest.raises(Denied):
        check_tenant(Call(OPERATOR, "", NOW), TenantName("acme"))


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ("its certificate ends (24 hours at most", hours(MAX_LEAF_LIFE) == 24),
        ("until the delegation ends (90 days at most)", document_signing.DELEGATION_LIFE.days == 90),
        ("destroy one in less than 24 hours", hours(blindfold_keys.MIN_DELAY) == 24),
        ("are a passphrase, shares of which any k of n do, and", configuration.PROVIDERS == PROVIDERS),
        ("pose as the locked server for 30 days at most", UNLOCK_LIFE.days == 30),
        ("`identity-root.pem`", initialising.IDENTITY_ROOT == "identity-root.pem"),
        ("By default enrolments are limited, by address", configuration.RATE_LIMITS == (ENROLMENTS,)),
        ("switches core files off", "RLIMIT_CORE" in MEMORY_OF_PROCESS),
    ],
)
def test_what_the_page_states_is_so(stated: str, value: bool) -> None:
    assert stated in PAGE
    assert value


def test_the_evaluation_budget_is_the_one_of_the_specification() -> None:
    assert "| evaluations for a key version and binding value | 2^32 |" in SPEC
    assert evaluation.MAX_EVALUATIONS == 2**32


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    section = page.partition("## What it is built on")[2].partition("\n## ")[0]
    listed = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    assert sorted(listed) == sorted(re.split(r"[<>=]", text)[0] for text in project["dependencies"])
