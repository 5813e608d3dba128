"""EvaluateBlinded while what it depends on changes, and when its parts fail."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from services.conftest import ADMIN, ALLOW_WEB, AUTHOR, KEY, KEY_ADMIN, WEB, WEB_TLS, Kms
from services.root_keeper import RootKeeper

import blindfold
from blindfold.errors import EvaluationFault
from blindfold.evaluation import Evaluator
from kms.errors import (
    BudgetExhausted,
    Denied,
    EvaluationFailed,
    KmsError,
    StoreTampered,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId
from kms.model.lifecycle import Verb
from kms.model.names import SecretPolicyRevisionName
from kms.services import evaluation, policy_documents
from kms.services.deny_lists import DenyLists
from kms.services.evaluation import PolicyBinding, RevisionBinding
from kms.services.policy_documents import PolicyDocuments

SECRET = b"secret"
FIRST = SecretPolicyRevisionName("acme", "prod", "web-tls", 1)
ELEMENTS = 12


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With a key and the policy web-tls, which allows app=web."""
    kms.add_key()
    kms.add_policy()
    return kms


@dataclass
class Paused:
    """Evaluations that wait, from the second element on, until they are let go."""

    started: threading.Event
    go: threading.Event
    made: list[bytes]


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> Paused:
    pause = Paused(threading.Event(), threading.Event(), [])
    original = Evaluator.evaluate

    def evaluate(self: Evaluator, element: bytes, exponent: int) -> bytes:
        pause.started.set()
        assert pause.go.wait(20)
        pause.made.append(element)
        return original(self, element, exponent)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return pause


def elements(kms: Kms, count: int = ELEMENTS) -> tuple[RevisionBinding, list[bytes]]:
    sealed, document = kms.seal(SECRET), kms.key_document()
    requests = [blindfold.begin_open(sealed, document)[0] for _ in range(count)]
    return RevisionBinding(requests[0].binding_value), [request.element for request in requests]


async def evaluate(kms: Kms, binding: Any, asked: list[bytes]) -> list[bytes | KmsError]:
    caller = replace(WEB, authority=kms.parts.identity_trust.current().row.record.active.id)
    evaluated = await kms.parts.evaluation.evaluate(kms.call(caller), KEY, binding, asked)
    return list(evaluated.results)


def changed_while_evaluating(
    kms: Kms, paused: Paused, change: Callable[[], Coroutine[Any, Any, Any]]
) -> list[bytes | KmsError] | BaseException:
    """What a call gets that was allowed, and whose elements are in the workers, when the change is done."""
    binding, asked = elements(kms)

    async def race() -> Any:
        task = asyncio.create_task(evaluate(kms, binding, asked))
        assert await asyncio.to_thread(paused.started.wait, 20)
        await change()
        paused.go.set()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    return kms.run(race())


def revoke(kms: Kms) -> Coroutine[Any, Any, Any]:
    return kms.parts.secret_policies.revoke_revision(kms.call(AUTHOR), FIRST, "", "stolen")


def narrow(kms: Kms) -> Coroutine[Any, Any, Any]:
    policies = kms.parts.secret_policies
    return policies.narrow_revision(kms.call(AUTHOR), FIRST, (WEB.spiffe_id,), "", "stolen")


def delete(kms: Kms) -> Coroutine[Any, Any, Any]:
    return kms.parts.secret_policies.delete(kms.call(AUTHOR), WEB_TLS, "")


def disable(kms: Kms) -> Coroutine[Any, Any, Any]:
    return kms.parts.blindfold_keys.change(kms.call(KEY_ADMIN), KEY, Verb.DISABLE, "")


def deny(kms: Kms, spiffe_id: str = WEB.spiffe_id) -> Coroutine[Any, Any, Any]:
    def add(denied: DenyList) -> DenyList:
        return denied.with_identity(SpiffeId.parse(spiffe_id), kms.now)

    put = DenyLists(kms.parts.repository, lambda caller: ()).edit("acme", add)
    return kms.parts.guard.commit([put], [kms.call(ADMIN).event("RevokeIdentity", "", "ALLOW")])


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (revoke, Denied, "REVISION_REVOKED"),
        (narrow, Denied, "DENY_OVERLAY"),
        (delete, Denied, "UNKNOWN_POLICY"),
        (disable, WrongState, "WRONG_STATE"),
        (deny, Unauthenticated, "UNAUTHENTICATED"),
    ],
)
def test_acknowledged_stop_leaves_no_answer_that_was_allowed_before(
    ready: Kms, paused: Paused, change: Any, error: type[KmsError], reason: str
) -> None:
    outcome = changed_while_evaluating(ready, paused, lambda: change(ready))
    assert isinstance(outcome, error)
    assert len(paused.made) <= 2, "elements that still waited for a worker are not evaluated"
    events = [event for event in ready.events() if event["action"] == "EvaluateBlinded"]
    assert {(event["decision"] == "ALLOW", event["reason"]) for event in events} == {(False, reason)}
    assert len(events) == ELEMENTS


