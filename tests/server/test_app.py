"""The application as a whole: limits, health, reflection, and how it ends."""

import threading

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from server_harness import STATUS

from blindfold.secret import SecretBytes
from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.errors import CallExhausted, CallInvalid, CallUnavailable, from_rpc_error
from kms.errors import ConfigError
from kms.server.app import Limits
from kms.server.interceptors.call_path import MAX_REQUEST
from kms.server.servicers.status import StatusServicer
from kms.server.tls import ServerCertificate
from protos.kms.v1.status_service_pb2 import GetStatusRequest
from protos.kms.v1.status_service_pb2_grpc import StatusServiceStub

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(server, credentials):
    server.report[0] = lambda caller: STATUS
    with open_channel(server.target, credentials) as opened:
        yield opened


def raw_call(channel, payload):
    call = channel.unary_unary("/kms.v1.StatusService/GetStatus")
    with pytest.raises(grpc.RpcError) as caught:
        call(payload, timeout=20)
    return from_rpc_error(caught.value)


def unknown_field(size):
    """A valid message of that many bytes: one unknown field of type bytes."""
    length = size - 6
    digits = [0x7A]
    for _ in range(5):
        length, low = length >> 7, length & 0x7F
        digits.append(low | (0x80 if len(digits) < 5 else 0))
    return bytes(digits) + bytes(size - 6)


def test_status_is_converted_whole(channel):
    status = StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    assert status.version == "1.2.3"
    assert status.ready
    assert not status.locked
    assert status.root_of_trust.kind == "keyfile"
    assert status.root_of_trust.grade == status.root_of_trust.GRADE_DEVELOPMENT
    assert (status.store.kind, status.store.schema_version, status.store.last_event) == ("sqlite", 1, 17)
    assert not status.store.HasField("checkpoint_time")
    assert status.tenant_count == 2
    assert status.root_key_rotating


def test_a_request_of_the_limit_is_served(channel):
    call = channel.unary_unary("/kms.v1.StatusService/GetStatus")
    assert call(unknown_field(MAX_REQUEST), timeout=20)


def test_a_request_above_our_limit_is_told_which(channel):
    failure = raw_call(channel, unknown_field(MAX_REQUEST + 1))
    assert isinstance(failure, CallInvalid)
    assert failure.reason == "LIMIT_EXCEEDED"
    assert failure.violations == (("request", "has 4194305 bytes, at most 4194304 are allowed"),)


