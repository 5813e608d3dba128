"""Limits of a server that is a process: what is kept over a start, and what the operator sets."""

from dataclasses import replace

import pytest
from main.test_serving import Place, served
from main.test_serving import place as place

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.errors import CallExhausted
from kms.main.configuration import FILE

ACME = "tenants/acme"


def get_tenant(api: Api, times: int) -> int:
    """How many of so many calls pass."""
    count = 0
    for _ in range(times):
        try:
            api.call("TenantService", "GetTenant", {"name": ACME})
        except CallExhausted:
            continue
        count += 1
    return count


def test_limiters_survive_a_start_and_begin_full(place: Place) -> None:
    limiter = {"operation_classes": ["OPERATION_CLASS_READ"], "number": 2, "period": "RATE_PERIOD_HOUR"}
    request = {"parent": ACME, "rate_limiter_id": "slow", "rate_limiter": limiter}
    with served(place) as (process, target), open_channel(target, place.made.admin_credentials) as channel:
        Api(channel).call("RateLimitService", "CreateRateLimiter", request)
        assert get_tenant(Api(channel), 4) == 2
        process.kill()
        process.wait(20)
    with served(place) as (_, target), open_channel(target, place.made.admin_credentials) as channel:
        assert get_tenant(Api(channel), 4) == 2
        with pytest.raises(CallExhausted) as caught:
            Api(channel).call("RateLimitService", "GetRateLimiter", {"name": f"{ACME}/rateLimiters/slow"})
    assert caught.value.metadata["limiter"] == f"{ACME}/rateLimiters/slow"
    assert caught.value.retry_after is not None
    assert 1700 < caught.value.retry_after <= 1800


def test_operator_limits_all_tenants(place: Place) -> None:
    configuration = replace(place.configuration, rate_limits=("READ 3/hour",))
    (configuration.directory / FILE).write_text(configuration.to_toml())
    with served(place) as (_, target), open_channel(target, place.made.admin_credentials) as channel:
        assert get_tenant(Api(channel), 5) == 3
        with pytest.raises(CallExhausted) as caught:
            Api(channel).call("NamespaceService", "ListNamespaces", {"parent": ACME})
    assert caught.value.metadata["limiter"] == "READ 3/hour"
