"""Credentials that are secrets of other accesses: no cycles, no other tenant, and not too deep."""

from itertools import pairwise

import pytest

from kms.errors import InvalidField, NotFound
from kms.model.access_json import parse_access
from kms.model.access_references import MAX_DEPTH, check_references
from kms.model.names import SecretManagementAccessName

SEALED = {"type": "blindfold", "location": "string:///k0JGT0xEDQp4"}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def name(access, tenant="acme"):
    return SecretManagementAccessName(tenant, "prod", access)


def secret(access, tenant="acme", path="secret/token"):
    return {"type": "vault", "access": str(name(access, tenant)), "path": path}


def access(token=SEALED, key=None):
    tls = {"client_certificate_pem": PEM, "client_key": key} if key else {}
    return parse_access(
        {
            "provider": "vault",
            "where": {"expressions": ["app"]},
            "endpoint": "https://vault",
            "authentication": {"type": "token", "token": token},
            "mounts": [{"path": "secret", "engine": "KV_V2"}],
            "tls": tls,
        }
    )


def check(accesses, first="a"):
    def find(target, field):
        if target not in known:
            raise NotFound(str(target))
        return known[target]

    known = {name(key): value for key, value in accesses.items()}
    check_references(name(first), known[name(first)], find)


def refused(accesses, first="a"):
    with pytest.raises(InvalidField) as caught:
        check(accesses, first)
    return caught.value


def test_a_credential_may_be_a_secret_of_another_access():
    check({"a": access(secret("b")), "b": access()})


def test_two_credentials_may_be_of_one_access():
    check({"a": access(secret("b"), secret("b")), "b": access()})


@pytest.mark.parametrize(
    ("accesses", "field"),
    [
        ({"a": access(secret("a"))}, "authentication.token"),
        ({"a": access(SEALED, secret("a"))}, "tls.client_key"),
        ({"a": access(secret("b")), "b": access(secret("a"))}, "authentication.token"),
        ({"a": access(secret("b")), "b": access(SEALED, secret("a"))}, "authentication.token"),
        ({"a": access(secret("b")), "b": access(secret("b"))}, "authentication.token"),
        (
            {"a": access(secret("b")), "b": access(secret("c")), "c": access(secret("b"))},
            "authentication.token",
        ),
    ],
)
def test_a_cycle_is_refused_with_its_path(accesses, field):
    error = refused(accesses)
    assert error.field == field
    assert error.description.startswith(f"is a cycle: {name('a')} -> ")


def test_accesses_are_reached_through_so_many():
    names = [f"a{number}" for number in range(MAX_DEPTH)]
    chain = {first: access(secret(second)) for first, second in pairwise(names)}
    chain[names[-1]] = access()
    check(chain, "a0")
    assert "more than 4" in refused(chain | {"z": access(secret("a0"))}, "z").description


def test_an_access_of_another_tenant_is_never_asked_for():
    assert refused({"a": access(secret("b", "evil"))}).field == "authentication.token"
    chain = {"a": access(secret("b")), "b": access(secret("c", "evil"))}
    assert "another tenant" in refused(chain).description


def test_an_access_that_is_not_there_is_what_find_says():
    with pytest.raises(NotFound):
        check({"a": access(secret("b"))})


def test_a_credential_is_below_a_mount_of_its_access():
    error = refused({"a": access(secret("b", path="other/token")), "b": access()})
    assert error.field == "authentication.token.path"
