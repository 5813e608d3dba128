"""A company's certificates over mutual TLS: trusted, revoked and refused without a restart."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from identity.corporate_ca import Company, certificate_pem, key_pem, name, self_signed
from server.kms_harness import ACME, PROD
from server.server_harness import write_credentials
from server.watched_kms import watched_kms

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import read_credentials
from kms.client.errors import CallDenied, CallFailed, CallInvalid, CallUnauthenticated, CallUnavailable

SERVICE = "TrustedAuthorityService"
CORP = f"{ACME}/trustedAuthorities/corp"
COMPANY = Company(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    with watched_kms(tmp_path_factory.mktemp("kms")) as watched:
        yield watched.kms


def settings(company=COMPANY, **changed):
    return {
        "certificates_pem": company.pem,
        "subjects": ["*"],
        "claims": {"/subject/OU": "Platform"},
        "namespace": "prod",
        "identity": "/subject/CN",
        "labels": {"from": "company"},
        "roles": ["auditor"],
        **changed,
    }


def create(kms, made, authority_id="corp", who="admin"):
    request = {"parent": ACME, "trusted_authority_id": authority_id, "trusted_authority": made}
    return kms.as_(who).call(SERVICE, "CreateTrustedAuthority", request)


@pytest.fixture
def trusted(kms):
    made = create(kms, settings())
    yield made
    kms.as_("admin").call(SERVICE, "DeleteTrustedAuthority", {"name": CORP})


def employee(kms, directory, company=COMPANY, serial=5, **how):
    """Credentials that the company gave; only the roots of the KMS are the KMS's."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = certificate_pem(company.leaf(key=key, serial=serial, **how)) + certificate_pem(company.issuing)
    return write_credentials(
        directory, key_pem(key), chain, read_credentials(kms.credentials("admin")).ca_pem
    )


def ask(kms, credentials):
    with open_channel(kms.target, credentials) as channel:
        return Api(channel, timeout=20).call("AuditService", "GetCheckpoint", {})


def test_company_s_certificate_calls_from_when_its_authority_is_trusted(kms, tmp_path):
    credentials = employee(kms, tmp_path / "web")
    with pytest.raises(CallUnavailable):
        ask(kms, credentials)
    create(kms, settings())
    assert ask(kms, credentials)["sequence"]
    assert kms.events()[-1]["caller"] == "spiffe://kms.test/tenant/acme/authority/corp/ns/prod/sa/web"
    kms.as_("admin").call(SERVICE, "DeleteTrustedAuthority", {"name": CORP})
    with pytest.raises(CallUnavailable):
        ask(kms, credentials)


def test_revoked_certificate_is_refused_at_its_next_call_on_an_open_channel(kms, trusted, tmp_path):
    with open_channel(kms.target, employee(kms, tmp_path / "web", serial=0xAB)) as channel:
        api = Api(channel)
        assert api.call("AuditService", "GetCheckpoint", {})
        request = {"name": CORP, "serial_number": "ab", "comment": "stolen"}
        kms.as_("admin").call(SERVICE, "RevokeCertificate", request)
        with pytest.raises(CallUnauthenticated, match="revoked"):
            api.call("AuditService", "GetCheckpoint", {})
    assert ask(kms, employee(kms, tmp_path / "other", serial=0xAC))
    event = next(item for item in reversed(kms.events()) if item["action"] == "RevokeCertificate")
    assert event["details"].items() >= {"serial": "ab", "comment": "stolen"}.items()


def test_authority_that_is_removed_lets_nobody_call_on_an_open_channel(kms, tmp_path):
    create(kms, settings())
    with open_channel(kms.target, employee(kms, tmp_path / "web")) as channel:
        api = Api(channel)
        assert api.call("AuditService", "GetCheckpoint", {})
        kms.as_("admin").call(SERVICE, "DeleteTrustedAuthority", {"name": CORP})
        with pytest.raises(CallUnauthenticated):
            api.call("AuditService", "GetCheckpoint", {})


def test_holder_has_the_roles_that_were_granted_and_no_certificate_of_ours(kms, trusted, tmp_path):
    with open_channel(kms.target, employee(kms, tmp_path / "web")) as channel:
        api = Api(channel)
        with pytest.raises(CallDenied):
            api.call("IdentityService", "ListIdentities", {"parent": PROD})
        with pytest.raises(CallUnauthenticated, match="of another authority"):
            api.call("IdentityService", "RenewCertificate", {"csr": ""})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"subject": name(O="Acme", OU="Sales", CN="web")}, "/subject/OU is not"),
        ({"subject": name(OU="Platform", CN="Web")}, "gives no identity"),
    ],
)
def test_whom_the_rules_do_not_admit_is_refused(kms, trusted, tmp_path, how, words):
    with pytest.raises(CallUnauthenticated, match=words):
        ask(kms, employee(kms, tmp_path / "x", **how))


def test_another_company_of_the_same_name_fails_the_handshake(kms, trusted, tmp_path):
    with pytest.raises(CallUnavailable):
        ask(kms, employee(kms, tmp_path / "x", Company(datetime.now(UTC) - timedelta(hours=1))))


def test_authorities_are_managed_by_the_administrator(kms, trusted):
    admin = kms.as_("admin")
    assert admin.call(SERVICE, "GetTrustedAuthority", {"name": CORP}) == trusted
    listed = admin.call(SERVICE, "ListTrustedAuthorities", {"parent": ACME})["trusted_authorities"]
    assert [item["name"] for item in listed] == [CORP]
    changed = settings(name=CORP, etag=trusted["etag"], key_types=["P256"])
    request = {"trusted_authority": changed}
    assert admin.call(SERVICE, "UpdateTrustedAuthority", request)["key_types"] == ["P256"]
    with pytest.raises(CallFailed):
        admin.call(SERVICE, "UpdateTrustedAuthority", request)
    with pytest.raises(CallInvalid, match="trusted already"):
        create(kms, settings(), "again")
    for who in ("author", "web", "stranger", "operator"):
        with pytest.raises(CallDenied):
            create(kms, settings(), "x", who)
        with pytest.raises(CallDenied):
            kms.as_(who).call(SERVICE, "RevokeCertificate", {"name": CORP, "serial_number": "5"})


def test_nobody_is_kept_out_by_an_authority_that_tls_takes_for_the_kmss_own(kms, tmp_path):
    """Six certificates with its name and key identifier: which one TLS finds depends on how it sorts them."""
    own = kms.parts.identity_trust.current().issuer.authority
    hostile = b"".join(certificate_pem(self_signed(own.certificate.subject, own.key)) for _ in range(6))
    others = [certificate_pem(self_signed(name(CN=text), None)) for text in ("a", "b")]
    with pytest.raises(CallInvalid, match="name of the KMS's own"):
        create(kms, settings(certificates_pem=b"".join([hostile, *others]).decode()))
    assert ask(kms, kms.credentials("auditor"))["sequence"]
