"""Any method asked over a channel, and what became of it, down to the bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from server.made_requests import Attempt

from kms.server.interceptors.request_id import REQUEST_ID_KEY
from kms.server.interceptors.trailers import RECEIPT_KEY
from kms.server.status import DETAILS_KEY

TRIES = 2000
OK = grpc.StatusCode.OK


@dataclass(frozen=True)
class Outcome:
    """How a call ended: code, text and trailing metadata, request id and receipt apart.

    What an answer says of its one item counts as the call's; the item is `within` that field.
    """

    code: grpc.StatusCode
    text: str = ""
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    request_id: str = ""
    within: str = ""
    has_receipt: bool = False

    @property
    def status(self) -> Status:
        return Status.FromString(dict(self.metadata).get(DETAILS_KEY, b""))  # type: ignore[arg-type]

    @property
    def reason(self) -> str:
        return next((info.reason for info in self._details(ErrorInfo)), "")

    @property
    def violations(self) -> list[str]:
        found = (item for bad in self._details(BadRequest) for item in bad.field_violations)
        return [f"{self.within}{item.field}" for item in found]

    def said(self) -> tuple[Any, ...]:
        """All that the caller learns, but the request id and the receipt of its event."""
        return self.code, self.text, self.metadata

    def _details(self, kind: type[Any]) -> Iterable[Any]:
        for packed in self.status.details:
            detail = kind()
            if packed.Unpack(detail):
                yield detail


def ask(channel: grpc.Channel, attempt: Attempt, request_id: str = "") -> Outcome:
    """Call the method once, under a request id if one is given."""
    method, request = attempt.method, attempt.message()
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = [(REQUEST_ID_KEY, request_id)] if request_id else []
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
    kind = kinds[method.client_streaming, method.server_streaming]
    call: Any = getattr(channel, kind)(
        path, lambda made: made.SerializeToString(), GetMessageClass(method.output_type).FromString
    )
    try:
        sent = iter([request]) if method.client_streaming else request
        answer = call(sent, timeout=20, metadata=metadata)
        if not method.server_streaming:
            return _answered([answer])
        try:
            return _answered([next(answer)])
        except StopIteration:
            return Outcome(OK)
        finally:
            answer.cancel()
    except grpc.RpcError as error:
        return _failed(error)


def ask_well(channel: grpc.Channel, attempt: Attempt) -> Outcome:
    """Ask until no field is found malformed: what then comes back is about who asks and for what.

    The attempt is then one that may be asked again by others.
    """
    outcome = try_well(channel, attempt)
    assert not outcome.violations, f"{attempt}: no value will do: {outcome.text}"
    return outcome


def try_well(channel: grpc.Channel, attempt: Attempt) -> Outcome:
    """As `ask_well`; or the last outcome where no value will do."""
    for _ in range(TRIES):
        outcome = ask(channel, attempt)
        if not outcome.violations or not attempt.advance(outcome.violations[0]):
            return outcome
    raise AssertionError(f"{attempt}: {attempt.message()}")


def _failed(error: Any) -> Outcome:
    metadata = dict(error.trailing_metadata() or ())
    request_id = str(metadata.pop(REQUEST_ID_KEY, ""))
    has_receipt = metadata.pop(RECEIPT_KEY, None) is not None
    items = tuple(sorted(metadata.items()))
    return Outcome(error.code(), error.details() or "", items, request_id, has_receipt=has_receipt)


def _answered(answers: Sequence[Any]) -> Outcome:
    for answer in answers:
        is_batch = "results" in answer.DESCRIPTOR.fields_by_name
        for item in answer.results if is_batch else [answer]:
            if "error" in item.DESCRIPTOR.fields_by_name and item.HasField("error"):
                return _of_status(item.error, "requests." if is_batch else "")
    return Outcome(OK)


def _of_status(status: Status, within: str) -> Outcome:
    codes = {code.value[0]: code for code in grpc.StatusCode}
    metadata = ((DETAILS_KEY, status.SerializeToString()),)
    return Outcome(codes[status.code], status.message, metadata, within=within)
