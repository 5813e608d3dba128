"""Accesses to vaults as clients have them: fetched as values, and written in two forms of JSON."""

import pytest
from model.test_secret_management_access import AUTHENTICATIONS, access
from server.kms_harness import PROD

from kms.client.accesses import SERVICE, FetchedAccesses, content_of, to_api
from kms.client.errors import CallDenied, CallFailed
from kms.model.names import SecretManagementAccessName


@pytest.mark.parametrize("authentication", AUTHENTICATIONS, ids=lambda one: one["type"])
def test_the_two_forms_are_inverse(authentication):
    ours = access(authentication)
    theirs = to_api(ours)
    assert content_of({"content": theirs}) == {"mounts": [], **ours}
    assert (theirs["timeout"], theirs["cache_timeout"]) == ("5s", "60s")
    assert list(theirs["authentication"]) == [authentication["type"]]


def test_access_is_fetched_as_a_value_by_whom_it_selects(kms):
    kms.add_policy()
    name = SecretManagementAccessName.parse(kms.add_access("main"))
    accesses = FetchedAccesses()
    fetched = accesses.fetch(kms.as_("web"), name)
    assert fetched.endpoint == "https://vault.corp.example:8200"
    assert list(fetched.credentials) == ["authentication.token"]
    missing = SecretManagementAccessName.parse(f"{PROD}/secretManagementAccesses/none")
    for who, asked in (("batch", name), ("web", missing)):
        with pytest.raises(CallDenied):
            accesses.fetch(kms.as_(who), asked)


def test_access_is_the_same_object_until_it_is_changed(kms):
    name = SecretManagementAccessName.parse(kms.add_access("second"))
    accesses = FetchedAccesses()
    fetched = accesses.fetch(kms.as_("web"), name)
    assert accesses.fetch(kms.as_("web"), name) is fetched
    changed = {"name": str(name), "content": {"timeout": "20s"}}
    request = {"secret_management_access": changed, "update_mask": "content.timeout"}
    kms.as_("author").call(SERVICE, "UpdateSecretManagementAccess", request)
    assert accesses.fetch(kms.as_("web"), name).timeout_seconds == 20


def test_what_is_no_access_is_a_failed_call():
    class Nonsense:
        def call(self, service, method, request):
            assert (service, method) == (SERVICE, "FetchSecretManagementAccess")
            return {"content": {"provider": "x"}}

    with pytest.raises(CallFailed, match="that is none"):
        FetchedAccesses().fetch(Nonsense(), SecretManagementAccessName("acme", "prod", "main"))
