"""Failed calls as the client tells them."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from kms.client.errors import (
    CLASSES,
    CallConflict,
    CallDamaged,
    CallDenied,
    CallExhausted,
    CallFailed,
    CallInvalid,
    CallNotFound,
    CallUnavailable,
    from_rpc_error,
    from_status,
)
from kms.errors import (
    BudgetExhausted,
    ChecksumMismatch,
    Denied,
    EtagMismatch,
    InvalidField,
    KmsError,
    NotFound,
    RateLimited,
)
from kms.server.status import CODES, DETAILS_KEY, to_status


class Refusal(grpc.RpcError):
    """What a stub raises, as far as it is read."""

    def __init__(self, code, details, metadata):
        self._answer = (code, details, metadata)

    def code(self):
        return self._answer[0]

    def details(self):
        return self._answer[1]

    def trailing_metadata(self):
        return self._answer[2]


def refusal(error):
    status = to_status(error, "r-1")
    metadata = (("x-request-id", "r-1"), (DETAILS_KEY, status.SerializeToString()))
    return Refusal(CODES[error.kind], error.message, metadata)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Denied(), CallDenied),
        (InvalidField("ttl", "is too long"), CallInvalid),
        (NotFound("tenants/a"), CallNotFound),
        (EtagMismatch("changed meanwhile"), CallConflict),
        (BudgetExhausted("2^32 evaluations"), CallExhausted),
        (ChecksumMismatch("plaintext"), CallDamaged),
    ],
    ids=lambda value: getattr(value, "reason", ""),
)
def test_a_refusal_is_told_by_type_reason_message_hint_and_request_id(error, expected):
    failure = from_rpc_error(refusal(error))
    assert type(failure) is expected
    assert (failure.reason, failure.message) == (error.reason, error.message)
    assert failure.hint == (error.hint or expected.default_hint)
    assert failure.request_id == "r-1"
    assert dict(failure.metadata) == error.metadata


def test_every_status_the_server_sends_has_an_exception_of_its_own():
    assert set(CODES.values()) <= set(CLASSES)
    assert len(set(CLASSES.values())) == len(CLASSES)


def test_violations_are_told_by_field():
    failure = from_rpc_error(refusal(InvalidField("rules[0].roles", "is listed twice")))
    assert failure.violations == (("rules[0].roles", "is listed twice"),)


def test_waiting_is_told_where_it_helps():
    assert from_rpc_error(refusal(RateLimited(1.5))).retry_after == 1.5
    assert from_rpc_error(refusal(BudgetExhausted("spent"))).retry_after is None


def test_an_item_of_a_batch_is_told_like_a_call():
    failure = from_status(to_status(Denied(), "r-2"), "r-2")
    assert isinstance(failure, CallDenied)
    assert (failure.reason, failure.request_id) == ("DENIED", "r-2")


def test_an_unknown_reason_keeps_the_general_hint():
    class Unheard(KmsError):
        kind = EtagMismatch.kind
        reason = "UNHEARD_OF"

    failure = from_rpc_error(refusal(Unheard("the text")))
    assert (failure.reason, failure.message, failure.hint) == ("UNHEARD_OF", "the text", "Repeat the call.")


def test_an_answer_that_is_not_the_kms_own_has_no_reason():
    failure = from_rpc_error(Refusal(grpc.StatusCode.UNAVAILABLE, "connection refused", ()))
    assert isinstance(failure, CallUnavailable)
    assert (failure.reason, failure.request_id) == ("", "")
    assert "Check the address" in failure.hint


def test_a_status_without_a_class_is_the_base():
    failure = from_rpc_error(Refusal(grpc.StatusCode.UNIMPLEMENTED, None, None))
    assert type(failure) is CallFailed
    assert failure.message == "UNIMPLEMENTED"


def test_error_info_of_somebody_else_is_not_ours():
    packed = Any()
    packed.Pack(ErrorInfo(reason="DENIED", domain="proxy.example"))
    assert from_status(Status(code=7, message="no", details=[packed])).reason == ""


@pytest.mark.parametrize(
    "details",
    [
        b"\xff\xff",
        "text",
        Status(
            details=[Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")]
        ).SerializeToString(),
    ],
)
def test_details_that_cannot_be_read_count_as_none(details):
    failure = from_rpc_error(Refusal(grpc.StatusCode.PERMISSION_DENIED, "no", ((DETAILS_KEY, details),)))
    assert isinstance(failure, CallDenied)
    assert (failure.reason, failure.message) == ("", "no")
