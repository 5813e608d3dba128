"""Credentials of accesses: sealed for their endpoint, in clear by a flag alone, and never in a circle."""

import asyncio
import base64
from typing import Any

import pytest
from services.conftest import ADMIN, AUTHOR, WEB, Kms, caller
from services.test_secret_management_accesses import (
    CLEAR,
    MAIN,
    OTHER,
    content,
    create,
    fetch,
    ready,
    sealed,
    stored_at,
    update,
)

from kms.errors import Denied, InvalidField
from kms.model.access_json import without_clear
from kms.model.names import NamespaceName, SecretManagementAccessName
from kms.model.secret_management_access import Allowances
from kms.services.repository import Loaded
from kms.services.secret_management_accesses import SecretManagementAccesses, access_of, content_of
from kms.services.tenants import Description

__all__ = ["ready"]


@pytest.fixture
def lenient(kms: Kms) -> SecretManagementAccesses:
    """As of a server that allows credentials in clear, and http."""
    allowances = Allowances(clear_secrets=True, plain_http=True)
    return SecretManagementAccesses(kms.parts.guard, kms.parts.repository, allowances)


def test_credential_is_sealed_for_the_endpoint_that_it_is_sent_to(ready: Kms) -> None:
    for name in ("", "db-password", "https://vault.corp.example"):
        with pytest.raises(InvalidField, match="seal it with --name") as caught:
            create(ready, content(sealed(ready, name)))
        assert caught.value.field == "authentication.token.location"
    create(ready, content(sealed(ready)))
    with pytest.raises(InvalidField, match="not sealed for the endpoint"):
        update(ready, {"endpoint": "https://evil.example"}, fields={"endpoint"})


def test_credential_may_expect_no_other_name_than_the_endpoint(ready: Kms) -> None:
    token = sealed(ready)
    with pytest.raises(InvalidField, match="another name than the endpoint"):
        create(ready, content({**token, "expect_name": "db-password"}))
    create(ready, content({**token, "expect_name": "https://vault.corp.example:8200"}))


def test_credential_of_another_tenant_or_cut_off_is_refused(ready: Kms) -> None:
    location = str(sealed(ready)["location"])
    for text, problem in (
        (location[: 10 + 64], "cut off"),
        (_with_tenant(location, b"evil"), "another tenant"),
    ):
        with pytest.raises(InvalidField, match=problem):
            create(ready, content({"type": "blindfold", "location": text}))


def _with_tenant(location: str, tenant: bytes) -> str:
    data = base64.b64decode(location.removeprefix("string:///"))
    changed = data.replace(b"\x00\x04acme", b"\x00\x04" + tenant).replace(
        b"tenants/acme", b"tenants/" + tenant
    )
    return "string:///" + base64.b64encode(changed).decode()


def test_clear_credentials_and_http_are_refused_unless_the_server_allows_them(
    ready: Kms, lenient: SecretManagementAccesses
) -> None:
    for written, field in (
        (content(CLEAR), "authentication.token"),
        (content(sealed(ready, "http://127.0.0.1:8200"), endpoint="http://127.0.0.1:8200"), "endpoint"),
    ):
        with pytest.raises(InvalidField) as caught:
            create(ready, written)
        assert caught.value.field == field
        made = create(ready, written, accesses=lenient)
        ready.run(lenient.delete(ready.call(AUTHOR), MAIN, made.etag))


def test_clear_credential_is_in_what_is_fetched_and_nowhere_else(
    kms: Kms, lenient: SecretManagementAccesses
) -> None:
    made = create(kms, content(CLEAR), accesses=lenient)
    assert without_clear(access_of(made.record))["authentication"] == {
        "type": "token",
        "token": {"type": "clear"},
    }
    assert content_of(fetch(kms, WEB).record)["authentication"]["token"] == CLEAR
    # What was read for administration cannot be written back over the credential unawares.
    with pytest.raises(InvalidField):
        kms.run(lenient.update(kms.call(AUTHOR), MAIN, without_clear(access_of(made.record)), ""))
    assert "hunter2" not in str(kms.events())
    assert CLEAR["location"] not in str(kms.events())


def test_credential_may_be_a_secret_of_another_access_without_a_circle(ready: Kms) -> None:
    create(ready, content(sealed(ready)), OTHER)
    create(ready, content(stored_at(OTHER)))
    for token in (stored_at(MAIN), stored_at(OTHER)):
        with pytest.raises(InvalidField, match="is a cycle") as caught:
            update(ready, content(token), name=OTHER)
        assert caught.value.field == "authentication.token"


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (stored_at(OTHER), "does not exist"),
        (stored_at(SecretManagementAccessName("globex", "prod", "main")), "another tenant"),
    ],
)
def test_credential_of_an_access_that_is_not_there_is_refused(kms: Kms, token: Any, problem: str) -> None:
    with pytest.raises(InvalidField, match=problem) as caught:
        create(kms, content(token))
    assert caught.value.field == "authentication.token"


def test_author_of_one_namespace_learns_nothing_of_the_accesses_of_another(ready: Kms) -> None:
    test = NamespaceName("acme", "test")
    ready.run(ready.parts.namespaces.create(ready.call(ADMIN), test, Description("", {}), ""))
    there = SecretManagementAccessName("acme", "test", "there")
    create(ready, content(sealed(ready)), there)
    of_prod = caller("author", "policy-author@prod")
    for name in (there, SecretManagementAccessName("acme", "test", "missing")):
        with pytest.raises(Denied) as caught:
            create(ready, content(stored_at(name)), who=of_prod)
        assert caught.value.because == ""
    create(ready, content(sealed(ready)), OTHER, of_prod)
    create(ready, content(stored_at(OTHER)), who=of_prod)


def test_two_writers_at_once_make_no_circle(ready: Kms) -> None:
    for name in (MAIN, OTHER):
        create(ready, content(sealed(ready)), name)
    accesses = ready.parts.secret_management_accesses

    async def both() -> list[Any]:
        writes = (
            accesses.update(ready.call(AUTHOR), name, content(stored_at(target)), "")
            for name, target in ((MAIN, OTHER), (OTHER, MAIN))
        )
        return await asyncio.gather(*writes, return_exceptions=True)

    ends = sorted(ready.run(both()), key=lambda end: isinstance(end, Exception))
    assert [type(end) for end in ends] == [Loaded, InvalidField]
    assert "is a cycle" in str(ends[1])
