"""Accesses to vaults over the wire: all of one goes there and back, and to nobody that it does not select."""

import base64

import pytest
from server.kms_harness import PROD

from kms.client.errors import CallConflict, CallDenied, CallInvalid, CallNotFound
from kms.model.secret_management_access import AccessTls, Allowances, addressee

SERVICE = "SecretManagementAccessService"
MAIN = f"{PROD}/secretManagementAccesses/main"
ENDPOINT = "https://vault.corp.example:8200"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB+A==\n-----END CERTIFICATE-----\n"


def call(kms, method, who="author", **request):
    return kms.as_(who).call(SERVICE, method, request)


def sealed_for(kms, tls):
    sealed = base64.b64encode(kms.seal(b"token", name=addressee(ENDPOINT, tls))).decode()
    return {"blindfold": {"location": f"string:///{sealed}"}}


@pytest.fixture(scope="module")
def credential(kms):
    kms.add_policy()
    return sealed_for(kms, AccessTls(PEM))


@pytest.fixture
def content(credential):
    return {
        "provider": "corp-vault",
        "where": {"expressions": ["app=web"]},
        "endpoint": ENDPOINT,
        "authentication": {"app_role": {"role_id": "r", "secret_id": credential, "mount": "approle"}},
        "tls": {"ca_pem": PEM, "client_certificate_pem": PEM, "client_key": credential},
        "vault_namespace": "team/a",
        "mounts": [
            {"path": "secret", "engine": "VAULT_ENGINE_KV_V2"},
            {"path": "database", "engine": "VAULT_ENGINE_DYNAMIC"},
        ],
        "timeout": "5s",
        "max_secret_bytes": 1024,
        "cache_timeout": "60s",
        "labels": {"team": "a"},
        "description": "why",
    }


def create(kms, content, access="main", **request):
    request |= {"secret_management_access": {"content": content}}
    return call(
        kms, "CreateSecretManagementAccess", parent=PROD, secret_management_access_id=access, **request
    )


@pytest.fixture
def main(kms, content):
    made = create(kms, content)
    yield made
    call(kms, "DeleteSecretManagementAccess", name=MAIN)


def update(kms, content, mask="", etag=""):
    sent = {"name": MAIN, "content": content, "etag": etag}
    request = {"secret_management_access": sent} | ({"update_mask": mask} if mask else {})
    return call(kms, "UpdateSecretManagementAccess", **request)


def test_access_is_read_listed_fetched_and_changed_by_its_mask(kms, main, content):
    assert (main["name"], main["content"]) == (MAIN, content)
    assert call(kms, "GetSecretManagementAccess", "auditor", name=MAIN) == main
    listed = call(kms, "ListSecretManagementAccesses", "admin", parent=PROD)
    assert listed == {"secret_management_accesses": [main]}
    assert call(kms, "FetchSecretManagementAccess", "web", name=MAIN) == main
    new = {"timeout": "7s", "description": "not read"}
    after = update(kms, new, "content.timeout,content.cacheTimeout", main["etag"])
    expected = {name: value for name, value in content.items() if name != "cache_timeout"}
    assert after["content"] == expected | {"timeout": "7s"}
    with pytest.raises(CallConflict):
        update(kms, new, "content.timeout", main["etag"])


AUTHENTICATIONS = [
    {"token": {"token": None, "wrapped": True}},
    {"kubernetes": {"role": "web", "jwt": None, "mount": "kubernetes"}},
    {"kubernetes": {"role": "web", "jwt_file": "/var/run/secrets/tokens/vault", "mount": "kubernetes"}},
    {"certificate": {"mount": "cert"}},
    {"certificate": {"role": "web", "mount": "cert"}},
    {"basic": {"username": "web", "password": None}},
    {"header": {"header": "x-api-key", "value": None, "prefix": "Bearer "}},
    {"query": {"parameter": "key", "value": None}},
]


@pytest.mark.parametrize("authentication", AUTHENTICATIONS, ids=lambda one: "-".join(one))
def test_every_authentication_goes_there_and_back(kms, main, content, credential, authentication):
    [(kind, members)] = authentication.items()
    sent = {kind: {name: credential if value is None else value for name, value in members.items()}}
    rest = kind in ("basic", "header", "query")
    of_vaults = ("mounts", "vault_namespace") if rest else ()
    written = {name: value for name, value in content.items() if name not in of_vaults}
    assert update(kms, written | {"authentication": sent})["content"]["authentication"] == sent


