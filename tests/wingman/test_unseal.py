"""POST /secret/unseal, as programs know it, and in the forms that they miss."""

import base64
import json
from pathlib import Path

import pytest
from server.kms_harness import PROD, RunningKms
from sidecar import Sidecar, ready_sidecar

from blindfold.forms import to_location
from kms.services import evaluation

SECRET = b"correct horse \xff battery staple"
JSON = {"accept": "application/json"}
KEPT = f"{PROD}/secretPolicies/kept"


def evaluations(kms: RunningKms) -> int:
    return sum(event["action"] == "EvaluateBlinded" for event in kms.events())


def test_secret_is_answered_as_base64_text(kms: RunningKms, sidecar: Sidecar) -> None:
    answer = sidecar.unseal(kms.seal(SECRET))
    assert (answer.status, base64.b64decode(answer.text, validate=True)) == (200, SECRET)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"


def test_secret_is_answered_as_its_bytes_where_they_are_asked_for(kms: RunningKms, sidecar: Sidecar) -> None:
    body = {"type": "blindfold", "location": to_location(kms.seal(SECRET))}
    answer = sidecar.post("/secret/unseal?raw", body)
    assert (answer.body, answer.headers["content-type"]) == (SECRET, "application/octet-stream")


def test_secret_is_answered_as_json_where_that_is_accepted(kms: RunningKms, sidecar: Sidecar) -> None:
    answer = sidecar.unseal(kms.seal(SECRET), accept="application/json")
    assert base64.b64decode(answer.json["secret"]) == SECRET


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/json; charset=utf-8", "text/plain"]
)
def test_body_is_json_whatever_curl_calls_it(kms: RunningKms, sidecar: Sidecar, content_type: str) -> None:
    assert sidecar.unseal(kms.seal(SECRET), content_type=content_type).status == 200


def test_what_the_kms_refuses_is_forbidden(kms: RunningKms, tmp_path: Path) -> None:
    with ready_sidecar(kms, tmp_path, "batch") as other:
        answer = other.unseal(kms.seal(SECRET))
    assert answer.status == 403
    assert answer.text == "permission denied, or the resource does not exist\n"


