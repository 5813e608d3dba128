"""Answers of the KMS as they are shown, policies as they are sent, failed calls as they are reported."""

import inspect
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.envelope import read_exactly, read_header
from blindfold.pieces import PieceSource
from blindfold.stream import CHUNK
from cli.errors import CliError, describe
from cli.exit_codes import ExitCode
from cli.online.call_errors import CALLS, reported
from cli.online.policy_calls import to_api
from cli.online.reseal import CountedSink
from cli.online.view import person, view
from cli.output import write_table
from cli.policy_file import FILES
from cli.resource_file import read_content
from kms.client import errors
from kms.model.policy import PolicyKind
from testvectors import material

POLICY: dict[str, Any] = {
    "rule_combining": "DENY_OVERRIDES",
    "rules": [
        {
            "name": "web",
            "action": "ALLOW",
            "client_name_matcher": {"exact_values": ["a"], "transformers": ["TRIM", "LOWER_CASE"]},
            "time_window": {"days": ["MONDAY"], "start_time": "08:00", "end_time": "09:00"},
        },
        {"name": "rest", "action": "DENY"},
    ],
    "labels": {"state": "STATE_OF_MIND", "digest": "AAAA"},
    "binding": "POLICY",
    "decrypt_cache_timeout_seconds": 60,
}


def test_policy_is_sent_in_the_form_of_the_api(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    sent = to_api(read_content(str(tmp_path / "policy.json"), FILES[PolicyKind.SECRET]))
    assert (sent["rule_combining"], sent["binding"]) == ("RULE_COMBINING_DENY_OVERRIDES", "BINDING_POLICY")
    assert sent["decrypt_cache_timeout"] == "60s"
    assert [rule["action"] for rule in sent["rules"]] == ["ACTION_ALLOW", "ACTION_DENY"]
    assert view({"content": sent})["content"] == POLICY


def test_binary_fields_are_hexadecimal_and_numbers_are_numbers() -> None:
    answer = {"uid": "AAEC", "digest": "/w==", "sequence": "7", "state": "KEY_VERSION_STATE_ENABLED"}
    assert view(answer) == {"uid": "000102", "digest": "ff", "sequence": 7, "state": "ENABLED"}


def test_words_of_others_stay_as_they_are() -> None:
    answer = {"description": "STATE_ACTIVE", "labels": {"uid": "AAEC"}, "action": "EvaluateBlinded"}
    assert view(answer) == answer


def test_person_reads_nested_fields_in_lines() -> None:
    shown = view({"store": {"kind": "sqlite"}, "labels": {"a": "b"}, "roles": [], "content": {}})
    assert person(shown) == {
        "store_kind": "sqlite",
        "labels": ["a=b"],
        "rules": ["none: everybody is denied"],
    }


def test_table_is_aligned_and_shows_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    write_table([{"name": "a", "is_new": True}, {"name": "bbbbbb\x1b", "is_new": ""}])
    assert capsys.readouterr().out == "NAME        IS NEW\na           yes\nbbbbbb\\x1b  -\n"
    write_table([])
    assert capsys.readouterr().out == ""


def test_every_failed_call_has_an_exit_code() -> None:
    classes = {
        item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, errors.CallFailed)
    }
    assert classes - {errors.CallFailed} == set(CALLS)


@pytest.mark.parametrize("kind", [*CALLS, errors.CallFailed])
def test_failed_call_is_reported_with_its_request_id(kind: type[errors.CallFailed]) -> None:
    with pytest.raises(CliError) as caught, reported():
        raise kind("refused", reason="SOME_REASON", request_id="abc")
    failure = describe(caught.value)
    assert (failure.reason, failure.message) == ("SOME_REASON", "refused (request id abc)")
    assert failure.code == CALLS.get(kind, ExitCode.FAILED)


def test_time_to_wait_is_the_hint() -> None:
    with pytest.raises(CliError) as caught, reported():
        raise errors.CallExhausted("slow down", retry_after=1.25)
    assert caught.value.hint == "Try again after 1.2 s."


@given(pieces=st.lists(st.binary(max_size=20), max_size=9), size=st.integers(1, 30))
def test_pieces_are_read_to_their_end_once(pieces: list[bytes], size: int) -> None:
    source = PieceSource(iter(pieces))
    read = b"".join(iter(lambda: read_exactly(source, size), b""))
    assert (read, source.taken, source.ended) == (b"".join(pieces), len(read), True)


def pieces_that_fail() -> Iterator[bytes]:
    yield b"data"
    raise CliError("cut off")


def test_failure_of_a_piece_is_no_end() -> None:
    source = PieceSource(pieces_that_fail())
    assert source.read(10) == b"data"
    with pytest.raises(CliError, match="cut off"):
        source.read(10)
    assert not source.ended


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("length", [0, 1, CHUNK, CHUNK + 1])
def test_file_that_lacks_a_byte_is_noticed(length: int, padded: bool) -> None:
    sealed = material.sealed(bytes(length), pad=padded)
    _, public, mac = read_header(io.BytesIO(sealed))
    head, payload = public + mac, sealed[len(public + mac) :]
    written(head, payload).check_holds(length, ended=True)
    for sink, ended in ((written(head, payload[:-1]), True), (written(head, payload), False)):
        with pytest.raises(CliError, match="does not hold all"):
            sink.check_holds(length, ended=ended)


def written(head: bytes, payload: bytes) -> CountedSink:
    sink = CountedSink(io.BytesIO())
    sink.write(head)
    sink.write(payload)
    return sink
