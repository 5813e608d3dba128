"""Under any calls: what is decided from what was kept is what is decided by who keeps nothing."""

import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from services.conftest import ACME, AUTHOR, KEY_ADMIN, OPERATOR, PROD, Kms, make_kms

from kms.errors import KmsError
from kms.identity.certificates import Authenticator
from kms.identity.grant import Grant
from kms.identity.spiffe import SpiffeId
from kms.main.parts import _deny_list
from kms.model.algorithms import Purpose
from kms.model.lifecycle import Verb
from kms.model.names import IdentityName, KeyName, KeyVersionName, KmsPolicyName, PrefixSetName
from kms.model.tenant_lifecycle import TenantVerb
from kms.services.cryptography import Cryptography, Made, Plain, Sealed
from kms.services.deny_lists import DenyLists
from kms.services.identity_trust import IdentityTrust
from kms.services.key_access import KeyAccesses
from kms.services.key_handles import KeyHandles
from kms.services.key_policies import KeyPolicies
from kms.services.keys import KeySettings
from kms.services.operations import Operations
from kms.services.prefix_sets import PrefixSetSettings
from kms.services.repository import Repository
from kms.services.tenant_states import TenantStates

NAME = KeyName("acme", "prod", "orders")
OWN, OTHER = (KmsPolicyName("acme", "prod", name) for name in ("own", "other"))
OFFICE = PrefixSetName("acme", "office")
KEY = ec.generate_private_key(ec.SECP256R1())
# More than `MAX_SERVED` versions are asked for in one batch.
SEALED = 12
VERBS = (Verb.ENABLE, Verb.DISABLE, Verb.MARK_COMPROMISED, Verb.SCHEDULE_DESTROY, Verb.CANCEL_DESTROY)
NAMES = st.sampled_from(["app", "guest"])
PREDICATES: list[dict[str, Any]] = [
    {},
    {"client_selector": {"expressions": ["app=app"]}},
    {"ip_prefixes": ["prefixSets/office"]},
    {"time_window": {"start_time": "06:00", "end_time": "18:00"}},
    {"aad_matcher": {"equals": ["Z29vZA=="]}},
    {"operations": ["ENCRYPT", "REENCRYPT_FROM"]},
    {"roles": ["key-user"]},
    # Long enough to be asked in a thread.
    {"client_name_matcher": {"regex_values": [f"spiffe://.*/(app|{'a?' * 200})"]}},
]
POLICIES = st.sampled_from([OWN, OTHER])
CONTENTS = st.sampled_from(PREDICATES)


