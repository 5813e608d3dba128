"""Accesses as values: every limit with the path of its field, and one JSON form."""

import base64
import hashlib
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField, LimitExceeded
from kms.model.access_json import access_schema, access_to_json, parse_access
from kms.model.secret_management_access import AccessTls, Allowances, Engine, Mount, addressee

NAMESPACE = "tenants/acme/namespaces/prod"
CLEAR = {"type": "clear", "location": "string:///" + base64.b64encode(b"hunter2").decode()}
SEALED = {"type": "blindfold", "location": "string:///" + base64.b64encode(b"\x93BFOLD\r\nx").decode()}
ELSEWHERE = {
    "type": "vault",
    "access": f"{NAMESPACE}/secretManagementAccesses/first",
    "path": "secret/token",
    "key": "token",
    "version": 3,
    "encoding": "BASE64",
}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB+A==\n-----END CERTIFICATE-----\n"
AUTHENTICATIONS = [
    {"type": "token", "token": SEALED},
    {"type": "token", "token": ELSEWHERE, "wrapped": True},
    {"type": "app_role", "role_id": "r-1", "secret_id": CLEAR, "wrapped": True, "mount": "team/approle"},
    {"type": "kubernetes", "role": "web", "jwt": SEALED, "mount": "kubernetes"},
    {
        "type": "kubernetes",
        "role": "web",
        "jwt_file": "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "mount": "k",
    },
    {"type": "certificate", "role": "web", "mount": "cert"},
    {"type": "basic", "username": "web", "password": CLEAR},
    {"type": "header", "header": "x-api-key", "value": SEALED, "prefix": "Bearer "},
    {"type": "query", "parameter": "api_key", "value": ELSEWHERE},
]
REST = ("basic", "header", "query")


def access(authentication=AUTHENTICATIONS[0], **members):
    """The object of an access with every field set, and without those that are given as None."""
    whole = {
        "provider": "corp-vault",
        "where": {"expressions": ["app=web", "tier in (a,b)"]},
        "endpoint": "https://vault.corp.example:8200/v",
        "authentication": authentication,
        "tls": {
            "ca_pem": PEM * 2,
            "server_name": "vault.internal",
            "client_certificate_pem": PEM,
            "client_key": SEALED,
        },
        "vault_namespace": "team/a",
        "mounts": [{"path": "secret", "engine": "KV_V2"}, {"path": "secret/db", "engine": "DYNAMIC"}],
        "timeout_seconds": 5,
        "max_secret_bytes": 1024,
        "cache_timeout_seconds": 60,
        "labels": {"team": "a"},
        "description": "why",
    }
    if authentication["type"] in REST:
        whole |= {"vault_namespace": None, "mounts": None}
    return {name: value for name, value in (whole | members).items() if value is not None}


@pytest.mark.parametrize("authentication", AUTHENTICATIONS)
def test_every_access_is_printed_as_it_was_read(authentication):
    value = access(authentication)
    jsonschema.validate(value, access_schema(), jsonschema.Draft202012Validator)
    assert access_to_json(parse_access(value)) == value


@given(
    st.sampled_from(AUTHENTICATIONS),
    st.sets(
        st.sampled_from(
            ["tls", "vault_namespace", "timeout_seconds", "max_secret_bytes", "labels", "description"]
        )
    ),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    st.text(max_size=40),
)
def test_printing_is_the_inverse_of_reading(authentication, absent, expressions, description):
    if authentication["type"] == "certificate":
        absent -= {"tls"}
    members = {"where": {"expressions": expressions}, "description": description} | dict.fromkeys(absent)
    printed = json.loads(json.dumps(access_to_json(parse_access(access(authentication, **members)))))
    assert access_to_json(parse_access(printed)) == printed


def test_what_is_left_out_has_its_default():
    least = {name: access()[name] for name in ("provider", "where", "endpoint", "authentication", "mounts")}
    read = parse_access(least)
    assert (read.timeout_seconds, read.max_secret_bytes, read.cache_timeout_seconds) == (10, 65536, 0)
    assert access_to_json(read) == least | {"timeout_seconds": 10, "max_secret_bytes": 65536}


def authenticated(kind, **members):
    [whole, *_] = [value for value in AUTHENTICATIONS if value["type"] == kind]
    return access({name: value for name, value in (whole | members).items() if value is not None})


