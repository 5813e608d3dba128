"""Join tokens, enrolment, renewal and revocation over the wire."""

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from server.kms_harness import ACME, PROD

from kms.client.api import Api
from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.credentials import generate_key_pair, parse_credentials, read_credentials, write_credentials
from kms.client.errors import CallDenied, CallFailed, CallInvalid, CallNotFound, CallUnauthenticated
from kms.model.join_token import JoinToken
from protos.kms.v1.enrolment_service_pb2 import EnrolRequest, EnrolResponse

SERVICE = "IdentityService"


def invite(kms, name, who="admin", parent=PROD, **fields):
    request = {"parent": parent, "join_token": {"identity": name, **fields}}
    return kms.as_(who).call(SERVICE, "CreateJoinToken", request)


def enrol(kms, token, csr=None):
    root = read_credentials(kms.credentials("admin")).ca_pem
    request = EnrolRequest(token=token, csr=csr or generate_key_pair().csr)
    with open_enrolment_channel(kms.enrolment_target, root) as channel:
        return Api(channel).exchange("EnrolmentService", "Enrol", request, EnrolResponse).certificate


def enrolled(kms, name, directory, **fields):
    """Credentials of a new identity."""
    pair = generate_key_pair()
    bundle = enrol(kms, invite(kms, f"{PROD}/identities/{name}", **fields)["token"], pair.csr)
    chain, roots = bundle.certificate_chain_pem.encode(), bundle.trust_bundle_pem.encode()
    write_credentials(directory, parse_credentials(pair.key_pem, chain, roots))
    return bundle


def test_join_token_is_answered_with_what_it_grants(kms):
    granted = {"dns_names": ["api.acme.test"], "labels": {"app": "api"}, "roles": ["key-user"]}
    token = invite(kms, f"{PROD}/identities/api", ttl="3600s", **granted)
    assert token["token"].startswith(JoinToken.PREFIX)
    assert {name: token[name] for name in granted} == granted
    assert token["expire_time"] > (kms.now + timedelta(minutes=59)).isoformat()
    assert "ttl" not in token


def test_join_token_is_in_no_audit_event(kms):
    token = invite(kms, f"{PROD}/identities/quiet")["token"]
    assert token not in repr(kms.events())


@pytest.mark.parametrize(
    ("parent", "fields", "field"),
    [
        (ACME, {"identity": f"{PROD}/identities/api"}, "parent"),
        (PROD, {"identity": f"{ACME}/sites/north"}, "parent"),
        (PROD, {"identity": "api"}, "join_token.identity"),
        (PROD, {"identity": f"{PROD}/identities/api", "ttl": "86401s"}, "life"),
        (PROD, {"identity": f"{PROD}/identities/api", "dns_names": ["*.acme.test"]}, "dns_names"),
        (PROD, {"identity": f"{PROD}/identities/api", "roles": ["operator"]}, "roles"),
    ],
)
def test_bad_invitation_is_refused_with_its_field(kms, parent, fields, field):
    with pytest.raises(CallInvalid) as caught:
        kms.as_("admin").call(SERVICE, "CreateJoinToken", {"parent": parent, "join_token": fields})
    assert [name for name, _ in caught.value.violations] == [field]


@pytest.mark.parametrize("who", ["author", "stranger", "web", "operator"])
def test_only_the_tenant_s_administrator_invites(kms, who):
    with pytest.raises(CallDenied):
        invite(kms, f"{PROD}/identities/friend", who)