def test_a_message_above_the_transports_limit_is_refused_unread(server, credentials):
    root, certificate, key = ((credentials / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem"))
    unlimited = grpc.ssl_channel_credentials(root, key, certificate)
    with grpc.secure_channel(server.target, unlimited, [("grpc.max_send_message_length", -1)]) as channel:
        failure = raw_call(channel, bytes(8 * 2**20 + 1))
    assert isinstance(failure, CallExhausted)
    assert "larger than max" in failure.message


def test_bytes_that_are_no_message_are_invalid(channel):
    failure = raw_call(channel, b"\xff\xff\xff")
    assert isinstance(failure, CallInvalid)
    assert failure.violations == (("request", "is not a message of this method"),)


def test_metadata_above_the_limit_is_refused(channel):
    with pytest.raises(grpc.RpcError) as caught:
        StatusServiceStub(channel).GetStatus(GetStatusRequest(), metadata=[("x", "y" * 20_000)], timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_above_the_bound_are_refused_at_once(serve, credentials):
    server = serve(limits=Limits(concurrent_calls=1))
    entered, leave = threading.Event(), threading.Event()

    def report(caller):
        entered.set()
        leave.wait(10)
        return STATUS

    server.report[0] = report
    with open_channel(server.target, credentials) as channel:
        stub = StatusServiceStub(channel)
        first = stub.GetStatus.future(GetStatusRequest(), timeout=10)
        assert entered.wait(10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetStatus(GetStatusRequest(), timeout=10)
        leave.set()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert first.result().version == "1.2.3"


@pytest.mark.parametrize("service", ["", "kms.v1.StatusService"])
def test_health_follows_what_it_is_told(server, channel, service):
    stub = HealthStub(channel)
    for serving, expected in ((False, NOT_SERVING), (True, SERVING)):
        server.loop.run(server.app.set_serving(serving))
        assert stub.Check(HealthCheckRequest(service=service), timeout=10).status == expected


def test_the_health_of_a_service_that_does_not_exist_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        HealthStub(channel).Check(HealthCheckRequest(service="kms.v1.Nothing"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_who_watches_health_is_told_that_the_server_stops(serve, credentials):
    server = serve()
    with open_channel(server.target, credentials) as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=20)
        assert next(watch).status == SERVING
        stopper = threading.Thread(target=server.stop, args=(0.5,))
        stopper.start()
        assert next(watch).status == NOT_SERVING
        stopper.join()
        with pytest.raises(grpc.RpcError):
            next(watch)


def test_a_graceful_stop_finishes_a_call_in_flight(serve, credentials):
    server = serve()
    entered, leave = threading.Event(), threading.Event()

    def report(caller):
        entered.set()
        assert leave.wait(10)
        return STATUS

    server.report[0] = report
    with open_channel(server.target, credentials) as channel:
        stub = StatusServiceStub(channel)
        first = stub.GetStatus.future(GetStatusRequest(), timeout=20)
        assert entered.wait(10)
        stopper = threading.Thread(target=server.stop, args=(10,))
        stopper.start()
        refused = None
        while not isinstance(refused, CallUnavailable):
            with open_channel(server.target, credentials) as late, pytest.raises(grpc.RpcError) as caught:
                StatusServiceStub(late).GetStatus(GetStatusRequest(), timeout=0.5)
            refused = from_rpc_error(caught.value)
        leave.set()
        assert first.result().version == "1.2.3"
        stopper.join()


def test_after_its_grace_a_call_in_flight_is_cancelled(serve, credentials):
    server = serve()
    entered, leave = threading.Event(), threading.Event()

    def report(caller):
        entered.set()
        assert leave.wait(10)
        return STATUS

    server.report[0] = report
    with open_channel(server.target, credentials) as channel:
        call = StatusServiceStub(channel).GetStatus.future(GetStatusRequest(), timeout=20)
        assert entered.wait(10)
        server.stop(0.2)
        assert call.exception(timeout=5).code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        leave.set()


def reflect(channel, request):
    stub = ServerReflectionStub(channel)
    return next(stub.ServerReflectionInfo(iter([request]), timeout=10))


def test_reflection_lists_the_services(channel):
    answer = reflect(channel, ServerReflectionRequest(list_services=""))
    assert {service.name for service in answer.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "kms.v1.StatusService",
    }


def test_reflection_describes_a_service(channel):
    answer = reflect(channel, ServerReflectionRequest(file_containing_symbol="kms.v1.StatusService"))
    files = [
        FileDescriptorProto.FromString(text) for text in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert "protos/kms/v1/status_service.proto" in {file.name for file in files}


def test_a_taken_port_is_told_and_nothing_is_left_listening(serve, authority):
    taken = serve()
    with pytest.raises(ConfigError, match="cannot listen on") as caught:
        serve(address=f"localhost:{taken.ports.main}")
    assert str(taken.ports.main) in caught.value.message


def test_an_unreadable_certificate_is_told_at_the_start(serve, authority):
    broken = ServerCertificate(SecretBytes(b"no key"), b"no certificate", authority.pem)
    with pytest.raises(ConfigError, match="its certificate unreadable"):
        serve(certificate=broken)


def test_the_options_of_a_listener_carry_every_limit():
    options = dict(Limits(message_size=1, connection_age=2, streams_per_connection=3).to_options())
    assert options["grpc.max_receive_message_length"] == options["grpc.max_send_message_length"] == 1
    assert options["grpc.max_connection_age_ms"] == 2000
    assert options["grpc.max_concurrent_streams"] == 3
    assert options["grpc.so_reuseport"] == 0


def test_a_stranger_may_send_what_a_request_needs_and_no_more(serve, authority):
    """Whoever enrols has shown nothing: he gets neither memory nor time."""
    strangers = Limits().for_strangers()
    assert (strangers.message_size, strangers.streams_per_connection) == (64 << 10, 4)
    assert strangers.connection_age <= 60
    server = serve(enrolment_servicers=[StatusServicer(lambda call: STATUS)])
    with open_enrolment_channel(f"localhost:{server.ports.enrolment}", authority.pem) as channel:
        ask = channel.unary_unary("/kms.v1.StatusService/GetStatus")
        with pytest.raises(grpc.RpcError) as caught:
            ask(bytes(65 << 10), timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Limits(message_size=1).for_strangers().message_size == 1
