"""What policies let a Wingman keep: one question for all, and what is kept while the KMS is away."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.kms_harness import RunningKms
from sidecar import Sidecar, ready_sidecar
from test_unseal import KEPT, evaluations

CLEAR = b"kept secret"


def test_secret_is_asked_for_once_where_its_policy_lets_it_be_kept(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed, before = kms.seal(CLEAR, KEPT), evaluations(kms)
    assert {sidecar.unseal(sealed).status for _ in range(3)} == {200}
    assert evaluations(kms) == before + 1


def test_secret_is_asked_for_each_time_where_its_policy_does_not_say_otherwise(
    kms: RunningKms, sidecar: Sidecar
) -> None:
    sealed, before = kms.seal(CLEAR), evaluations(kms)
    assert {sidecar.unseal(sealed).status for _ in range(3)} == {200}
    assert evaluations(kms) == before + 3


def test_configuration_limits_what_policies_allow(kms: RunningKms, tmp_path: Path) -> None:
    sealed, before = kms.seal(CLEAR, KEPT), evaluations(kms)
    with ready_sidecar(kms, tmp_path, max_keep_seconds=0) as other:
        assert {other.unseal(sealed).status for _ in range(3)} == {200}
    assert evaluations(kms) == before + 3


def test_many_who_ask_at_the_same_time_are_one_question(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed, before = kms.seal(CLEAR, KEPT), evaluations(kms)
    with ThreadPoolExecutor(50) as programs:
        answers = list(programs.map(lambda _: sidecar.unseal(sealed), range(1000)))
    assert {answer.status for answer in answers} == {200}
    assert evaluations(kms) == before + 1


def test_nothing_is_kept_of_a_refusal(kms: RunningKms, tmp_path: Path) -> None:
    deny, allow = ([{"name": "rule", "action": f"ACTION_{word}"}] for word in ("DENY", "ALLOW"))
    policy = kms.add_policy("later", binding="BINDING_POLICY", decrypt_cache_timeout="300s", rules=deny)[
        "name"
    ]
    sealed = kms.seal(CLEAR, policy)
    with ready_sidecar(kms, tmp_path) as other:
        assert other.unseal(sealed).status == 403
        opened_up = {
            "secret_policy": {"name": policy, "content": {"rules": allow}},
            "update_mask": "content.rules",
        }
        kms.as_("author").call("SecretPolicyService", "UpdateSecretPolicy", opened_up)
        assert other.unseal(sealed).status == 200
