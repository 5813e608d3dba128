"""Prefix sets over the wire, and policies that name them."""

import pytest
from server.kms_harness import ACME, PROD

from kms.client.errors import CallConflict, CallDenied, CallInvalid, CallNotFound

OFFICE = f"{ACME}/prefixSets/office"


def call(kms, method, who="author", **request):
    return kms.as_(who).call("PrefixSetService", method, request)


@pytest.fixture
def office(kms):
    described = {"prefixes": ["10.1.0.0/16", "2001:db8::/32"], "description": "our own"}
    made = call(kms, "CreatePrefixSet", parent=ACME, prefix_set_id="office", prefix_set=described)
    yield made
    call(kms, "DeletePrefixSet", name=OFFICE)


def test_set_is_read_listed_and_changed_by_its_mask(kms, office):
    assert (office["name"], office["prefixes"]) == (OFFICE, ["10.1.0.0/16", "2001:db8::/32"])
    assert call(kms, "GetPrefixSet", "auditor", name=OFFICE) == office
    assert call(kms, "ListPrefixSets", "admin", parent=ACME) == {"prefix_sets": [office]}
    changed = {"name": OFFICE, "prefixes": ["10.2.0.0/16"], "description": "not read", "etag": office["etag"]}
    after = call(kms, "UpdatePrefixSet", prefix_set=changed, update_mask="prefixes")
    assert (after["prefixes"], after["description"]) == (["10.2.0.0/16"], "our own")
    with pytest.raises(CallConflict):
        call(kms, "UpdatePrefixSet", prefix_set=changed, update_mask="prefixes")


def test_who_may_not_write_policies_writes_no_set(kms, office):
    for who in ("admin", "auditor", "key-user"):
        with pytest.raises(CallDenied):
            call(kms, "DeletePrefixSet", who, name=OFFICE)


@pytest.mark.parametrize("prefixes", [[], ["10.0.0.1/8"], ["prefixSets/office"]])
def test_set_of_nonsense_is_refused(kms, prefixes):
    with pytest.raises(CallInvalid, match="prefixes"):
        call(kms, "CreatePrefixSet", parent=ACME, prefix_set_id="bad", prefix_set={"prefixes": prefixes})
    with pytest.raises(CallNotFound):
        call(kms, "GetPrefixSet", name=f"{ACME}/prefixSets/bad")


def test_kms_policy_keeps_the_name_and_a_secret_policy_gets_the_prefixes(kms, office):
    rule = {"name": "office", "action": "ACTION_ALLOW", "ip_prefixes": ["prefixSets/office"]}
    request = {"parent": PROD, "kms_policy_id": "by-set", "kms_policy": {"content": {"rules": [rule]}}}
    made = kms.as_("author").call("KmsPolicyService", "CreateKmsPolicy", request)
    assert made["content"]["rules"][0]["ip_prefixes"] == ["prefixSets/office"]
    request = {"parent": PROD, "content": {"rules": [rule]}}
    validated = kms.as_("author").call("SecretPolicyService", "ValidateSecretPolicy", request)
    assert validated["content"]["rules"][0]["ip_prefixes"] == office["prefixes"]
    secret = kms.add_policy("by-set", rules=[rule])
    assert secret["content"]["rules"][0]["ip_prefixes"] == office["prefixes"]
