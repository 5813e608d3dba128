"""A tenant that has something of every kind, taken out of a KMS and put back."""

import base64
import io
import tracemalloc

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from identity.corporate_ca import Company
from identity.token_workshop import AUDIENCE, URL, claims, jwk, jwks, token
from server.kms_harness import PROD, WEB_TLS

from kms.client.backups import backup_tenant, restore_tenant
from kms.client.credentials import generate_key_pair
from kms.client.opening import open_sealed
from kms.model.names import JwtIssuerName, TenantName
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.storage.interface import Delete

NAME = TenantName("acme")
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


PLAINTEXT = b64(b"a plaintext")
MESSAGE = {"message": PLAINTEXT}


class Made:
    """What was made with acme's keys, in a KMS that has nothing of the kind yet."""

    def __init__(self, kms):
        kms.add_key()
        kms.add_policy("web-tls")
        kms.add_policy("by-name", binding="BINDING_POLICY")
        kms.allow_keys()
        self.keys = {
            "enc": kms.make_key("enc", rotation_period="864000s"),
            "raw": kms.make_key("raw", "RAW_ENCRYPT_DECRYPT", sensitivity="SENSITIVITY_LOW"),
            "sign": kms.make_key("sign", "ASYMMETRIC_SIGN", algorithm="KEY_ALGORITHM_RSA_PSS_2048_SHA256"),
            "rsa": kms.make_key("rsa", "ASYMMETRIC_DECRYPT", algorithm="KEY_ALGORITHM_RSA_OAEP_2048_SHA256"),
            "mac": kms.make_key("mac", "MAC"),
            "waits": kms.make_key("waits", skip_initial_version=True),
        }
        self.encrypted = [use(kms, "Encrypt", name=self.keys["enc"], plaintext=PLAINTEXT)]
        kms.as_("key-admin").call("KeyService", "RotateKey", {"name": self.keys["enc"]})
        self.encrypted.append(use(kms, "Encrypt", name=self.keys["enc"], plaintext=PLAINTEXT))
        self.raw = use(kms, "RawEncrypt", name=self.keys["raw"], plaintext=PLAINTEXT)
        self.signed = use(kms, "Sign", name=self.keys["sign"], **MESSAGE)
        self.mac = use(kms, "Mac", name=self.keys["mac"], **MESSAGE)
        version = f"{self.keys['rsa']}/versions/1"
        public = load_pem_public_key(unb64(use(kms, "GetPublicKey", name=version)["public_key"]))
        self.rsa = {"name": version, "ciphertext": b64(public.encrypt(b"a plaintext", OAEP))}
        self.sealed = [kms.seal(b"sealed", policy) for policy in (WEB_TLS, f"{PROD}/secretPolicies/by-name")]
        office = {"parent": f"{NAME}", "prefix_set_id": "office", "prefix_set": {"prefixes": ["10.0.0.0/8"]}}
        kms.as_("author").call("PrefixSetService", "CreatePrefixSet", office)
        self.access = kms.add_access("main")
        named = kms.add_identification("user", "ADDRESS")
        kms.add_limiter("by-user", number=1000, user_identification=named)
        enrol_by_jwt(kms)
        trust_a_company(kms)
        kms.as_("batch")
        revoked = {"name": f"{PROD}/identities/batch"}
        kms.as_("admin").call("IdentityService", "RevokeIdentity", revoked)

    def check(self, kms):
        """All of it is as it was."""
        for made in self.encrypted:
            opened = use(kms, "Decrypt", name=self.keys["enc"], ciphertext=made["ciphertext"])
            assert opened["plaintext"] == PLAINTEXT
        parts = {part: self.raw[part] for part in ("nonce", "ciphertext", "tag")}
        assert use(kms, "RawDecrypt", name=self.raw["name"], **parts)["plaintext"] == PLAINTEXT
        signature = {"name": self.signed["name"], "signature": self.signed["signature"]}
        assert use(kms, "Verify", **MESSAGE, **signature)
        assert use(kms, "MacVerify", name=self.mac["name"], mac=self.mac["mac"], **MESSAGE)
        assert use(kms, "AsymmetricDecrypt", **self.rsa)["plaintext"] == PLAINTEXT
        fetched = {"name": self.access}
        assert kms.as_("web").call("SecretManagementAccessService", "FetchSecretManagementAccess", fetched)
        assert [open_sealed(kms.as_("web"), sealed).reveal() for sealed in self.sealed] == [b"sealed"] * 2


def enrol_by_jwt(kms):
    """An issuer, and an identity that came by it."""
    made = {
        "issuer": URL,
        "audience": AUDIENCE,
        "jwks": jwks(jwk("EdDSA")).decode(),
        "subjects": ["system:serviceaccount:prod:*"],
        "namespace": "prod",
        "identity": "/kubernetes.io/serviceaccount/name",
    }
    request = {"parent": f"{NAME}", "jwt_issuer_id": "cluster", "jwt_issuer": made}
    kms.as_("admin").call("JwtIssuerService", "CreateJwtIssuer", request)
    account = claims(kms.now, **{"kubernetes.io": {"serviceaccount": {"name": "pod"}}})
    kms.loop.run(
        kms.parts.jwt_enrolment.enrol(
            JwtIssuerName("acme", "cluster"),
            token(account, "EdDSA"),
            generate_key_pair().csr,
            address="",
            request_id="",
            now=kms.now,
        )
    )


def trust_a_company(kms):
    made = {
        "certificates_pem": Company(kms.now).pem,
        "subjects": ["*"],
        "namespace": "prod",
        "identity": "/subject/CN",
    }
    request = {"parent": f"{NAME}", "trusted_authority_id": "corp", "trusted_authority": made}
    kms.as_("admin").call("TrustedAuthorityService", "CreateTrustedAuthority", request)


def use(kms, method, **request):
    return kms.as_("key-user").call("CryptoService", method, request)


def take(kms, who="operator", name=NAME):
    return b"".join(backup_tenant(kms.as_(who), name))


def put_back(kms, backup, who="operator", name=NAME, **how):
    return restore_tenant(kms.as_(who), name, io.BytesIO(backup), **how)


def rows(kms, tenant="acme"):
    """The tenant's rows of every kind, by kind and name."""
    found = {}
    for kind in (*KINDS, *LEFT_OUT):
        for row in kms.vault.store.scan(kind, f"tenants/{tenant}", limit=10_000):
            if f"{row.name}/".startswith(f"tenants/{tenant}/"):
                found[kind, row.name] = row
    for row in kms.vault.store.scan("due", limit=10_000):
        if f"/tenants/{tenant}/" in row.name:
            found["due", row.name] = row
    return found


def lose(kms, tenant="acme"):
    """As if the tenant had never been there."""
    kms.commit("Test.Lose", *(Delete(row.kind, row.name, row.counter) for row in rows(kms, tenant).values()))
    assert rows(kms, tenant) == {}


def peak(act):
    """What act allocated at most, on top of what there was. The client's part of it is in files."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