def test_credential_in_a_vault_goes_there_and_back(kms, main, content):
    kept = {
        "access": MAIN,
        "path": "secret/token",
        "key": "k",
        "version": 3,
        "encoding": "SECRET_ENCODING_BASE64",
        "ciphertext": "vault:v1:x",
    }
    second = content | {"authentication": {"token": {"token": {"vault": kept}}}}
    made = create(kms, second, "second")
    assert made["content"]["authentication"] == second["authentication"]
    call(kms, "DeleteSecretManagementAccess", name=made["name"])


def test_empty_choices_are_left_as_they_were_sent(kms, main, content):
    least = {name: content[name] for name in ("provider", "where", "endpoint", "mounts")}
    least["authentication"] = {"token": {"token": sealed_for(kms, AccessTls())}}
    shown = update(kms, least)["content"]
    assert shown == least | {"timeout": "10s", "max_secret_bytes": 65536}


@pytest.mark.parametrize("who", ["batch", "admin", "author", "auditor", "stranger"])
def test_nobody_fetches_what_does_not_select_him(kms, main, who):
    denials = []
    for name in (MAIN, f"{PROD}/secretManagementAccesses/missing"):
        with pytest.raises(CallDenied) as caught:
            call(kms, "FetchSecretManagementAccess", who, name=name)
        denials.append((str(caught.value), caught.value.reason))
    assert denials[0] == denials[1]


def test_workload_reads_an_access_in_no_other_way(kms, main):
    for method, request in (
        ("GetSecretManagementAccess", {"name": MAIN}),
        ("ListSecretManagementAccesses", {"parent": PROD}),
        ("DeleteSecretManagementAccess", {"name": MAIN}),
    ):
        with pytest.raises(CallDenied):
            call(kms, method, "web", **request)


CLEAR = {"clear": {"location": "string:///aHVudGVyMg=="}}


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"where": {"expressions": ["app in web"]}}, r"where\.expressions\[0\]"),
        ({"endpoint": "http://127.0.0.1:8200", "tls": {}}, "endpoint"),
        ({"endpoint": "https://vault.corp.example@evil.example"}, "endpoint"),
        ({"endpoint": "https://evil.example"}, "not sealed for the endpoint"),
        ({"authentication": {}}, r"authentication\.type"),
        ({"authentication": {"token": {}}}, r"authentication\.token"),
        ({"authentication": {"token": {"token": {}}}}, r"authentication\.token\.type"),
        ({"authentication": {"token": {"token": CLEAR}}}, "is in clear"),
        ({"mounts": [{"path": "a/../b", "engine": "VAULT_ENGINE_KV_V1"}]}, r"mounts\[0\]\.path"),
        ({"mounts": [{"path": "secret"}]}, r"mounts\[0\]\.engine"),
        ({"timeout": "0.5s"}, "whole seconds"),
        ({"timeout": "61s"}, "timeout_seconds"),
        ({"description": "x" * (256 << 10)}, "262144"),
    ],
)
def test_bad_content_is_refused_naming_the_field(kms, content, members, field):
    with pytest.raises(CallInvalid, match=field) as caught:
        create(kms, content | members)
    assert "aHVudGVyMg" not in str(caught.value)
    with pytest.raises(CallNotFound):
        call(kms, "GetSecretManagementAccess", name=MAIN)


def test_mask_of_what_is_no_content_is_refused(kms, main, content):
    with pytest.raises(CallInvalid, match="update_mask"):
        update(kms, content, "etag")


def test_credential_in_clear_is_answered_to_whoever_fetches_alone(kms, content):
    accesses = kms.parts.secret_management_accesses
    accesses._allowances = Allowances(clear_secrets=True)
    try:
        made = create(kms, content | {"authentication": {"token": {"token": CLEAR}}})
    finally:
        accesses._allowances = Allowances()
    shown = {"token": {"token": {"clear": {}}}}
    listed = call(kms, "ListSecretManagementAccesses", parent=PROD)["secret_management_accesses"]
    for answer in (made, call(kms, "GetSecretManagementAccess", name=MAIN), *listed):
        assert answer["content"]["authentication"] == shown
    fetched = call(kms, "FetchSecretManagementAccess", "web", name=MAIN)
    assert fetched["content"]["authentication"] == {"token": {"token": CLEAR}}
    call(kms, "DeleteSecretManagementAccess", name=MAIN)
