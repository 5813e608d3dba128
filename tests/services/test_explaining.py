"""Explaining counts what overrules the rules, and knows identities by their records."""

from datetime import timedelta

import pytest
from services.conftest import ADMIN, ALLOW_WEB, AUDITOR, AUTHOR, WEB, WEB_TLS, Kms, caller

from kms.authz.explain import Explanation
from kms.client.credentials import generate_key_pair
from kms.errors import Denied
from kms.identity.grant import Grant
from kms.model.access_request import AccessRequest
from kms.model.names import IdentityName, OperatorName, SecretPolicyRevisionName
from kms.services.explaining import KnownIdentity

FIRST = SecretPolicyRevisionName("acme", "prod", "web-tls", 1)
API = IdentityName("acme", "prod", "api")


def explained(kms: Kms, who=WEB, name=WEB_TLS) -> Explanation:
    asked = AccessRequest(caller=who, time=kms.now)
    return kms.run(kms.parts.secret_policies.explain(kms.call(AUDITOR), name, asked))


def test_what_denies_before_any_rule_is_said_and_the_rules_too(kms: Kms) -> None:
    policies = kms.parts.secret_policies
    kms.add_policy()
    assert explained(kms).decision.is_allowed
    kms.run(policies.narrow_revision(kms.call(AUTHOR), FIRST, (WEB.spiffe_id,), "", ""))
    narrowed = explained(kms)
    assert not narrowed.decision.is_allowed
    assert "deny overlay" in narrowed.summary
    assert narrowed.rules[0].text == "matched, and decided"
    other = caller("other-web", app="web")
    assert explained(kms, other, FIRST).decision.is_allowed
    kms.run(policies.revoke_revision(kms.call(AUTHOR), FIRST, "", ""))
    assert "revision is revoked" in explained(kms, other, FIRST).summary
    kms.run(policies.update(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, ""))
    assert explained(kms, other).decision.is_allowed
    kms.run(policies.delete(kms.call(AUTHOR), WEB_TLS, ""))
    assert "policy is deleted" in explained(kms, other).summary


def test_callers_of_another_tenant_are_denied_whatever_their_labels(kms: Kms) -> None:
    kms.add_policy()
    explanation = explained(kms, caller("web", tenant="globex", app="web"))
    assert not explanation.decision.is_allowed
    assert explanation.decision.rule_index is None


def test_known_identity_is_asked_about_as_its_record_grants(kms: Kms) -> None:
    kms.add_policy()
    issued, change = kms.parts.identities.issue_first(
        generate_key_pair().csr, Grant(API, labels={"app": "web"}), kms.now
    )
    event = kms.call(ADMIN).event("Enrol", str(API), "ALLOW")
    kms.vault.store.commit([change], [event]).result()
    asked = KnownIdentity(API, "192.0.2.9", kms.now)
    explanation = kms.run(kms.parts.secret_policies.explain(kms.call(AUDITOR), WEB_TLS, asked))
    assert explanation.decision.is_allowed
    assert issued.issued.not_after == kms.now + timedelta(hours=24)


@pytest.mark.parametrize("name", [API, IdentityName("globex", "prod", "api"), OperatorName("root")], ids=str)
def test_unknown_identities_and_those_of_others_are_denied_alike(kms: Kms, name) -> None:
    kms.add_policy()
    with pytest.raises(Denied):
        kms.run(
            kms.parts.secret_policies.explain(kms.call(AUDITOR), WEB_TLS, KnownIdentity(name, "", kms.now))
        )


@pytest.mark.parametrize("binding", ["REVISION", "POLICY"])
def test_update_may_leave_the_binding_out_and_keeps_it(kms: Kms, binding) -> None:
    kms.add_policy(ALLOW_WEB | {"binding": binding})
    view = kms.run(kms.parts.secret_policies.update(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, ""))
    assert view.current.document.binding.name == binding


def test_update_of_some_fields_keeps_the_others(kms: Kms) -> None:
    kms.add_policy(ALLOW_WEB | {"description": "web", "labels": {"tier": "front"}})
    sent = {"description": "changed", "rule_combining": "DENY_OVERRIDES"}
    update = kms.parts.secret_policies.update
    view = kms.run(update(kms.call(AUTHOR), WEB_TLS, sent, "", ["description", "labels"]))
    document = view.current.document
    assert (document.description, dict(document.labels)) == ("changed", {})
    assert (document.rules, document.rule_combining) == (tuple(ALLOW_WEB["rules"]), "FIRST_MATCH")


@pytest.mark.parametrize("whole", [False, True])
def test_revoked_certificates_are_no_longer_listed(kms: Kms, whole) -> None:
    identities = kms.parts.identities
    serials = []
    for _ in range(2):
        issued, change = identities.issue_first(generate_key_pair().csr, Grant(API), kms.now)
        kms.vault.store.commit([change], [kms.call(ADMIN).event("Enrol", str(API), "ALLOW")]).result()
        serials.append(issued.issued.serial)
    revoked = kms.run(identities.revoke(kms.call(ADMIN), API, "" if whole else serials[0], ""))
    left = [text.split()[0] for text in revoked.record.certificates]
    assert left == ([] if whole else serials[1:])
