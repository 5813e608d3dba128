"""Accesses to vaults as clients have them: fetched as values, and written in two forms of JSON."""

import pytest
from model.test_secret_management_access import AUTHENTICATIONS, access
from server.kms_harness import PROD

from kms.client.accesses import SERVICE, content_of, fetch_access, to_api
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
    fetched = fetch_access(kms.as_("web"), name)
    assert (fetched.endpoint, list(fetched.credentials)) == (
        "https://vault.corp.example:8200",
        ["authentication.token"],
    )
    with pytest.raises(CallDenied):
        fetch_access(kms.as_("batch"), name)
    with pytest.raises(CallDenied):
        fetch_access(
            kms.as_("web"), SecretManagementAccessName.parse(f"{PROD}/secretManagementAccesses/none")
        )


def test_what_is_no_access_is_a_failed_call():
    class Nonsense:
        def call(self, service, method, request):
            assert (service, method) == (SERVICE, "FetchSecretManagementAccess")
            return {"content": {"provider": "x"}}

    with pytest.raises(CallFailed, match="that is none"):
        fetch_access(Nonsense(), SecretManagementAccessName("acme", "prod", "main"))