def test_caller_who_hangs_up_has_no_more_evaluated_and_all_is_recorded(ready: Kms, paused: Paused) -> None:
    binding, asked = elements(ready)

    async def hang_up() -> None:
        task = asyncio.create_task(evaluate(ready, binding, asked))
        assert await asyncio.to_thread(paused.started.wait, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    ready.run(hang_up())
    paused.go.set()
    ready.workers.shutdown()
    assert len(paused.made) <= 2, "elements that still waited for a worker are not evaluated"
    ready.vault.store.checkpoint().result()
    events = [event for event in ready.events() if event["action"] == "EvaluateBlinded"]
    made = {hashlib.sha256(element).hexdigest() for element in paused.made}
    found = {(event["details"]["element_sha256"] in made, event["reason"]) for event in events}
    assert found == {(True, "web"), (False, "UNAVAILABLE")}
    assert len(events) == ELEMENTS


def test_retirement_of_his_authority_leaves_a_caller_no_answer_that_was_allowed_before(
    ready: Kms, paused: Paused, tmp_path: Path
) -> None:
    keeper = RootKeeper(ready, tmp_path / "kms")

    def retire() -> None:
        keeper.activate()
        keeper.retire(keeper.first, force=True)

    outcome = changed_while_evaluating(ready, paused, lambda: asyncio.to_thread(retire))
    assert isinstance(outcome, Unauthenticated)
    assert len(paused.made) <= 2, "elements that still waited for a worker are not evaluated"


def test_activation_of_another_authority_delays_the_answer_only(
    ready: Kms, paused: Paused, tmp_path: Path
) -> None:
    keeper = RootKeeper(ready, tmp_path / "kms")
    outcome = changed_while_evaluating(ready, paused, lambda: asyncio.to_thread(keeper.activate))
    assert isinstance(outcome, list)
    assert len(paused.made) == ELEMENTS, "no element is evaluated twice"


@pytest.mark.parametrize("count", [1, 2])
def test_change_that_still_allows_delays_the_answer_only(ready: Kms, paused: Paused, count: int) -> None:
    async def update() -> None:
        for number in range(count):
            content = ALLOW_WEB | {"description": f"edit {number}"}
            await ready.parts.secret_policies.update(ready.call(AUTHOR), WEB_TLS, content, "")

    outcome = changed_while_evaluating(ready, paused, update)
    assert isinstance(outcome, list)
    assert all(isinstance(result, bytes) for result in outcome)
    assert len(paused.made) == ELEMENTS, "no element is evaluated twice"


def test_revocation_of_another_identity_does_not_make_anything_be_done_again(
    ready: Kms, paused: Paused
) -> None:
    other = WEB.spiffe_id + "-2"
    outcome = changed_while_evaluating(ready, paused, lambda: deny(ready, other))
    assert isinstance(outcome, list)
    assert len(paused.made) == ELEMENTS


def test_endless_changes_end_in_unavailable(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    binding, asked = elements(ready, 1)
    original = evaluation.decide

    def decide(*arguments: Any) -> Any:
        head = ready.parts.repository.require(evaluation.SecretPolicyRecord, str(WEB_TLS))
        event = ready.call(AUTHOR).event("UpdateSecretPolicy", str(WEB_TLS), "ALLOW")
        ready.vault.store.commit([head.put(head.record)], [event]).result()
        return original(*arguments)

    monkeypatch.setattr(evaluation, "decide", decide)
    with pytest.raises(Unavailable, match="again and again"):
        ready.run(evaluate(ready, binding, asked))
    assert ready.last_event()["reason"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("failure", "reason"), [(StoreTampered("x"), "STORE_TAMPERED"), (MemoryError(), "INTERNAL")]
)
def test_failure_before_the_first_element_leaves_an_event_for_each(
    ready: Kms, monkeypatch: pytest.MonkeyPatch, failure: Exception, reason: str
) -> None:
    def fail(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr(ready.parts.keyring, "evaluator", fail)
    binding, asked = elements(ready, 3)
    before = len(ready.events())
    with pytest.raises(type(failure)):
        ready.run(evaluate(ready, binding, asked))
    events = [event for event in ready.events()[before:] if event["action"] == "EvaluateBlinded"]
    assert [(event["decision"], event["reason"]) for event in events] == [("FAIL", reason)] * 3


def test_refusal_after_the_rules_allowed_names_policy_and_revision(
    ready: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding, asked = elements(ready, 1)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "MAX_EVALUATIONS", 0)
        with pytest.raises(BudgetExhausted):
            ready.run(evaluate(ready, binding, asked))
    exhausted = ready.last_event()
    ready.run(disable(ready))
    with pytest.raises(WrongState):
        ready.run(evaluate(ready, binding, asked))
    for event in (exhausted, ready.last_event()):
        assert (event["details"]["policy"], event["details"]["revision"]) == (str(WEB_TLS), "1")


def stop(kms: Kms) -> None:
    """A check of the private operation fails."""
    evaluator = kms.parts.keyring.evaluator_at_hand(KEY)
    assert evaluator is not None
    evaluator._stopped = True


def failing_test(self: Evaluator) -> None:
    self._stopped = True
    raise EvaluationFault


def test_stopped_version_stays_stopped_when_it_is_disabled_and_enabled(
    ready: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = ready.seal(SECRET)
    assert ready.open(sealed, WEB) == SECRET
    stop(ready)
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "self_test", failing_test)
        ready.run(disable(ready))
        ready.run(ready.parts.blindfold_keys.change(ready.call(KEY_ADMIN), KEY, Verb.ENABLE, ""))
        with pytest.raises(EvaluationFailed, match="self-test"):
            ready.open(sealed, WEB)
        assert ready.last_event()["reason"] == "EVALUATION_FAULT"
        assert ready.parts.keyring.evaluator_at_hand(KEY) is None
    assert ready.open(sealed, WEB) == SECRET


def test_load_in_flight_does_not_bring_back_a_key_that_was_stopped(ready: Kms) -> None:
    keyring = ready.parts.keyring
    begun = keyring.begin()
    record = ready.parts.repository.require(evaluation.BlindfoldKeyRecord, evaluation.key_row(KEY)).record
    ready.run(disable(ready))
    keyring.evaluator(KEY, record, begun)
    assert keyring.evaluator_at_hand(KEY) is None


def test_document_of_another_policy_in_a_revision_s_place_is_refused(
    ready: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are authenticated; this holds should a fault of the KMS itself put one in the wrong place."""
    names = {name: replace(WEB_TLS, policy=name) for name in ("one", "two", "three")}
    contents = {
        "one": ALLOW_WEB,
        "two": ALLOW_WEB | {"binding": "POLICY"},
        "three": ALLOW_WEB | {"binding": "POLICY"},
    }
    heads = {name: ready.add_policy(contents[name], names[name]).head.record for name in names}
    documents = ready.parts.evaluation._documents
    read = documents.read
    policies = {
        name: read(
            ready.parts.repository.require(
                evaluation.RevisionRecord, f"{names[name]}/revisions/0000000001"
            ).record
        )
        for name in names
    }
    monkeypatch.setattr(documents, "at_hand", lambda record: policies["two"])
    for binding in (
        RevisionBinding(heads["one"].digest),
        PolicyBinding(names["three"], heads["three"].uid),
    ):
        with pytest.raises(StoreTampered, match="not the one"):
            ready.run(evaluate(ready, binding, [b"\x02" * 384]))


def test_policy_is_compiled_and_its_large_expressions_are_asked_in_a_thread(
    ready: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = replace(WEB_TLS, policy="by-name")
    matcher = {"regex_values": ["(?:.?){250}/sa/web"]}
    ready.add_policy({"rules": [{"name": "w", "action": "ALLOW", "client_name_matcher": matcher}]}, name)
    sealed = ready.seal(SECRET, name)
    monkeypatch.setattr(ready.parts.evaluation, "_documents", PolicyDocuments())
    threads: dict[str, threading.Thread] = {}

    def watched(what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            threads[what] = threading.current_thread()
            return original(*arguments)

        return call

    monkeypatch.setattr(evaluation, "decide", watched("decide", evaluation.decide))
    monkeypatch.setattr(
        policy_documents, "compile_policy", watched("compile", policy_documents.compile_policy)
    )
    assert ready.open(sealed, WEB) == SECRET
    assert threads.keys() == {"decide", "compile"}
    assert threading.main_thread() not in threads.values()
