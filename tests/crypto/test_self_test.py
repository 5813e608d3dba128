"""The self-test passes here, is quick, and fails for every primitive that computes wrongly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kms.crypto import known_answers, self_test
from kms.crypto.self_test import CHECKS, run_self_test
from kms.errors import ConfigError, SelfTestFailed


def changed(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


GCM_WITH_ANOTHER_TAG = tuple(replace(answer, tag=changed(answer.tag)) for answer in known_answers.GCM)
GCM_WITH_ANOTHER_CIPHERTEXT = (
    known_answers.GCM[0],
    replace(known_answers.GCM[1], ciphertext=changed(known_answers.GCM[1].ciphertext)),
)

WRONG: list[tuple[str, str, Any]] = [
    ("AES-GCM", "GCM", GCM_WITH_ANOTHER_TAG),
    ("AES-GCM", "GCM", GCM_WITH_ANOTHER_CIPHERTEXT),
    ("HMAC-SHA-256", "HMAC_ANSWER", changed(known_answers.HMAC_ANSWER)),
    ("RSA-OAEP", "OAEP_CIPHERTEXT", changed(known_answers.OAEP_CIPHERTEXT)),
    ("RSA-OAEP", "OAEP_LABEL", b"another"),
    ("RSA-PSS", "PSS_SIGNATURE", changed(known_answers.PSS_SIGNATURE)),
    ("AES-KWP", "KWP_ANSWER", changed(known_answers.KWP_ANSWER)),
    ("CRC32C", "CRC32C_ANSWER", known_answers.CRC32C_ANSWER ^ 1),
    ("Blindfold's evaluation", "BLINDFOLD_ANSWER", changed(known_answers.BLINDFOLD_ANSWER)),
    ("Blindfold's evaluation", "BLINDFOLD_P", known_answers.BLINDFOLD_P + 12),
]


def test_it_passes() -> None:
    run_self_test()


@pytest.mark.parametrize(("primitive", "field", "value"), WRONG, ids=[f"{a}-{b}" for a, b, _ in WRONG])
def test_a_wrong_answer_fails_and_names_the_primitive(
    monkeypatch: pytest.MonkeyPatch, primitive: str, field: str, value: Any
) -> None:
    monkeypatch.setattr(known_answers, field, value)
    with pytest.raises(SelfTestFailed, match=f"the self-test of {primitive} failed") as caught:
        run_self_test()
    assert caught.value.__context__ is None
    # What an operator's start ends with.
    assert isinstance(caught.value, ConfigError)


def test_every_primitive_is_shown_to_be_able_to_fail() -> None:
    assert {primitive for primitive, _, _ in WRONG} == CHECKS.keys()


def test_a_primitive_that_accepts_everything_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "_refuses", lambda operation: False)
    for name in ("AES-GCM", "HMAC-SHA-256", "RSA-OAEP", "RSA-PSS"):
        with pytest.raises(SelfTestFailed):
            run_self_test({name: CHECKS[name]})


def test_a_check_that_breaks_down_is_a_failure_and_later_ones_are_not_asked() -> None:
    asked = []

    def breaks() -> bool:
        raise MemoryError

    def later() -> bool:
        asked.append(True)
        return True

    with pytest.raises(SelfTestFailed, match="of the first failed"):
        run_self_test({"the first": breaks, "the second": later})
    assert asked == []


def test_the_answers_are_those_of_the_vectors() -> None:
    """The Blindfold answer is a published case, the RSA key the vectors' own."""
    root = Path(__file__).parents[2]
    assert known_answers.BLINDFOLD_ANSWER.hex() in (root / "testvectors/blindfold/evaluate.json").read_text()
    assert known_answers.RSA_PKCS8.hex() in (root / "testvectors/kms/key_wrapping.json").read_text()