REFUSED = [
    (None, ""),
    ({}, "provider"),
    (access(where=None), "where"),
    (access(endpoint=None), "endpoint"),
    (access() | {"token": "x"}, ""),
    (access(provider="Vault"), "provider"),
    (access(where={"expressions": []}), "where.expressions"),
    (access(where={"expressions": [""]}), "where.expressions[0]"),
    (access(where={"expressions": ["a", "a"]}), "where.expressions[1]"),
    (access(where={"expressions": ["a" * 4097]}), "where.expressions"),
    (access(endpoint="http://vault.corp.example"), "endpoint"),
    (access(endpoint="https://user@vault.corp.example"), "endpoint"),
    (access(endpoint="https://vault.corp.example#x"), "endpoint"),
    (access(endpoint="http://127.0.0.1:8200"), "tls"),
    (access(vault_namespace="team/../root"), "vault_namespace"),
    (access(vault_namespace="team\r\nx-vault-token: x"), "vault_namespace"),
    (access(mounts=None), "mounts"),
    (access(mounts=[{"path": "../sys", "engine": "KV_V1"}]), "mounts[0].path"),
    (access(mounts=[{"path": "kv", "engine": "SSH"}]), "mounts[0].engine"),
    (access(mounts=[{"path": "kv"}]), "mounts[0].engine"),
    (access(mounts=[{"path": "kv", "engine": name} for name in ("KV_V1", "KV_V2")]), "mounts"),
    (access(mounts=[{"path": f"kv{n}", "engine": "KV_V1"} for n in range(17)]), "mounts"),
    (access(AUTHENTICATIONS[-1], mounts=[{"path": "kv", "engine": "KV_V1"}]), "mounts"),
    (access(AUTHENTICATIONS[-1], vault_namespace="a"), "mounts"),
    (access(timeout_seconds=0), "timeout_seconds"),
    (access(timeout_seconds=61), "timeout_seconds"),
    (access(max_secret_bytes=0), "max_secret_bytes"),
    (access(max_secret_bytes=(1 << 20) + 1), "max_secret_bytes"),
    (access(cache_timeout_seconds=-1), "cache_timeout_seconds"),
    (access(cache_timeout_seconds=30 * 86400 + 1), "cache_timeout_seconds"),
    (access(labels={"a b": "c"}), "labels"),
    (access(description="x" * 2049), "description"),
    (access(tls={"ca_pem": "no certificate"}), "tls.ca_pem"),
    (access(tls={"ca_pem": "x = 1\n" + PEM}), "tls.ca_pem"),
    (access(tls={"ca_pem": PEM * 17}), "tls.ca_pem"),
    (access(tls={"ca_pem": PEM.replace("A==", "B==")}), "tls.ca_pem"),
    (access(tls={"ca_pem": PEM.replace("A==", "A==AAAA")}), "tls.ca_pem"),
    (access(tls={"ca_pem": PEM.replace("A==", "A")}), "tls.ca_pem"),
    (access(tls={"ca_pem": "x" * 65537}), "tls.ca_pem"),
    (access(tls={"client_certificate_pem": PEM}), "tls.client_key"),
    (access(tls={"client_key": SEALED}), "tls.client_key"),
    (access(tls={"server_name": "Vault"}), "tls.server_name"),
    (access(tls={"verify": False}), "tls"),
    (authenticated("certificate") | {"tls": {}}, "tls.client_certificate_pem"),
    (access({"type": "none"}), "authentication.type"),
    (access({"type": "token", "token": "hvs.CAESI"}), "authentication.token"),
    (authenticated("token", wrapped="yes"), "authentication.wrapped"),
    (authenticated("token", token=None), "authentication.token"),
    (authenticated("app_role", role_id=""), "authentication.role_id"),
    (authenticated("app_role", secret_id="s-1"), "authentication.secret_id"),
    (authenticated("app_role", mount="../sys"), "authentication.mount"),
    (authenticated("kubernetes", jwt_file="/var/run/secrets/t"), "authentication.jwt"),
    (authenticated("kubernetes", jwt=None), "authentication.jwt"),
    (authenticated("kubernetes", jwt=None, jwt_file="/etc/shadow"), "authentication.jwt_file"),
    (
        authenticated("kubernetes", jwt=None, jwt_file="/var/run/secrets/../../../etc/shadow"),
        "authentication.jwt_file",
    ),
    (authenticated("kubernetes", role="a\nb"), "authentication.role"),
    (authenticated("basic", username="a:b"), "authentication.username"),
    (authenticated("basic", username=""), "authentication.username"),
    (authenticated("header", header="Host"), "authentication.header"),
    (authenticated("header", header="host"), "authentication.header"),
    (authenticated("header", header="content-length"), "authentication.header"),
    (authenticated("header", header="x:y"), "authentication.header"),
    (authenticated("header", prefix="Bearer\r\n"), "authentication.prefix"),
    (authenticated("query", parameter="a&b=c"), "authentication.parameter"),
    (authenticated("query", value=SEALED | {"x": 1}), "authentication.value"),
]


@pytest.mark.parametrize(("value", "field"), REFUSED)
def test_what_is_not_of_the_form_is_refused_at_its_field(value, field):
    with pytest.raises(InvalidField) as caught:
        parse_access(value)
    assert caught.value.field == field


