"""The client's channels, against a server."""

import pytest
from server_harness import SPIFFE_ID, STATUS

from kms.client.channel import open_async_channel, open_channel
from kms.errors import ConfigError
from protos.kms.v1.status_service_pb2 import GetStatusRequest
from protos.kms.v1.status_service_pb2_grpc import StatusServiceStub


def test_a_channel_calls_as_the_identity_of_its_directory(server, credentials):
    callers = []

    def report(caller):
        callers.append(caller.spiffe_id)
        return STATUS

    server.report[0] = report
    with open_channel(server.target, credentials) as channel:
        StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    assert callers == [SPIFFE_ID]


def test_an_async_channel_does_the_same(server, credentials):
    server.report[0] = lambda caller: STATUS

    async def call():
        async with open_async_channel(server.target, credentials) as channel:
            return await StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)

    assert server.loop.run(call()).version == "1.2.3"


def test_a_server_reached_by_address_is_known_by_its_name(server, credentials):
    server.report[0] = lambda caller: STATUS
    address = f"127.0.0.1:{server.ports.main}"
    with open_channel(address, credentials, "localhost") as channel:
        assert StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10).ready


@pytest.mark.parametrize("open_one", [open_channel, open_async_channel])
def test_a_directory_without_credentials_says_what_to_do(tmp_path, open_one):
    with pytest.raises(ConfigError, match="enrol first"):
        open_one("localhost:1", tmp_path)
