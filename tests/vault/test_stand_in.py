"""What a vault refuses. Each case runs against the stand-in and, where one is named, a real server: that the
stand-in is as strict."""

import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from vault.workshop import Answered, Workshop

FLYING = '{"path": {"a": {"capabilities": ["fly"]}}}'


@dataclass(frozen=True)
class Case:
    """A request as root, or with `token`, and the status that refuses it."""

    name: str
    method: str
    path: str
    status: int
    body: object = None
    token: str = ""


CASES = (
    Case("no route", "GET", "nowhere/a", 404),
    Case("unknown token", "GET", "auth/token/lookup-self", 403, token="hvs.unknown"),
    Case("nothing at a path", "GET", "{kv}/nothing", 404),
    Case("nothing to write", "POST", "{kv}/a", 400, body={}),
    Case("a method that the path has not", "DELETE", "auth/{approle}/role/none/role-id", 405),
    Case("a path that the engine has not", "GET", "{kv2}/elsewhere", 404),
    Case("the second version read as the first", "GET", "{kv2}/a", 404),
    Case("no data in the second version", "POST", "{kv2}/data/a", 400, body={"a": "b"}),
    Case("unknown role", "POST", "auth/{approle}/login", 400, body={"role_id": "r", "secret_id": "s"}),
    Case("secret id of no role", "POST", "auth/{approle}/role/none/secret-id", 404, body={}),
    Case("unknown engine", "POST", "sys/mounts/x", 400, body={"type": "nothing"}),
    Case("mount that is taken", "POST", "sys/mounts/{kv}", 400, body={"type": "kv"}),
    Case("unknown transit key", "GET", "{transit}/keys/none", 404),
    Case(
        "decryption by an unknown key",
        "POST",
        "{transit}/decrypt/none",
        400,
        body={"ciphertext": "vault:v1:"},
    ),
    Case("unknown export", "GET", "{transit}/export/everything/k", 400),
    Case("key that may not leave", "GET", "{transit}/export/encryption-key/kept", 400),
    Case("no transit ciphertext", "POST", "{transit}/decrypt/kept", 400, body={"ciphertext": "AAAA"}),
    Case(
        "version that is not there",
        "POST",
        "{transit}/decrypt/kept",
        400,
        body={"ciphertext": "vault:v9:AAAA"},
    ),
    Case("lease that is not there", "PUT", "sys/leases/renew", 400, body={"lease_id": "none"}),
    Case("wrapping token that is none", "POST", "sys/wrapping/unwrap", 400, body={"token": "hvs.none"}),
    Case("policy that is none", "PUT", "sys/policies/acl/p", 400, body={"policy": "x"}),
    Case("capability that is none", "PUT", "sys/policies/acl/p", 400, body={"policy": FLYING}),
    Case("renewal of a root token", "POST", "auth/token/renew-self", 400, body={}),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_vault_refuses(vault: Workshop, case: Case) -> None:
    places = {}
    if "{" in case.path:
        places = {
            "kv": vault.mount("kv", version="1"),
            "kv2": vault.mount("kv", version="2"),
            "transit": vault.mount("transit"),
            "approle": vault.method("approle"),
        }
        vault.write(f"{places['transit']}/keys/kept", type="aes256-gcm96")
    with pytest.raises(Answered) as caught:
        vault.call(case.method, case.path.format(**places), case.body, token=case.token)
    assert caught.value.status == case.status


def test_a_token_sees_what_its_policies_say_and_nothing_else(vault: Workshop) -> None:
    mount = vault.mount("kv", version="1")
    vault.write(f"{mount}/a/b", x="1")
    vault.write(f"{mount}/b", x="2")
    token = vault.make_token(vault.policy_of({f"{mount}/a/*": "read"}))
    assert vault.call("GET", f"{mount}/a/b", token=token)["data"] == {"x": "1"}
    for method, path in (("GET", f"{mount}/b"), ("POST", f"{mount}/a/b"), ("POST", f"sys/mounts/{mount}-x")):
        with pytest.raises(Answered) as caught:
            vault.call(method, path, {"type": "kv"} if method == "POST" else None, token=token)
        assert caught.value.status == 403


def test_a_path_that_is_denied_is_so_whatever_else_allows_it(vault: Workshop) -> None:
    mount = vault.mount("kv", version="1")
    vault.write(f"{mount}/a", x="1")
    token = vault.make_token(vault.policy_of({f"{mount}/*": "read"}), vault.policy_of({f"{mount}/a": "deny"}))
    with pytest.raises(Answered, match="403"):
        vault.call("GET", f"{mount}/a", token=token)


def test_a_wrapping_token_serves_once(vault: Workshop) -> None:
    token = vault.wrap("sys/wrapping/wrap", {"a": "b"})
    assert vault.call("POST", "sys/wrapping/unwrap", {}, token=token)["data"] == {"a": "b"}
    with pytest.raises(Answered) as caught:
        vault.call("POST", "sys/wrapping/unwrap", {}, token=token)
    assert caught.value.status in (400, 403)


def test_a_token_serves_as_often_as_it_is_made_for(vault: Workshop) -> None:
    token = vault.make_token(num_uses=2)
    for _ in range(2):
        vault.call("GET", "auth/token/lookup-self", token=token)
    with pytest.raises(Answered, match="403"):
        vault.call("GET", "auth/token/lookup-self", token=token)


def test_a_body_that_is_no_json_is_refused(vault: Workshop) -> None:
    at = urlsplit(vault.address)
    context = ssl.create_default_context(cadata=vault.ca_pem) if vault.ca_pem else None
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    how = {"context": context} if context else {}
    connection = kind(at.hostname or "", at.port, timeout=30, **how)
    headers = {"X-Vault-Token": vault.token, "X-Vault-Request": "true"}
    connection.request("POST", "/v1/sys/policies/acl/p", b"{", headers)
    assert connection.getresponse().status == 400
    connection.close()


def test_an_agent_before_the_vault_wants_the_header_of_its_clients(vault: Workshop) -> None:
    vault.only_stand_in("it asks for the header only behind an agent that was configured so")
    with pytest.raises(Answered, match="412"):
        vault.call("GET", "auth/token/lookup-self", X_Vault_Request="false")
