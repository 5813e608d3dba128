"""`blindfold inspect`: everything public, in every form, and what is wrong."""

import json
from dataclasses import replace

import pytest
from desk import KEY, POLICY, Desk

from blindfold.forms import to_location, to_text
from cli.exit_codes import ExitCode
from testvectors import material

SEALED = material.sealed(key_document=KEY)
FORMS = {
    "binary": SEALED,
    "text": to_text(SEALED).encode(),
    "text with a newline": to_text(SEALED).encode() + b"\n",
    "location": to_location(SEALED).encode() + b"\n",
}
EXPECTED = {
    "ok": True,
    "problem": "",
    "payload_size": len(material.SECRET) + 16,
    "chunks": 1,
    "tenant": "acme",
    "key_version": 1,
    "key_fingerprint": KEY.fingerprint.hex(),
    "binding": "REVISION",
    "policy_digest": POLICY.digest.hex(),
    "policy_name": None,
    "policy_uid": None,
    "element_bits": 3072,
    "name": "web/tls.key",
    "content_type": "text/plain",
    "created": 1768478400,
    "padded": False,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_the_same(desk: Desk, form: str) -> None:
    result = desk.call("inspect", "--json", desk.file("sealed", FORMS[form]))
    assert (result.exit_code, json.loads(result.stdout)) == (0, EXPECTED)
    assert json.loads(desk.call("inspect", "--json", stdin=FORMS[form]).stdout) == EXPECTED


def test_person_reads_aligned_fields_without_what_is_absent(desk: Desk) -> None:
    lines = desk.call("inspect", stdin=SEALED).stdout.splitlines()
    assert lines[0] == "ok               yes"
    assert "created          2026-01-15T12:00:00Z" in lines
    assert not [line for line in lines if line.startswith("policy uid")]


def test_time_beyond_the_calendar_is_shown_as_it_is(desk: Desk) -> None:
    sealed = material.sealed(key_document=KEY, metadata=replace(material.METADATA, created=(1 << 63) - 1))
    assert "9223372036854775807 seconds after 1970" in desk.call("inspect", stdin=sealed).stdout


WRONG = {
    "nothing": (b"", "NotSealed"),
    "another file": (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "NotSealed"),
    "future format": (SEALED[:8] + b"\x02" + SEALED[9:], "Unsupported"),
    "future suite": (SEALED[:9] + b"\x00\x02" + SEALED[11:], "Unsupported"),
    "cut in the header": (SEALED[:100], "Corrupt"),
    "cut in the payload": (SEALED[:-30], "Corrupt"),
    "damaged text": (to_text(SEALED).encode()[:-1] + b"*", "Corrupt"),
    "future text": (b"blindfold:v2:AAAA", "NotSealed"),
    "text with a space": (to_text(SEALED).encode() + b" ", "Corrupt"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_is_exit_code_5(desk: Desk, name: str) -> None:
    data, problem = WRONG[name]
    result = desk.call("inspect", "--json", stdin=data)
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["ok"]) == (ExitCode.DAMAGED, False)
    assert shown["problem"].startswith(problem)
    assert json.loads(result.stderr)["error"]["exit_code"] == ExitCode.DAMAGED


def test_what_can_be_read_of_a_damaged_file_is_shown(desk: Desk) -> None:
    result = desk.call("inspect", stdin=SEALED[:-30])
    assert "tenant           acme" in result.stdout
    assert result.stderr.startswith("blindfold: Corrupt: the payload is cut off")


def test_missing_file_is_a_usage_error(desk: Desk) -> None:
    assert desk.call("inspect", desk.path / "nowhere").exit_code == ExitCode.USAGE
