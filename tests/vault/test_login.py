"""How an access logs in: by token, AppRole, Kubernetes and certificate; wrapped, renewed, rotated."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest
from server.server_harness import Authority
from vault.auth_methods import jwt_of
from vault.fetching import Clock, Credentials, read, source_of, wanted
from vault.neighbours import Kubernetes, serving
from vault.workshop import Answered, Workshop, clear

from blindfold.secret import SecretBytes
from kms.external.errors import Forbidden, LoginRefused, NotVerified, WrappingTokenSpent
from kms.model.secret_management_access import (
    AccessTls,
    AppRoleAuthentication,
    CertificateAuthentication,
    Engine,
    KubernetesAuthentication,
    SecretManagementAccess,
    TokenAuthentication,
)
from kms.model.secret_type import SecretType, VaultSecret

HOUR = 3600


@dataclass(frozen=True)
class Door:
    """A secret, a policy that lets read it, and ways to become one whom it is for."""

    vault: Workshop
    mount: str
    policy: str

    @property
    def secret(self) -> VaultSecret:
        return wanted(f"{self.mount}/db", key="password")

    def access(self, authentication: Any, **settings: Any) -> SecretManagementAccess:
        return self.vault.access((self.mount, Engine.KV_V1), authentication=authentication, **settings)

    def app_role(self, **settings: Any) -> "AppRole":
        method = self.vault.method("approle")
        self.vault.write(f"auth/{method}/role/web", token_policies=[self.policy], **settings)
        role_id = self.vault.read(f"auth/{method}/role/web/role-id")["role_id"]
        return AppRole(self.vault, method, role_id)

    def lives(self, token: str) -> bool:
        try:
            self.vault.call("GET", "auth/token/lookup-self", token=token)
        except Answered:
            return False
        return True


@dataclass(frozen=True)
class AppRole:
    vault: Workshop
    mount: str
    role_id: str

    @property
    def path(self) -> str:
        return f"auth/{self.mount}/role/web/secret-id"

    def secret_id(self) -> str:
        made: str = self.vault.write(self.path)["data"]["secret_id"]
        return made

    def authentication(self, secret_id: str = "", *, wrapped: bool = False) -> AppRoleAuthentication:
        secret = clear(secret_id or self.secret_id())
        return AppRoleAuthentication(self.role_id, secret, wrapped, self.mount)


@pytest.fixture
def door(vault: Workshop) -> Door:
    mount = vault.mount("kv", version="1")
    vault.write(f"{mount}/db", password="hunter2")
    return Door(vault, mount, vault.policy_of({f"{mount}/*": "read"}))


def test_a_token_reads(door: Door) -> None:
    token = door.vault.make_token(door.policy)
    assert read(door.access(TokenAuthentication(clear(f"{token}\n"))), door.secret) == b"hunter2"


def test_a_given_token_is_not_revoked_at_the_end(door: Door) -> None:
    token = door.vault.make_token(door.policy)
    read(door.access(TokenAuthentication(clear(token))), door.secret)
    assert door.lives(token)


@pytest.mark.parametrize(
    "token", ["hvs.unknown", "two words", "é", "a\r\nX-Vault-Namespace: b", "x" * 20_000]
)
def test_a_token_that_the_vault_does_not_know_or_that_is_none_is_refused(door: Door, token: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        read(door.access(TokenAuthentication(clear(token))), door.secret)
    assert token not in str(caught.value)


def test_an_app_role_reads(door: Door) -> None:
    role = door.app_role()
    assert read(door.access(role.authentication()), door.secret) == b"hunter2"


def test_a_token_of_a_login_is_revoked_at_the_end(door: Door) -> None:
    tokens = []

    async def test() -> None:
        async with source_of(door.access(door.app_role().authentication())) as source:
            _, held = await source.with_token(lambda api: None)
            tokens.append(held.issued.token.reveal().decode())
            assert door.lives(tokens[0])

    asyncio.run(test())
    assert not door.lives(tokens[0])


def test_a_wrong_secret_id_is_refused(door: Door) -> None:
    role = door.app_role()
    with pytest.raises(LoginRefused, match="answers 400"):
        read(door.access(role.authentication("00000000-0000-0000-0000-000000000000")), door.secret)


def test_a_method_that_is_not_there_refuses_the_login(door: Door) -> None:
    nowhere = AppRoleAuthentication("role", clear("secret"), mount="nowhere")
    with pytest.raises(LoginRefused):
        read(door.access(nowhere), door.secret)


def test_a_wrapped_secret_id_logs_in(door: Door) -> None:
    role = door.app_role()
    wrapping = door.vault.wrap(role.path, {})
    assert read(door.access(role.authentication(wrapping, wrapped=True)), door.secret) == b"hunter2"


def test_a_wrapped_token_reads(door: Door) -> None:
    wrapping = door.vault.wrap("auth/token/create", {"policies": [door.policy]})
    assert read(door.access(TokenAuthentication(clear(wrapping), wrapped=True)), door.secret) == b"hunter2"


def test_a_wrapping_token_that_was_used_is_told_from_a_wrong_credential(door: Door) -> None:
    role = door.app_role()
    wrapping = door.vault.wrap(role.path, {})
    access = door.access(role.authentication(wrapping, wrapped=True))
    read(access, door.secret)
    with pytest.raises(WrappingTokenSpent) as caught:
        read(access, door.secret)
    assert "somebody else" in caught.value.hint


def test_a_wrapping_token_of_something_else_is_refused(door: Door) -> None:
    wrapping = door.vault.wrap("sys/wrapping/wrap", {"other": "thing"})
    with pytest.raises(LoginRefused, match="something else"):
        read(door.access(door.app_role().authentication(wrapping, wrapped=True)), door.secret)


def test_a_wrapped_secret_id_serves_later_logins_too(door: Door) -> None:
    role = door.app_role()
    access = door.access(role.authentication(door.vault.wrap(role.path, {}), wrapped=True))

    async def test() -> bytes:
        clock = Clock()
        async with source_of(access, clock=clock) as source:
            await revoke(source)
            clock.now += 60
            return (await source.get(door.secret)).secret.reveal()

    assert asyncio.run(test()) == b"hunter2"


async def revoke(source: Any) -> None:
    """End the token of a source behind its back."""
    await source.with_token(lambda api: api.revoke())


def test_a_token_that_died_is_replaced_by_a_new_login(door: Door) -> None:
    role = door.app_role()
    credentials = Credentials([role.secret_id()])

    async def test() -> bytes:
        clock = Clock()
        async with source_of(door.access(role.authentication()), credentials, clock=clock) as source:
            await revoke(source)
            clock.now += 60
            return (await source.get(door.secret)).secret.reveal()

    assert asyncio.run(test()) == b"hunter2"
    assert credentials.opened == 2


def test_a_credential_that_was_rotated_is_opened_again(door: Door) -> None:
    old, new = door.vault.make_token(door.policy), door.vault.make_token(door.policy)
    credentials = Credentials([old])

    async def test() -> bytes:
        clock = Clock()
        access = door.access(TokenAuthentication(clear("as opened")))
        async with source_of(access, credentials, clock=clock) as source:
            await source.get(door.secret)
            door.vault.write("auth/token/revoke", token=old)
            credentials.values.append(new)
            clock.now += 60
            return (await source.get(door.secret)).secret.reveal()

    assert asyncio.run(test()) == b"hunter2"


def test_who_is_just_not_allowed_does_not_log_in_again_and_again(door: Door) -> None:
    role = door.app_role()
    credentials = Credentials([role.secret_id()])
    door.vault.write(f"auth/{role.mount}/role/web", token_policies=[])

    async def test() -> None:
        clock = Clock()
        async with source_of(door.access(role.authentication()), credentials, clock=clock) as source:
            for _ in range(3):
                clock.now += 60
                with pytest.raises(Forbidden):
                    await source.get(door.secret)

    asyncio.run(test())
    assert credentials.opened == 1


def test_a_token_is_renewed_after_two_thirds_of_its_life(door: Door) -> None:
    token = door.vault.make_token(door.policy, ttl="1h")

    async def test() -> None:
        clock = Clock()
        async with source_of(door.access(TokenAuthentication(clear(token))), clock=clock) as source:
            await source.get(door.secret)
            assert source.due == pytest.approx(clock.now + HOUR * 2 / 3, abs=5)
            clock.now += HOUR * 2 / 3 + 10
            await source.renew_due()
            assert source.due == pytest.approx(clock.now + HOUR * 2 / 3, abs=5)

    asyncio.run(test())


def test_a_token_that_cannot_be_renewed_is_replaced_before_it_ends(door: Door) -> None:
    first = door.vault.make_token(door.policy, ttl="1h", renewable=False)
    second = door.vault.make_token(door.policy, ttl="2h", renewable=False)
    credentials = Credentials([first])

    async def test() -> None:
        clock = Clock()
        access = door.access(TokenAuthentication(clear("as opened")))
        async with source_of(access, credentials, clock=clock) as source:
            await source.get(door.secret)
            credentials.values.append(second)
            clock.now += HOUR * 2 / 3 + 10
            await source.renew_due()
            assert source.due == pytest.approx(clock.now + 2 * HOUR * 2 / 3, abs=5)

    asyncio.run(test())
    assert credentials.opened == 2


def test_a_credential_that_cannot_be_opened_for_a_renewal_leaves_the_token_as_it_is(door: Door) -> None:
    token = door.vault.make_token(door.policy, ttl="1h", renewable=False)
    opened: list[object] = []

    async def once(secret: SecretType) -> SecretBytes:
        opened.append(secret)
        if len(opened) > 1:
            raise OSError("the KMS is away")
        return SecretBytes(token.encode())

    async def test() -> bytes:
        clock = Clock()
        async with source_of(
            door.access(TokenAuthentication(clear("as opened"))), once, clock=clock
        ) as source:
            await source.get(door.secret)
            clock.now += HOUR * 2 / 3 + 10
            await source.renew_due()
            return (await source.get(door.secret)).secret.reveal()

    assert asyncio.run(test()) == b"hunter2"
    assert len(opened) == 2


def test_a_service_account_of_kubernetes_reads(door: Door) -> None:
    cluster = Kubernetes()
    jwt = account_jwt("shop", "web")
    cluster.accounts[jwt] = "shop/web"
    with serving(cluster.answer) as address:
        mount = kubernetes(door, address)
        assert read(door.access(KubernetesAuthentication("web", jwt=clear(jwt), mount=mount)), door.secret)
        for other in (account_jwt("shop", "other"), "no.j.wt"):
            with pytest.raises(LoginRefused):
                read(door.access(KubernetesAuthentication("web", jwt=clear(other), mount=mount)), door.secret)


def account_jwt(namespace: str, name: str) -> str:
    account, now = {"name": name, "uid": "u-1"}, round(time.time())
    return jwt_of(
        {
            "iss": "kubernetes/serviceaccount",
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "aud": ["https://kubernetes.default.svc"],
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + HOUR,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": account},
        }
    )


def kubernetes(door: Door, address: str) -> str:
    mount = door.vault.method("kubernetes")
    door.vault.write(
        f"auth/{mount}/config",
        kubernetes_host=address,
        token_reviewer_jwt=account_jwt("system", "reviewer"),
        disable_iss_validation=True,
        disable_local_ca_jwt=True,
        kubernetes_ca_cert=door.vault.authority.pem.decode(),
    )
    door.vault.write(
        f"auth/{mount}/role/web",
        bound_service_account_names=["web"],
        bound_service_account_namespaces=["shop"],
        audience="https://kubernetes.default.svc",
        token_policies=[door.policy],
    )
    return mount


@pytest.fixture
def certificates(door: Door) -> str:
    if not door.vault.ca_pem:
        pytest.skip("client certificates need a server over https")
    mount = door.vault.method("cert")
    pem = door.vault.authority.pem.decode()
    door.vault.write(f"auth/{mount}/certs/web", certificate=pem, token_policies=[door.policy])
    return mount


def shown(door: Door, name: str = "web") -> tuple[AccessTls, str]:
    key, chain = door.vault.authority.issue(name)
    tls = AccessTls(door.vault.ca_pem, client_certificate_pem=chain.decode(), client_key=clear(key))
    return tls, chain.decode()


@pytest.mark.parametrize("role", ["", "web"])
def test_a_client_certificate_reads(door: Door, certificates: str, role: str) -> None:
    tls, _ = shown(door)
    access = door.access(CertificateAuthentication(role, certificates), tls=tls)
    assert read(access, door.secret) == b"hunter2"


def test_a_certificate_for_another_role_is_refused(door: Door, certificates: str) -> None:
    tls, _ = shown(door)
    with pytest.raises(LoginRefused):
        read(door.access(CertificateAuthentication("other", certificates), tls=tls), door.secret)


def test_a_server_of_another_authority_gets_no_credential(door: Door) -> None:
    if not door.vault.ca_pem:
        pytest.skip("there is no certificate to verify over http")
    tls = AccessTls(Authority("another").pem.decode())
    with pytest.raises(NotVerified):
        read(door.access(TokenAuthentication(clear(door.vault.token)), tls=tls), door.secret)


def test_a_server_of_another_name_gets_no_credential(door: Door) -> None:
    if not door.vault.ca_pem:
        pytest.skip("there is no certificate to verify over http")
    tls = AccessTls(door.vault.ca_pem, server_name="other.test")
    with pytest.raises(NotVerified):
        read(door.access(TokenAuthentication(clear(door.vault.token)), tls=tls), door.secret)


def test_a_server_may_have_another_name_than_the_endpoint(door: Door) -> None:
    door.vault.only_stand_in("its certificate may not have the name localhost")
    tls = AccessTls(door.vault.ca_pem, server_name="localhost")
    assert read(door.access(TokenAuthentication(clear(door.vault.token)), tls=tls), door.secret)