def test_enrolment_gives_a_certificate_of_the_granted_identity(kms, tmp_path):
    bundle = enrolled(kms, "fresh", tmp_path / "fresh", labels={"app": "web"})
    assert bundle.identity == f"{PROD}/identities/fresh"
    assert bundle.not_after.ToDatetime() <= (kms.now + timedelta(hours=24)).replace(tzinfo=None)
    identity = kms.as_("admin").call(SERVICE, "GetIdentity", {"name": bundle.identity})
    assert (identity["state"], identity["labels"]) == ("STATE_ACTIVE", {"app": "web"})
    assert identity["spiffe_id"] == "spiffe://kms.test/tenant/acme/ns/prod/sa/fresh"
    (certificate,) = identity["certificates"]
    leaf = x509.load_pem_x509_certificates(bundle.certificate_chain_pem.encode())[0]
    assert certificate["serial_number"] == f"{leaf.serial_number:x}"


def test_token_unknown_used_or_expired_gets_one_answer(kms):
    used = invite(kms, f"{PROD}/identities/once")["token"]
    enrol(kms, used)
    late = invite(kms, f"{PROD}/identities/late", ttl="60s")["token"]
    unknown = JoinToken(bytes(16), JoinToken.parse(late).secret, bytes(32)).reveal()
    kms.offset[0] = timedelta(minutes=2)
    answers = set()
    for token in (used, late, unknown):
        with pytest.raises(CallUnauthenticated) as caught:
            enrol(kms, token)
        answers.add((caught.value.message, caught.value.reason))
    kms.offset[0] = timedelta(0)
    assert len(answers) == 1


@pytest.mark.parametrize("token", ["", "kjt1_", "kjt1_short", "no token"])
def test_text_that_is_no_token_is_told_so(kms, token):
    with pytest.raises(CallInvalid, match="was it cut off"):
        enrol(kms, token)


def test_bad_signing_request_leaves_the_token_unspent(kms):
    token = invite(kms, f"{PROD}/identities/clumsy")["token"]
    with pytest.raises(CallInvalid):
        enrol(kms, token, b"no request")
    assert enrol(kms, token).identity == f"{PROD}/identities/clumsy"


def test_enrolment_listener_does_nothing_else(kms):
    root = read_credentials(kms.credentials("admin")).ca_pem
    with open_enrolment_channel(kms.enrolment_target, root) as channel, pytest.raises(CallFailed) as caught:
        Api(channel).call("TenantService", "ListTenants", {})
    assert caught.value.message == "Method not found!"


def test_renewal_gives_the_caller_itself_a_new_certificate(kms, tmp_path):
    enrolled(kms, "lasting", tmp_path / "lasting")
    pair = generate_key_pair()
    with open_channel(kms.target, tmp_path / "lasting") as channel:
        csr = x509.load_der_x509_csr(pair.csr).public_bytes(Encoding.PEM)
        bundle = Api(channel).call(SERVICE, "RenewCertificate", {"csr": base64.b64encode(csr).decode()})[
            "certificate"
        ]
    assert bundle["identity"] == f"{PROD}/identities/lasting"
    identity = kms.as_("admin").call(SERVICE, "GetIdentity", {"name": bundle["identity"]})
    newest = x509.load_pem_x509_certificates(bundle["certificate_chain_pem"].encode())[0]
    serials = [item["serial_number"] for item in identity["certificates"]]
    assert len(serials) == 2
    assert serials[0] == f"{newest.serial_number:x}"


def test_revoked_identity_is_refused_at_its_next_call_on_an_open_channel(kms, tmp_path):
    bundle = enrolled(kms, "leaving", tmp_path / "leaving", roles=["auditor"])
    with open_channel(kms.target, tmp_path / "leaving") as channel:
        api = Api(channel)
        assert api.call("AuditService", "GetCheckpoint", {})
        request = {"name": bundle.identity, "comment": "left"}
        revoked = kms.as_("admin").call(SERVICE, "RevokeIdentity", request)
        with pytest.raises(CallUnauthenticated, match="revoked"):
            api.call("AuditService", "GetCheckpoint", {})
        with pytest.raises(CallUnauthenticated):
            api.call(SERVICE, "RenewCertificate", {"csr": ""})
    assert revoked["state"] == "STATE_REVOKED"
    assert revoked["revoke_time"]
    assert "certificates" not in revoked