def test_an_access_has_at_most_256_kibibytes():
    large = SEALED | {"location": SEALED["location"] + "A" * (256 << 10)}
    with pytest.raises(LimitExceeded, match="262144"):
        parse_access(access({"type": "token", "token": large}))


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("secret/web", "secret"),
        ("secret/db/web", "secret/db"),
        ("secret/dbx/web", "secret"),
        ("secret/db", "secret"),
    ],
)
def test_a_path_is_of_the_longest_mount_it_is_below(path, mount):
    assert parse_access(access()).mount_of(path).path == mount


@pytest.mark.parametrize("path", ["secret", "secrets/web", "sys/raw/x", "web"])
def test_nothing_but_the_mounts_is_read(path):
    with pytest.raises(InvalidField) as caught:
        parse_access(access()).mount_of(path)
    assert caught.value.field == "path"


def test_a_mount_says_what_follows_it():
    mount = Mount("secret/db", Engine.DYNAMIC)
    assert [mount.rest_of(path) for path in ("secret/db/a/b", "secret/db", "secret/dbx/a")] == ["a/b", "", ""]


@pytest.mark.parametrize("authentication", AUTHENTICATIONS)
def test_credentials_are_found_by_their_fields(authentication):
    read = parse_access(access(authentication))
    secrets = {
        f"authentication.{name}" for name, value in authentication.items() if isinstance(value, dict)
    } | {"tls.client_key"}
    assert set(read.credentials) == secrets


@pytest.mark.parametrize(
    ("value", "needs", "field"),
    [
        (authenticated("app_role"), Allowances(clear_secrets=True), "authentication.secret_id"),
        (
            access(tls=access()["tls"] | {"client_key": CLEAR}),
            Allowances(clear_secrets=True),
            "tls.client_key",
        ),
        (access(endpoint="http://127.0.0.1:8200", tls=None), Allowances(plain_http=True), "endpoint"),
    ],
)
def test_clear_credentials_and_plain_http_need_their_flag(value, needs, field):
    read = parse_access(value)
    read.check_allowed(needs)
    read.check_allowed(Allowances(clear_secrets=True, plain_http=True))
    others = Allowances(clear_secrets=not needs.clear_secrets, plain_http=not needs.plain_http)
    for allowances in (Allowances(), others):
        with pytest.raises(InvalidField) as caught:
            read.check_allowed(allowances)
        assert caught.value.field == field


UNBOUND = [
    (authenticated("token", token=ELSEWHERE), "authentication.token"),
    (access(tls=access()["tls"] | {"client_key": ELSEWHERE}), "tls.client_key"),
    (
        authenticated("kubernetes", jwt=None, jwt_file="/var/run/secrets/tokens/vault"),
        "authentication.jwt_file",
    ),
]


@pytest.mark.parametrize(("value", "field"), UNBOUND)
def test_what_is_not_sealed_for_the_endpoint_goes_to_listed_ones_alone(value, field):
    read = parse_access(value)
    read.check_allowed(Allowances())
    read.check_may_connect(Allowances(endpoints=("https://other", read.endpoint)))
    with pytest.raises(InvalidField) as caught:
        read.check_may_connect(Allowances())
    assert caught.value.field == field


def test_an_endpoint_that_is_not_listed_is_refused_where_some_are():
    read = parse_access(access())
    read.check_may_connect(Allowances())
    read.check_may_connect(Allowances(endpoints=(read.endpoint,)))
    with pytest.raises(InvalidField) as caught:
        read.check_may_connect(Allowances(endpoints=(f"{read.endpoint}/other",)))
    assert caught.value.field == "endpoint"


def test_an_access_does_not_show_a_clear_credential():
    assert "hunter2" not in repr(parse_access(authenticated("app_role")))
    assert CLEAR["location"] not in repr(parse_access(authenticated("app_role")))


ONE, TWO = b"\x30\x01\xf8", b"\x30\x01\xf9"


def pem_of(der):
    return f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("tls", "proof"),
    [
        (AccessTls(), ""),
        (AccessTls(pem_of(ONE)), f"#ca-sha256={hashlib.sha256(ONE).hexdigest()}"),
        (AccessTls(pem_of(ONE) + pem_of(TWO)), f"#ca-sha256={hashlib.sha256(ONE + TWO).hexdigest()}"),
        (AccessTls("", "vault.internal"), "#server-name=vault.internal"),
        (
            AccessTls(pem_of(ONE), "vault.internal"),
            f"#ca-sha256={hashlib.sha256(ONE).hexdigest()}&server-name=vault.internal",
        ),
    ],
)
def test_addressee_is_the_endpoint_and_what_proves_to_be_it(tls, proof):
    assert addressee("https://vault.example:8200", tls) == f"https://vault.example:8200{proof}"
