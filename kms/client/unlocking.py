"""Unlocking a server: shares go to nothing but a locked server of the authority that the caller knows."""

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.channel import open_enrolment_channel
from kms.client.errors import CallUnavailable, CallWrongState
from kms.model.lock_status import UNLOCK_NAME
from protos.kms.v1.unlock_service_pb2 import GetLockStatusRequest, LockStatus, UnlockRequest

SERVICE = "UnlockService"
TIMEOUT = 120.0
LOOK_EVERY = 0.1


class Unlocker:
    """Asks a server by the address of its enrolment listener. `ca_pem` are the roots that it must be of.

    Methods give the `LockStatus` as the API's JSON, and raise `CallFailed`.
    """

    def __init__(self, server_address: str, ca_pem: bytes) -> None:
        self._server = server_address
        self._ca_pem = ca_pem

    def status(self) -> dict[str, object]:
        try:
            return self._ask("GetLockStatus", GetLockStatusRequest(), UNLOCK_NAME)
        except CallUnavailable:
            pass
        return self._unlocked_status()

    def unlock(self, share: SecretBytes) -> dict[str, object]:
        """Gives a share, to a server that proves to be locked; with the last one, waits until it serves."""
        try:
            answer = self._ask("Unlock", UnlockRequest(share=share.reveal()), UNLOCK_NAME)
        except CallUnavailable as error:
            unavailable = error
        else:
            return answer if answer["locked"] else self._when_it_serves()
        try:
            self._unlocked_status()
        except CallUnavailable:
            raise unavailable from None
        raise CallWrongState("the server is not locked; the share was not sent")

    def _when_it_serves(self) -> dict[str, object]:
        """It ends one listener before it begins the other."""
        for attempt in Retrying(
            retry=retry_if_exception_type(CallUnavailable),
            stop=stop_after_delay(TIMEOUT),
            wait=wait_fixed(LOOK_EVERY),
            reraise=True,
        ):
            with attempt:
                status = self._unlocked_status()
        return status

    def _unlocked_status(self) -> dict[str, object]:
        """Of a server that shows its own name."""
        return self._ask("GetLockStatus", GetLockStatusRequest(), None)

    def _ask(self, method: str, request: Message, server_name: str | None) -> dict[str, object]:
        with self._api(server_name) as api:
            answer = api.exchange(SERVICE, method, request, LockStatus)
        return dict(
            MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        )

    @contextmanager
    def _api(self, server_name: str | None) -> Iterator[Api]:
        with open_enrolment_channel(self._server, self._ca_pem, server_name) as channel:
            yield Api(channel, timeout=TIMEOUT)