def test_one_certificate_is_revoked_by_its_serial_number(kms, tmp_path):
    for name in ("first", "second"):
        bundle = enrolled(kms, "twice", tmp_path / name)
    leaf = x509.load_pem_x509_certificates((tmp_path / "first" / "cert.pem").read_bytes())[0]
    request = {"name": bundle.identity, "serial_number": f"{leaf.serial_number:x}"}
    left = kms.as_("admin").call(SERVICE, "RevokeIdentity", request)
    assert (left["state"], len(left["certificates"])) == ("STATE_ACTIVE", 1)
    with pytest.raises(CallInvalid):
        kms.as_("admin").call(SERVICE, "RevokeIdentity", request)


def test_comment_above_its_limit_is_refused(kms):
    request = {"name": f"{PROD}/identities/web", "comment": "é" * 129}
    with pytest.raises(CallInvalid) as caught:
        kms.as_("admin").call(SERVICE, "RevokeIdentity", request)
    assert caught.value.reason == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("who", "parent", "expected"),
    [
        ("admin", PROD, "tenants/acme/namespaces/prod/identities/admin"),
        ("admin", ACME, "tenants/acme/namespaces/system/identities/admin"),
        ("stranger", "tenants/globex", "tenants/globex/namespaces/prod/identities/stranger"),
    ],
)
def test_identities_are_listed_by_namespace_or_tenant_in_pages(kms, who, parent, expected):
    names, token = [], ""
    while True:
        request = {"parent": parent, "page_size": 2, "page_token": token}
        page = kms.as_(who).call(SERVICE, "ListIdentities", request)
        assert len(page["identities"]) <= 2
        names += [item["name"] for item in page["identities"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert names == sorted(set(names))
    assert expected in names
    assert all(name.startswith(f"{parent}/") for name in names)


def test_identities_are_read_by_those_who_may(kms):
    name = {"name": f"{PROD}/identities/admin"}
    for who in ("author", "stranger", "operator"):
        with pytest.raises(CallDenied):
            kms.as_(who).call(SERVICE, "GetIdentity", name)
        with pytest.raises(CallDenied):
            kms.as_(who).call(SERVICE, "ListIdentities", {"parent": PROD})
    with pytest.raises(CallNotFound):
        kms.as_("admin").call(SERVICE, "GetIdentity", {"name": f"{PROD}/identities/nobody"})


def test_operator_invites_another_who_may_be_revoked(kms, tmp_path):
    pair = generate_key_pair()
    name, roles = "operators/olga", ["operator"]
    bundle = enrol(kms, invite(kms, name, "operator", "", roles=roles)["token"], pair.csr)
    chain, roots = bundle.certificate_chain_pem.encode(), bundle.trust_bundle_pem.encode()
    write_credentials(tmp_path / "olga", parse_credentials(pair.key_pem, chain, roots))
    operator = kms.as_("operator")
    with open_channel(kms.target, tmp_path / "olga") as channel:
        olga = Api(channel)
        assert olga.call("TenantService", "GetTenant", {"name": ACME})["name"] == ACME
        listed = operator.call(SERVICE, "ListIdentities", {"parent": ""})["identities"]
        assert name in [item["name"] for item in listed]
        assert operator.call(SERVICE, "GetIdentity", {"name": name})["roles"] == roles
        operator.call(SERVICE, "RevokeIdentity", {"name": name})
        with pytest.raises(CallUnauthenticated):
            olga.call("TenantService", "GetTenant", {"name": ACME})


@pytest.mark.parametrize("who", ["admin", "stranger", "web"])
def test_operators_are_invited_by_operators_alone(kms, who):
    with pytest.raises(CallDenied):
        invite(kms, "operators/mallory", who, "", roles=["operator"])


def test_operator_is_granted_nothing_but_operator(kms):
    with pytest.raises(CallInvalid):
        invite(kms, "operators/olga", "operator", "", roles=["operator", "auditor"])
