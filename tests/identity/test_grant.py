"""Grants and SPIFFE ids: names that cannot be built wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField, LimitExceeded
from kms.identity.grant import Grant
from kms.identity.spiffe import SpiffeId, parse_identity_name
from kms.model.names import IdentityName, OperatorName, SiteName

WEB = IdentityName("acme", "prod", "web")
IDS = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True).filter(str.isascii)
NAMES = st.one_of(
    st.builds(IdentityName, IDS, IDS, IDS), st.builds(SiteName, IDS, IDS), st.builds(OperatorName, IDS)
)


@given(NAMES)
def test_every_identity_has_one_spiffe_id(name: Any) -> None:
    spiffe_id = SpiffeId("kms.example", name)
    assert SpiffeId.parse(str(spiffe_id)) == spiffe_id
    assert parse_identity_name(str(name)) == name


@given(st.text(max_size=60))
def test_random_uris_are_refused_or_print_as_they_were(text: str) -> None:
    try:
        spiffe_id = SpiffeId.parse("spiffe://" + text)
    except InvalidField:
        return
    assert str(spiffe_id) == "spiffe://" + text


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://kms.example",
        "spiffe://kms.example/",
        "spiffe:///operator/alice",
        "https://kms.example/operator/alice",
        "spiffe://kms.example//operator/alice",
        "spiffe://kms.example/operator/alice#x",
        "spiffe://user@kms.example/operator/alice",
        "spiffe://kms.example/tenant/acme/ns/prod/sa/web/extra",
        "spiffe://kms.example/tenant/acme/ns/prod/sa/",
        "spiffe://kms.example/tenant/../ns/prod/sa/web",
        "spiffe://kms.example/operator/alice\n",
        "spiffe://kms.example/operator/" + "a" * 64,
    ],
)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(InvalidField):
        SpiffeId.parse(uri)


def test_resource_names_that_are_nobodys_are_refused() -> None:
    with pytest.raises(InvalidField, match=r"tenants/\{tenant\}/sites/\{site\}"):
        parse_identity_name("tenants/acme")


def test_grant_survives_json() -> None:
    grant = Grant(WEB, ("b.example", "a.example"), {"z": "1", "a": ""}, frozenset({"auditor"}))
    assert Grant.from_json(grant.to_json()) == grant


@pytest.mark.parametrize("name", ["", "A.example", "*.example", "a..b", "a.", "-a", "a_b", "x" * 64, "a\n"])
def test_dns_names_are_lower_case_and_without_wildcard(name: str) -> None:
    with pytest.raises(InvalidField, match="lower-case DNS name"):
        Grant(WEB, (name,))


def test_grant_has_limits() -> None:
    Grant(WEB, tuple(f"n{number}.example" for number in range(16)))
    with pytest.raises(LimitExceeded, match="16"):
        Grant(WEB, tuple(f"n{number}.example" for number in range(17)))
    with pytest.raises(InvalidField, match="twice"):
        Grant(WEB, ("a.example", "a.example"))
    with pytest.raises(LimitExceeded, match="8192"):
        Grant(WEB, (), {f"{'p' * 60}.{'q' * 60}/{number:02}": "v" * 63 for number in range(64)})


@pytest.mark.parametrize(
    ("role", "is_role"),
    [
        ("auditor", True),
        ("key-user@prod", True),
        ("key-user@prod-2", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("-a", False),
        ("a-", False),
        ("a@-b", False),
        ("@prod", False),
        ("role2", False),
    ],
)
def test_role_syntax(role: str, is_role: bool) -> None:
    if is_role:
        assert Grant(WEB, roles=frozenset({role})).roles == {role}
    else:
        with pytest.raises(InvalidField, match="role@namespace"):
            Grant(WEB, roles=frozenset({role}))
