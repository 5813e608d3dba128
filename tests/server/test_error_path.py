"""What leaves the server when a call fails."""

import inspect
import logging

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from server_harness import STATUS

import kms.storage.interface  # noqa: F401
from kms.client.channel import open_channel
from kms.errors import Denied, InvalidField, Kind, KmsError, RateLimited, StoreTampered, WrongState
from kms.server.status import CODES, MAX_TEXT, to_status
from protos.kms.v1.status_service_pb2 import GetStatusRequest
from protos.kms.v1.status_service_pb2_grpc import StatusServiceStub

HOMES = {"kms.errors", "kms.storage.interface"}
SECRET = "correct horse battery staple"


def error_classes():
    """Every refusal that `kms.errors` and the store's interface define."""
    found, waiting = [], [KmsError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting.extend(kind.__subclasses__())
    return sorted((kind for kind in found if kind.__module__ in HOMES), key=lambda kind: kind.__name__)


def sample(kind):
    parameters = inspect.signature(kind).parameters.values()
    return kind(
        *(
            1.5 if parameter.annotation is float else f"some {parameter.name}"
            for parameter in parameters
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        )
    )


def failed_call(server, credentials, error, **metadata):
    def report(caller):
        raise error

    server.report[0] = report
    with open_channel(server.target, credentials) as channel, pytest.raises(grpc.RpcError) as caught:
        StatusServiceStub(channel).GetStatus(GetStatusRequest(), metadata=tuple(metadata.items()), timeout=10)
    return caught.value


def trailing(error, key):
    return dict(error.trailing_metadata())[key]


def details(status, kind):
    found = []
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            found.append(detail)
    return found


def test_every_kind_has_a_status_of_its_own():
    assert set(CODES) == set(Kind)
    assert len(set(CODES.values())) == len(Kind)


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_refusal_reaches_the_client_with_its_status_and_reason(server, credentials, kind):
    error = failed_call(server, credentials, sample(kind))
    status = Status.FromString(trailing(error, "grpc-status-details-bin"))
    (info,) = details(status, ErrorInfo)
    assert error.code() is CODES[kind.kind]
    assert (info.domain, info.reason) == ("kms", kind.reason)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    if kind.kind is not Kind.INTERNAL:
        assert error.details() == sample(kind).message


def test_an_invalid_field_is_named_as_a_violation(server, credentials):
    error = failed_call(server, credentials, InvalidField("rules[3].name", "must not be empty"))
    status = Status.FromString(trailing(error, "grpc-status-details-bin"))
    (bad,) = details(status, BadRequest)
    assert [(item.field, item.description) for item in bad.field_violations] == [
        ("rules[3].name", "must not be empty")
    ]


def test_a_rate_limit_says_when_to_retry(server, credentials):
    error = failed_call(server, credentials, RateLimited(2.25))
    (retry,) = details(Status.FromString(trailing(error, "grpc-status-details-bin")), RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 2250


def test_metadata_of_an_error_travels_with_its_reason(server, credentials):
    error = failed_call(server, credentials, WrongState("the version is disabled", state="DISABLED"))
    (info,) = details(Status.FromString(trailing(error, "grpc-status-details-bin")), ErrorInfo)
    assert dict(info.metadata) == {"state": "DISABLED"}


def test_missing_and_forbidden_leave_with_the_same_bytes(server, credentials):
    first, second = (
        failed_call(server, credentials, Denied(because), **{"x-request-id": "r"})
        for because in ("OTHER_TENANT", "NO_SUCH_POLICY")
    )
    assert first.details() == second.details()
    assert first.trailing_metadata() == second.trailing_metadata()


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, AssertionError])
def test_a_secret_in_an_exception_reaches_neither_wire_nor_log(server, credentials, caplog, kind):
    caplog.set_level(logging.DEBUG)
    failure = kind(SECRET)
    failure.__cause__ = ValueError(SECRET)
    failure.add_note(SECRET)
    error = failed_call(server, credentials, failure, **{"x-request-id": "find-me"})
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error; tell the operator the request id find-me"
    assert SECRET not in repr((error.details(), error.trailing_metadata(), error.debug_error_string()))
    assert SECRET not in caplog.text
    assert not any(record.exc_info for record in caplog.records)
    assert f"find-me: {kind.__name__} at " in caplog.text
    assert "test_error_path.py:" in caplog.text


def test_an_internal_refusal_keeps_its_text_to_itself(server, credentials, caplog):
    class Broken(KmsError):
        reason = "BROKEN"

    error = failed_call(server, credentials, Broken(SECRET, detail=SECRET), **{"x-request-id": "r-1"})
    status = Status.FromString(trailing(error, "grpc-status-details-bin"))
    assert details(status, ErrorInfo) == [ErrorInfo(reason="BROKEN", domain="kms")]
    assert error.details() == "internal error; tell the operator the request id r-1"
    assert SECRET not in caplog.text


def test_a_tampered_store_is_an_alarm_in_the_log(server, credentials, caplog):
    error = failed_call(server, credentials, StoreTampered("a row fails its authentication"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "StoreTampered at " in caplog.text


def test_an_answer_that_cannot_be_serialised_is_an_internal_error(server, credentials, caplog):
    server.report[0] = lambda caller: SECRET
    with open_channel(server.target, credentials) as channel, pytest.raises(grpc.RpcError) as caught:
        StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert SECRET not in repr((caught.value.details(), caplog.text))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("0af7651916cd43dd8448eb211c80319c", "0af7651916cd43dd8448eb211c80319c"),
        ("a.B_c-9", "a.B_c-9"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("", None),
        ("two words", None),
        ("<script>", None),
    ],
)
def test_a_sane_request_id_is_kept_and_another_is_replaced(server, credentials, sent, expected):
    error = failed_call(server, credentials, Denied(), **{"x-request-id": sent})
    received = trailing(error, "x-request-id")
    assert received == expected if expected is not None else received.startswith("made-")


def test_a_request_id_comes_with_success_too(server, credentials):
    server.report[0] = lambda caller: STATUS
    with open_channel(server.target, credentials) as channel:
        _, call = StatusServiceStub(channel).GetStatus.with_call(GetStatusRequest(), timeout=10)
    assert dict(call.trailing_metadata())["x-request-id"].startswith("made-")


def test_long_texts_are_cut_so_that_the_status_fits_into_headers():
    status = to_status(InvalidField("f" * 5000, "d" * 5000), "r")
    assert len(status.message) == MAX_TEXT
    assert status.ByteSize() < 6 * 1024
