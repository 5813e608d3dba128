"""Vectors of exponents, documents and bundles."""

import json
from dataclasses import replace
from typing import Any

from blindfold import Binding, KeyDocument
from blindfold._canonical import dump
from blindfold._primitives import ed25519_public_key
from blindfold.bundle import Bundle, Delegation
from blindfold.exponent import binding_info, derive_exponent
from testvectors import material
from testvectors.vectorfile import VectorFile


def exponents() -> VectorFile:
    file = VectorFile(
        "blindfold/v1 exponent derivation",
        "exponent_schema.json",
        {
            "Valid": "info is built from the fields, the exponent from n and info.",
            "OtherInput": "The exponent is that of other fields; who ignores one of them accepts it.",
        },
    )
    digest = material.policy().digest
    policy_value = material.policy(binding=Binding.POLICY).binding_value

    def case(label: str, tenant: str, version: int, binding: int, value: bytes) -> dict[str, Any]:
        n = material.key(label).n
        return {
            "n": f"{n:x}",
            "tenant": tenant,
            "key_version": version,
            "binding": binding,
            "binding_value": value.hex(),
        }

    def derived(label: str, tenant: str, version: int, binding: int, value: bytes) -> dict[str, str]:
        info = binding_info(tenant, version, Binding(binding), value)
        return {"info": info.hex(), "exponent": f"{derive_exponent(material.key(label).n, info):x}"}

    base = ("small", "acme", 1, 1, digest)
    for label in ("small", "full"):
        for fields in ((label, "acme", 1, 1, digest), (label, "acme", 7, 2, policy_value)):
            file.valid(f"{label} key, binding {fields[3]}", "Valid", **case(*fields), **derived(*fields))
    others: dict[str, tuple[str, str, int, int, bytes]] = {
        "another tenant": ("small", "acme2", 1, 1, digest),
        "another key version": ("small", "acme", 2, 1, digest),
        "another binding": ("small", "acme", 1, 2, digest),
        "another digest": ("small", "acme", 1, 1, bytes([digest[0] ^ 1]) + digest[1:]),
        "another modulus": ("other", "acme", 1, 1, digest),
    }
    for comment, fields in others.items():
        file.invalid(f"exponent of {comment}", "OtherInput", "Mismatch", **case(*base), **derived(*fields))
    return file


def _mutated(data: bytes, **changes: Any) -> bytes:
    """Canonical JSON with members replaced, or removed where the change is None."""
    obj = json.loads(data) | changes
    return dump({name: value for name, value in obj.items() if value is not None})


def _broken_policies(good: bytes) -> dict[str, tuple[str, bytes]]:
    rule = json.loads(good)["rules"][0]
    return {
        "a space after a colon": ("NotCanonical", good.replace(b'":', b'": ', 1)),
        "members out of order": (
            "NotCanonical",
            json.dumps(dict(reversed(json.loads(good).items()))).encode(),
        ),
        "a duplicate name": (
            "NotCanonical",
            good.replace(b'{"binding"', b'{"binding":"REVISION","binding"', 1),
        ),
        "a fraction": ("NotCanonical", good.replace(b'"revision":1', b'"revision":1.0')),
        "an integer of 2^53": ("NotCanonical", good.replace(b":300,", b":9007199254740992,")),
        "a trailing newline": ("NotCanonical", good + b"\n"),
        "a byte order mark": ("NotCanonical", b"\xef\xbb\xbf" + good),
        "an unknown member": ("BadField", _mutated(good, extra=1)),
        "a missing member": ("BadField", _mutated(good, nonce=None)),
        "another type": ("BadField", _mutated(good, type=KeyDocument.TYPE)),
        "a future schema": ("BadField", _mutated(good, schema=2)),
        "an unknown binding": ("BadField", _mutated(good, binding="NONE")),
        "a nonce of 15 bytes": ("BadField", _mutated(good, nonce="00" * 15)),
        "a uid in upper case": ("BadField", _mutated(good, uid="AB" * 16)),
        "revision 0": ("BadField", _mutated(good, revision=0)),
        "a tenant that is no id": ("BadField", _mutated(good, tenant="Acme")),
        "an unknown algorithm": ("BadField", _mutated(good, rule_combining="LAST_MATCH")),
        "an unknown predicate": ("UnknownPredicate", _mutated(good, rules=[rule | {"moon_phase": "full"}])),
        "an unknown member of a predicate": (
            "UnknownPredicate",
            _mutated(good, rules=[rule | {"client_selector": {"expressions": [], "invert": True}}]),
        ),
        "a predicate of KMS policies": (
            "UnknownPredicate",
            _mutated(good, rules=[rule | {"operations": ["SIGN"]}]),
        ),
    }