class DecisionMachine(RuleBasedStateMachine):
    """Whatever is refused is left: each side is asked the same, and must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts = ExitStack()
        directory = Path(self.contexts.enter_context(tempfile.TemporaryDirectory()))
        self.kms: Kms = self.contexts.enter_context(make_kms(directory))
        self.sealed: list[bytes] = []
        self.certificates: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.contexts.close()

    def do(self, coroutine: Any) -> Any:
        with suppress(KmsError):
            return self.kms.run(coroutine)

    @initialize()
    def create(self) -> None:
        kms, parts = self.kms, self.kms.parts
        office = PrefixSetSettings(("192.0.2.0/24",))
        kms.run(parts.prefix_sets.create(kms.call(AUTHOR), OFFICE, office, ""))
        for policy in (OWN, OTHER):
            kms.run(parts.kms_policies.create(kms.call(AUTHOR), policy, _content({}), ""))
        asked = KeySettings(policy=OWN)
        kms.run(parts.keys.create(kms.call(KEY_ADMIN), NAME, Purpose.ENCRYPT_DECRYPT, "", asked, ""))
        for name in ("app", "guest"):
            self.enrol(name, "key-user")

    @rule(name=NAMES, role=st.sampled_from(["key-user", "auditor", "key-user@prod", "key-user@test"]))
    def enrol(self, name: str, role: str) -> None:
        grant = Grant(IdentityName("acme", "prod", name), (), {"app": name}, frozenset({role}))
        authority = self.kms.parts.identity_trust.current().issuer.authority
        issued = authority.issue(KEY.public_key(), grant, timedelta(hours=24), self.kms.now)
        self.certificates[name] = issued.public_bytes(Encoding.PEM)

    @rule(name=NAMES)
    def revoke(self, name: str) -> None:
        identity = SpiffeId.parse(f"spiffe://kms.test/tenant/acme/ns/prod/sa/{name}")
        lists = self.kms.parts.identities._deny_lists
        deny = lists.edit("acme", lambda current: current.with_identity(identity, self.kms.now))
        self.do(self.kms.parts.guard.commit([deny], [self.kms.call(OPERATOR).event("Deny", "", "ALLOW")]))

    @rule(policy=POLICIES, predicates=CONTENTS)
    def update_policy(self, policy: KmsPolicyName, predicates: dict[str, Any]) -> None:
        content = _content(predicates)
        self.do(self.kms.parts.kms_policies.update(self.kms.call(AUTHOR), policy, content, ""))

    @rule(policy=POLICIES, is_gone=st.booleans())
    def delete_policy(self, policy: KmsPolicyName, is_gone: bool) -> None:
        policies = self.kms.parts.kms_policies
        change = policies.delete if is_gone else policies.undelete
        self.do(change(self.kms.call(AUTHOR), policy, ""))

    @rule(chosen=st.sampled_from([(), (OWN,), (OTHER,), (OTHER, OWN)]))
    def choose_policies(self, chosen: tuple[KmsPolicyName, ...]) -> None:
        policies = self.kms.parts.kms_policies
        self.do(policies.set_namespace_policies(self.kms.call(AUTHOR), PROD, list(chosen), ""))

    @rule(prefix=st.sampled_from(["192.0.2.0/24", "198.51.100.0/24"]))
    def move_office(self, prefix: str) -> None:
        sets = self.kms.parts.prefix_sets
        self.do(
            sets.update(self.kms.call(AUTHOR), OFFICE, lambda before: replace(before, prefixes=(prefix,)), "")
        )

    @rule(least=st.integers(0, 3))
    def set_minimum(self, least: int) -> None:
        def change(before: KeySettings) -> KeySettings:
            return replace(before, minimum_encrypt_version=least, minimum_decrypt_version=least)

        self.do(self.kms.parts.keys.update(self.kms.call(KEY_ADMIN), NAME, change, ""))

    @rule()
    def rotate(self) -> None:
        self.do(self.kms.parts.keys.rotate(self.kms.call(KEY_ADMIN), NAME))

    @rule(number=st.integers(1, 4), verb=st.sampled_from(VERBS))
    def change_version(self, number: int, verb: Verb) -> None:
        version = KeyVersionName("acme", "prod", "orders", number)
        self.do(self.kms.parts.key_versions.change(self.kms.call(KEY_ADMIN), version, verb, ""))

    @rule(verb=st.sampled_from([TenantVerb.ENABLE, TenantVerb.DISABLE]))
    def change_tenant(self, verb: TenantVerb) -> None:
        self.do(self.kms.parts.tenant_life.change(self.kms.call(OPERATOR), ACME, verb, ""))

    @rule(hours=st.integers(1, 13))
    def pass_time(self, hours: int) -> None:
        self.kms.pass_time(timedelta(hours=hours))

    @rule(
        name=NAMES,
        address=st.sampled_from(["192.0.2.1", "198.51.100.1", ""]),
        via=st.sampled_from(["", "spiffe://kms.test/proxy"]),
        operation=st.sampled_from(["encrypt", "encrypt", "decrypt", "re_encrypt"]),
        knows=st.booleans(),
        times=st.integers(1, 3),
    )
    def use_somehow(self, name: str, address: str, via: str, operation: str, knows: bool, times: int) -> None:
        self._use(name, address, via, operation, knows, times)

    def _use(self, name: str, address: str, via: str, operation: str, knows: bool, times: int) -> None:
        certificate, authenticator = self.certificates[name], self.kms.parts.authenticator
        fresh = self._fresh()
        for _ in range(times):
            caller = self._caller(authenticator, certificate, address)
            assert caller == self._caller(fresh[0], certificate, address)
            if isinstance(caller, str):
                return
            who = replace(caller, via=via) if via else caller
            kept, anew = (
                self._results(each, who, operation, knows) for each in (self.kms.parts.cryptography, fresh[1])
            )
            assert list(map(_told, kept)) == list(map(_told, anew))
            if operation == "encrypt":
                made = [result.data for result in kept if isinstance(result, Made)]
                self.sealed = [*self.sealed, *made][-SEALED:]

    @invariant()
    def what_was_just_allowed_is_asked_again(self) -> None:
        for name in self.certificates:
            self._use(name, "192.0.2.1", "", "encrypt", False, 2)

    def _results(self, cryptography: Cryptography, who: Any, operation: str, knows: bool) -> list[Any]:
        items: list[Any] = [Sealed(data, aad, 0, knows) for data in self.sealed for aad in (b"good", b"")]
        call = self.kms.call(who)
        if operation == "encrypt":
            using = cryptography.encrypt(call, NAME, [Plain(b"secret", b"good"), Plain(b"secret")])
        elif not items:
            return []
        elif operation == "decrypt":
            using = cryptography.decrypt(call, NAME, items)
        else:
            using = cryptography.re_encrypt(call, NAME, NAME, [(item, b"good") for item in items])  # type: ignore[assignment]
        try:
            return self.kms.run(using)
        except KmsError as error:
            return [error]

    def _fresh(self) -> tuple[Authenticator, Cryptography]:
        """Of the same store, and with nothing kept; uses are counted together."""
        parts, repository = self.kms.parts, Repository(self.kms.vault.store)
        own, states = IdentityTrust(repository, parts.keyring), TenantStates(repository)
        deny = partial(_deny_list, states, DenyLists(repository, own.check))
        served = parts.cryptography._operations
        accesses = KeyAccesses(repository)
        accesses.get = lambda *_: None  # type: ignore[method-assign]
        operations = Operations(
            parts.guard,
            repository,
            KeyHandles(parts.keyring),
            KeyPolicies(repository),
            accesses,
            served._budget,
            self.kms.workers,
        )
        return Authenticator(own.anchors, deny), Cryptography(operations)

    def _caller(self, authenticator: Authenticator, certificate: bytes, address: str) -> Any:
        try:
            return authenticator.authenticate(certificate, address, self.kms.now)
        except KmsError as error:
            return str(error)


def _content(predicates: dict[str, Any]) -> dict[str, Any]:
    return {"rules": [{"name": "rule", "action": "ALLOW", **predicates}]}


def _told(result: Any) -> Any:
    """What does not differ from one time to the next."""
    if isinstance(result, KmsError):
        return type(result).__name__, str(result), getattr(result, "because", "")
    return result.name if isinstance(result, Made) else (result[0], result[1].name)


@pytest.mark.slow
def test_what_is_kept_decides_as_if_nothing_were_kept() -> None:
    quiet = settings(
        max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(DecisionMachine, settings=quiet)