def test_disabled_key_version_is_forbidden(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed = kms.seal(SECRET)
    name = {"name": "tenants/acme/blindfoldKeys/1"}
    kms.as_("key-admin").call("BlindfoldService", "DisableBlindfoldKey", name)
    try:
        answer = sidecar.unseal(sealed)
    finally:
        kms.as_("key-admin").call("BlindfoldService", "EnableBlindfoldKey", name)
    assert (answer.status, "DISABLED" in answer.text) == (403, True)


def test_secret_of_another_tenant_is_not_found_and_nobody_is_asked(kms: RunningKms, tmp_path: Path) -> None:
    sealed, before = kms.seal(SECRET), len(kms.events())
    with ready_sidecar(kms, tmp_path, "stranger") as other:
        answer = other.unseal(sealed)
    assert (answer.status, len(kms.events())) == (404, before)
    assert answer.text == "the secret is of another tenant than globex\n"


def test_secret_of_an_unknown_suite_is_not_found(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed = bytearray(kms.seal(SECRET))
    sealed[9:11] = b"\xff\xff"
    assert sidecar.unseal(bytes(sealed)).status == 404


def test_changed_secret_is_a_bad_request(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed = kms.seal(SECRET)
    answer = sidecar.unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert (answer.status, base64.b64encode(SECRET).decode() in answer.text) == (400, False)


def test_secret_of_another_name_than_the_expected_is_refused(kms: RunningKms, sidecar: Sidecar) -> None:
    for name, expected, status in (("db", "db", 200), ("other", "db", 400), ("", "db", 400), ("db", "", 400)):
        location = to_location(kms.seal(SECRET, KEPT, name=name))
        asked = {"type": "blindfold", "location": location, "expect_name": expected}
        answer = sidecar.post("/secret/unseal", asked)
        assert (answer.status, base64.b64encode(SECRET).decode() in answer.text) == (status, status == 200)


def test_kept_secret_is_given_to_nobody_who_expects_another_name(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed = kms.seal(SECRET, KEPT, name="other")
    assert sidecar.unseal(sealed).status == 200
    asked = {"type": "blindfold", "location": to_location(sealed), "expect_name": "db"}
    answer = sidecar.post("/secret/unseal", asked, **JSON)
    assert (answer.status, answer.json["error"]["reason"]) == (400, "NameMismatch")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"type":"blindfold","type":"blindfold"}',
        {},
        {"type": "blindfold"},
        {"type": "gpg", "location": "string:///AAAA"},
        {"type": ["blindfold"], "location": "string:///AAAA"},
        {"type": "blindfold", "location": 5},
        {"type": "blindfold", "location": "string:///AAAA", "expect_name": 5},
        {"type": "blindfold", "location": "string:///AAAA", "more": 1},
        {"type": "blindfold", "location": "string:///"},
        {"type": "blindfold", "location": "string:///%41"},
        {"type": "blindfold", "location": "string:///AAA"},
        {"type": "blindfold", "location": "string:///AAAA\n"},
        {"type": "blindfold", "location": "file:///etc/passwd"},
        {"type": "blindfold", "location": "string:///../../../etc/passwd"},
        {"type": "blindfold", "location": "http://169.254.169.254/latest/meta-data"},
        {"type": "blindfold", "location": "https://kms.test/"},
        {"type": "blindfold", "location": "\ud800"},
        {"type": "clear", "location": "string:///AAAA"},
    ],
    ids=lambda body: str(body)[:60],
)
def test_bad_body_is_a_bad_request(kms: RunningKms, sidecar: Sidecar, body: object) -> None:
    before = evaluations(kms)
    answer = sidecar.post("/secret/unseal", body)
    assert (answer.status, answer.body.count(b"\n"), evaluations(kms)) == (400, 1, before)


def test_error_is_json_where_that_is_accepted(sidecar: Sidecar) -> None:
    answer = sidecar.post("/secret/unseal", {"type": "blindfold"}, accept="application/json")
    assert (answer.status, answer.json["error"]["reason"]) == (400, "INVALID_FIELD")


def test_batch_gives_each_its_result(kms: RunningKms, sidecar: Sidecar) -> None:
    locations = [to_location(kms.seal(secret)) for secret in (b"one", b"two")]
    asked = [{"type": "blindfold", "location": location} for location in locations]
    before = evaluations(kms)
    answer = sidecar.post("/secret/unseal/batch", {"secrets": [*asked, {"type": "blindfold"}]})
    one, two, bad = answer.json["results"]
    assert [base64.b64decode(item["secret"]) for item in (one, two)] == [b"one", b"two"]
    assert (bad["status"], bad["error"]["message"]) == (400, "secrets[2].location: is missing")
    assert evaluations(kms) == before + 2


@pytest.mark.parametrize("body", [{}, {"secrets": []}, {"secrets": {}}, {"secrets": [{}] * 257}])
def test_batch_of_nothing_or_of_too_much_is_a_bad_request(sidecar: Sidecar, body: object) -> None:
    assert sidecar.post("/secret/unseal/batch", body).status == 400


def test_kms_that_computes_wrongly_is_an_alarm(
    kms: RunningKms, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluation, "_evaluate", lambda evaluator, element, *_: element)
    answer = sidecar.unseal(kms.seal(SECRET))
    assert (answer.status, "raise an alarm" in sidecar.unseal(kms.seal(SECRET), **JSON).text) == (500, True)
    assert "WrongAnswer: " in caplog.text


def test_nothing_of_a_secret_is_logged(
    kms: RunningKms, sidecar: Sidecar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    sealed = kms.seal(b"pa55word")
    for asked in (sealed, sealed[:-1]):
        sidecar.unseal(asked)
    assert "pa55word" not in caplog.text
    assert base64.b64encode(b"pa55word").decode() not in json.dumps(caplog.messages)
