"""Whether a KMS serves (`grpc.health.v1`)."""

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from kms.client.errors import CallUnavailable, from_rpc_error


def check_health(channel: grpc.Channel, timeout: float) -> None:
    """`timeout` in seconds. Raises `CallFailed`; `CallUnavailable` also if it answers that it does not."""
    try:
        answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout)
    except grpc.RpcError as error:
        failure = from_rpc_error(error)
    else:
        if answer.status == HealthCheckResponse.SERVING:
            return
        failure = CallUnavailable("the KMS does not serve now")
    raise failure
