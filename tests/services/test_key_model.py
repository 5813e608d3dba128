"""A key under any calls, against a model: what was acknowledged decrypts, and what is gone does not."""

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from services.conftest import AUTHOR, KEY_ADMIN, Kms, caller, make_kms

from kms.errors import KmsError, WrongState
from kms.model.algorithms import Purpose
from kms.model.lifecycle import TRANSITIONS, Verb, VersionState
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName
from kms.services.cryptography import Made, Plain, Sealed
from kms.services.keys import KeySettings

NAME = KeyName("acme", "prod", "orders")
POLICY = KmsPolicyName("acme", "prod", "all")
USER = caller("app", "key-user")
CALLER_VERBS = (Verb.ENABLE, Verb.DISABLE, Verb.MARK_COMPROMISED, Verb.SCHEDULE_DESTROY, Verb.CANCEL_DESTROY)
DELAY = timedelta(days=2)


class KeyMachine(RuleBasedStateMachine):
    """Versions are numbered from 1; the model knows each one's state and what it encrypted."""

    sealed = Bundle("sealed")

    def __init__(self) -> None:
        super().__init__()
        self.contexts = ExitStack()
        directory = Path(self.contexts.enter_context(tempfile.TemporaryDirectory()))
        self.kms: Kms = self.contexts.enter_context(make_kms(directory))
        self.states: dict[int, VersionState] = {}
        self.compromised: set[int] = set()
        self.destroy_times: dict[int, Any] = {}
        self.primary = 0

    def teardown(self) -> None:
        self.contexts.close()

    def run(self, coroutine: Any) -> Any:
        return self.kms.run(coroutine)

    @initialize()
    def create(self) -> None:
        rules = {"rules": [{"name": "all", "action": "ALLOW"}]}
        self.run(self.kms.parts.kms_policies.create(self.kms.call(AUTHOR), POLICY, rules, ""))
        asked = KeySettings(policy=POLICY)
        making = self.kms.parts.keys.create(
            self.kms.call(KEY_ADMIN), NAME, Purpose.ENCRYPT_DECRYPT, "", asked, ""
        )
        self.run(making)
        self.states[1], self.primary = VersionState.ENABLED, 1

    @rule()
    def rotate(self) -> None:
        key = self.run(self.kms.parts.keys.rotate(self.kms.call(KEY_ADMIN), NAME))
        self.primary = len(self.states) + 1
        self.states[self.primary] = VersionState.ENABLED
        assert key.record.primary == self.primary

    @rule(verb=st.sampled_from(CALLER_VERBS), choice=st.integers(0, 100))
    def change(self, verb: Verb, choice: int) -> None:
        number = choice % len(self.states) + 1
        expected = TRANSITIONS.get((self.states[number], verb))
        if verb is Verb.CANCEL_DESTROY and expected and number in self.compromised:
            expected = VersionState.COMPROMISED
        name = KeyVersionName("acme", "prod", "orders", number)
        changing = self.kms.parts.key_versions.change(self.kms.call(KEY_ADMIN), name, verb, "", DELAY)
        if expected is None:
            with pytest.raises(WrongState):
                self.run(changing)
            return
        assert self.run(changing).row.record.state == expected
        self.states[number] = expected
        if expected is VersionState.COMPROMISED:
            self.compromised.add(number)
        self.destroy_times.pop(number, None)
        if expected is VersionState.DESTROY_SCHEDULED:
            self.destroy_times[number] = self.kms.now + DELAY

    @rule(hours=st.integers(1, 60))
    def pass_time(self, hours: int) -> None:
        self.kms.pass_time(timedelta(hours=hours))
        due = [number for number, time in self.destroy_times.items() if time <= self.kms.now]
        assert self.run(self.kms.parts.upkeep.destroy_due(self.kms.now)) == len(due)
        for number in due:
            self.states[number] = VersionState.DESTROYED
            del self.destroy_times[number]

    @rule(target=sealed, plaintext=st.binary(max_size=20), aad=st.binary(max_size=5))
    def encrypt(self, plaintext: bytes, aad: bytes) -> tuple[int, bytes, bytes, bytes] | None:
        [result] = self.run(
            self.kms.parts.cryptography.encrypt(self.kms.call(USER), NAME, [Plain(plaintext, aad)])
        )
        assert isinstance(result, Made) == (self.states[self.primary] is VersionState.ENABLED)
        if isinstance(result, KmsError):
            return None
        assert result.name == f"{NAME}/versions/{self.primary}"
        return self.primary, result.data, plaintext, aad

    @rule(made=sealed, knows=st.booleans())
    def decrypt(self, made: tuple[int, bytes, bytes, bytes] | None, knows: bool) -> None:
        if made is None:
            return
        number, data, plaintext, aad = made
        item = Sealed(data, aad, allow_compromised=knows)
        [result] = self.run(self.kms.parts.cryptography.decrypt(self.kms.call(USER), NAME, [item]))
        state = self.states[number]
        works = state is VersionState.ENABLED or (state is VersionState.COMPROMISED and knows)
        assert isinstance(result, Made) == works
        if isinstance(result, Made):
            assert result.data == plaintext

    @invariant()
    def views_agree_with_the_model(self) -> None:
        if not self.states:
            return
        views = self.run(self.kms.parts.key_versions.list(self.kms.call(KEY_ADMIN), NAME, "", 1000)).items
        assert {view.name.version: view.row.record.state for view in views} == self.states
        assert [view.name.version for view in views if view.primary] == [self.primary]
        for view in views:
            assert bool(view.row.record.wrapped_key) == (view.row.record.state != VersionState.DESTROYED)


@pytest.mark.slow
def test_key_behaves_as_its_model_under_any_calls() -> None:
    quiet = settings(
        max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(KeyMachine, settings=quiet)