def documents() -> VectorFile:
    file = VectorFile(
        "blindfold/v1 documents",
        "document_schema.json",
        {
            "Valid": "The canonical bytes parse, and the digest is theirs.",
            "NotCanonical": "The bytes differ from their own canonical form (RFC 8785).",
            "BadField": "A member is missing, unknown, or outside its domain.",
            "UnknownPredicate": "A rule holds what this version does not know, and might be a restriction.",
            "BadFingerprint": "The fingerprint is not that of tenant, version and n.",
        },
    )
    for binding in Binding:
        policy = material.policy(binding=binding)
        file.valid(
            f"a policy with binding {binding.name}",
            "Valid",
            type=policy.TYPE,
            document=policy.to_bytes().hex(),
            digest=policy.digest.hex(),
            binding_value=policy.binding_value.hex(),
        )
    for label in ("small", "full"):
        key = material.key(label)
        file.valid(
            f"the {label} key",
            "Valid",
            type=key.TYPE,
            document=key.to_bytes().hex(),
            fingerprint=key.fingerprint.hex(),
        )
    policy_type = material.policy().TYPE
    for comment, (flag, data) in _broken_policies(material.policy().to_bytes()).items():
        file.invalid(comment, flag, "DocumentInvalid", type=policy_type, document=data.hex())
    key = material.key()
    for comment, flag, changes in (
        ("version raised, fingerprint kept", "BadFingerprint", {"key_version": 2}),
        ("tenant changed, fingerprint kept", "BadFingerprint", {"tenant": "acme2"}),
        ("version 0", "BadField", {"key_version": 0}),
        ("n with a leading zero byte", "BadFingerprint", {"n": "AA" + json.loads(key.to_bytes())["n"]}),
        ("n with base64 padding", "BadField", {"n": json.loads(key.to_bytes())["n"] + "="}),
    ):
        file.invalid(
            comment,
            flag,
            "DocumentInvalid",
            type=key.TYPE,
            document=_mutated(key.to_bytes(), **changes).hex(),
        )
    return file


def bundles() -> VectorFile:
    file = VectorFile(
        "blindfold/v1 signed bundles",
        "bundle_schema.json",
        {
            "Valid": "Every signature holds and the dates are right.",
            "Signature": "A signature is over other bytes, or by another key.",
            "Root": "The documents root key is not the pinned one.",
            "Delegation": "The delegation is for another type or tenant, or does not cover the dates.",
            "Expired": "The bundle is outside its dates.",
        },
        common={"now": "2026-01-15T12:00:00Z", "trust": material.trust()},
    )
    key, policy = material.key(), material.policy()
    file.valid("a key", "Valid", type=key.TYPE, bundle=material.bundle(key).to_bytes().decode())
    file.valid("a policy", "Valid", type=policy.TYPE, bundle=material.bundle(policy).to_bytes().decode())
    for comment, (flag, error, bundle) in _refused_bundles().items():
        file.invalid(comment, flag, error, type=policy.TYPE, bundle=bundle.to_bytes().decode())
    return file


def _refused_bundles() -> dict[str, tuple[str, str, Bundle]]:
    day, now, policy = material.DAY, material.NOW, material.policy()
    good, real = material.bundle(policy), material.delegation(policy.TYPE)
    workload = material.seeded("a workload's own key", 32)
    own_key = ed25519_public_key(workload)
    own = Delegation.sign(
        workload, type_=policy.TYPE, tenant="acme", key=own_key, not_before=now - day, not_after=now + day
    )
    of_keys = material.delegation(KeyDocument.TYPE)
    foreign = material.delegation(policy.TYPE, tenant="acme2")
    swapped = replace(real, key=own_key)
    edited = policy.to_bytes().replace(b"app=web", b"app=all")

    def untrusted(flag: str, bundle: Bundle) -> tuple[str, str, Bundle]:
        return flag, "DocumentUntrusted", bundle

    def expired(bundle: Bundle) -> tuple[str, str, Bundle]:
        return "Expired", "DocumentExpired", bundle

    make = material.bundle
    return {
        "signed by a key that nobody delegated": untrusted("Signature", make(policy, signer=workload)),
        "a workload as its own root": untrusted(
            "Root", make(policy, signer=workload, by=own, not_after=now + day)
        ),
        "a delegation with its key exchanged": untrusted(
            "Signature", make(policy, signer=workload, by=swapped)
        ),
        "a policy under a delegation for keys": untrusted("Delegation", make(policy, by=of_keys)),
        "a delegation of another tenant": ("Delegation", "DocumentMismatch", make(policy, by=foreign)),
        "ends after its delegation": untrusted("Delegation", make(policy, not_after=now + 91 * day)),
        "begins before its delegation": untrusted("Delegation", make(policy, issued_at=now - 2 * day)),
        "expired": expired(make(policy, issued_at=now - day, not_after=now)),
        "from the future": expired(make(policy, issued_at=now + day)),
        "issued_at changed": untrusted("Signature", replace(good, issued_at="2026-01-15T11:59:59Z")),
        "not_after changed": untrusted("Signature", replace(good, not_after="2026-01-23T12:00:00Z")),
        "the document changed": untrusted("Signature", replace(good, document=edited)),
    }
