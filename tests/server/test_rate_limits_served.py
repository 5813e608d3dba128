"""Limits of a tenant over the wire, with a clock that the test moves: whose calls pass, and when again."""

import grpc
import pytest
from server.backup_harness import lose, put_back, take
from server.kms_harness import ACME, LIMITS, PROD, WEB_TLS, running_kms
from services.conftest import caller

from blindfold.secret import SecretBytes
from kms.client.channel import open_enrolment_channel
from kms.client.credentials import generate_key_pair, read_credentials
from kms.client.errors import CallDenied, CallExhausted, CallFailed, from_rpc_error
from kms.client.opening import Sealed, open_many
from kms.client.resending import Attempts, Resending, repeat
from kms.model.join_token import JoinToken
from kms.model.rate_limit import OperationClass, parse_limit
from kms.services.rate_limits import Requester
from protos.kms.v1 import crypto_batch_pb2 as batch
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1.blindfold_service_pb2 import EvaluateBlindedRequest
from protos.kms.v1.blindfold_service_pb2_grpc import BlindfoldServiceStub
from protos.kms.v1.crypto_service_pb2 import StreamRequest
from protos.kms.v1.crypto_service_pb2_grpc import CryptoServiceStub
from protos.kms.v1.enrolment_service_pb2 import EnrolRequest
from protos.kms.v1.enrolment_service_pb2_grpc import EnrolmentServiceStub

SECOND = 10**9
NOON = "2026-01-01T12:00:00.000000Z"
RANDOM = {"name": PROD, "byte_count": 1}
USE, READ, OPEN = (f"OPERATION_CLASS_{name}" for name in ("USE", "READ", "OPEN"))
HOUR = {"number": 3, "period": "RATE_PERIOD_HOUR"}


@pytest.fixture(scope="module", autouse=True)
def policies(kms):
    kms.allow_keys()
    kms.add_policy("web-tls")


@pytest.fixture(autouse=True)
def nothing_left(kms):
    yield
    kms.remove_limits()


def attempt(kms, who="key-user", headers=()):
    """Ask for a random byte. What the policy or a role forbids has passed the limits too."""
    kms.as_(who)
    stub = CryptoServiceStub(kms.channels[who])
    try:
        stub.GenerateRandom(pb.GenerateRandomRequest(**RANDOM), metadata=headers, timeout=20)
    except grpc.RpcError as error:
        failure = from_rpc_error(error)
        if not isinstance(failure, CallDenied):
            raise failure from None


def passed(kms, who="key-user", tries=6, headers=()):
    """How many of some calls pass."""
    count = 0
    for _ in range(tries):
        try:
            attempt(kms, who, headers)
            count += 1
        except CallExhausted:
            continue
    return count


@pytest.mark.parametrize(("period", "seconds"), [("SECOND", 1), ("MINUTE", 60), ("HOUR", 3600)])
def test_number_is_of_each_second_minute_or_hour(kms, period, seconds):
    kms.add_limiter("app", number=3, period=f"RATE_PERIOD_{period}")
    assert passed(kms) == 3
    kms.ticks[0] += seconds * SECOND
    assert passed(kms) == 3
    kms.ticks[0] += -(-seconds * SECOND // 3)
    assert passed(kms) == 1


def test_burst_passes_at_once(kms):
    kms.add_limiter("app", **HOUR, burst=5)
    assert passed(kms) == 5


def test_refusal_says_exactly_when_the_units_are_there(kms):
    name = kms.add_limiter("app", number=7, period="RATE_PERIOD_MINUTE", burst=1)["name"]
    attempt(kms)
    kms.ticks[0] += SECOND
    with pytest.raises(CallExhausted) as caught:
        attempt(kms)
    assert caught.value.retry_after == 7.571429
    assert caught.value.metadata == {"limiter": name}
    kms.ticks[0] += 7_571_428 * 1000
    assert passed(kms) == 0
    kms.ticks[0] += 1000
    assert passed(kms) == 1


def test_client_that_waits_as_it_is_told_is_served(kms):
    kms.add_limiter("app", number=1, period="RATE_PERIOD_HOUR")
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        kms.ticks[0] += round(seconds * SECOND)

    def act(timeout):
        return kms.as_("key-user").call("CryptoService", "GenerateRandom", RANDOM)

    def attempts():
        how = Resending(deadline=10_000, first_pause=0)
        return Attempts(how, repeatable=False, clock=lambda: kms.ticks[0] / SECOND, jitter=lambda: 0)

    for _ in range(3):
        assert repeat(act, attempts(), pause=pause)["data"]
    assert pauses == [3600, 3600]


def test_identities_are_counted_apart(kms):
    kms.add_limiter("app", **HOUR)
    assert [passed(kms, who) for who in ("key-user", "web", "key-user", "batch")] == [3, 3, 0, 3]


def test_callers_at_one_address_share_what_is_counted_by_address(kms):
    kms.add_limiter("app", **HOUR, user_identification=kms.add_identification("here", "ADDRESS"))
    assert [passed(kms, who) for who in ("key-user", "web", "batch")] == [3, 0, 0]


def user(name):
    return (("x-user", name),)


def by_header(kms, **limiter):
    named = kms.add_identification("user", "HEADER", "x-user")
    kms.add_limiter("app", period="RATE_PERIOD_HOUR", user_identification=named, **limiter)


def test_values_of_a_header_divide_what_their_caller_has(kms):
    by_header(kms, number=5, value_number=2)
    assert [passed(kms, headers=user(name)) for name in ("ann", "bob", "cem", "ann")] == [2, 2, 1, 0]
    assert passed(kms, "web", headers=user("ann")) == 2


def test_header_widens_nothing(kms):
    by_header(kms, number=5, value_number=2, burst=5)
    assert sum(passed(kms, tries=1, headers=user(str(number))) for number in range(20)) == 5


def test_calls_without_the_header_share_what_one_value_has(kms):
    by_header(kms, number=50, value_number=2)
    assert passed(kms) == 2
    assert passed(kms, headers=(*user("ann"), *user("bob"))) == 0
    assert passed(kms, headers=user("ann")) == 2


def test_items_of_a_batch_are_units(kms):
    kms.add_limiter("app", **HOUR, burst=10)
    kms.as_("key-user")
    stub = CryptoServiceStub(kms.channels["key-user"])
    item = pb.GenerateRandomRequest(**RANDOM)

    def ask(items):
        request = batch.BatchGenerateRandomRequest(name=PROD, requests=[item] * items)
        return len(stub.BatchGenerateRandom(request, timeout=20).results)

    assert ask(6) == 6
    assert failure_of(ask, 5).reason == "RATE_LIMITED"
    assert ask(4) == 4
    above = failure_of(ask, 11)
    assert (above.reason, above.retry_after, above.metadata["burst"]) == ("TOO_MANY_UNITS", None, "10")


def failure_of(act, *arguments) -> CallFailed:
    with pytest.raises(grpc.RpcError) as caught:
        act(*arguments)
    return from_rpc_error(caught.value)


def test_messages_of_a_stream_are_units_and_its_opening_is_one(kms):
    kms.add_limiter("app", **HOUR)
    message = StreamRequest(generate_random=pb.GenerateRandomRequest(**RANDOM))
    kms.as_("key-user")
    answers = []
    stream = CryptoServiceStub(kms.channels["key-user"]).Stream(iter([message] * 5), timeout=20)
    failure = failure_of(answers.extend, stream)
    assert ([answer.WhichOneof("response") for answer in answers], failure.reason) == (
        ["generate_random"] * 2,
        "RATE_LIMITED",
    )


def test_secrets_to_open_are_units(kms):
    kms.add_limiter("app", operation_classes=[OPEN], number=4)
    sealed = [Sealed(kms.seal(b"secret", WEB_TLS))] * 3
    assert [opened.secret.reveal() for opened in open_many(kms.as_("web"), sealed)] == [b"secret"] * 3
    evaluate = BlindfoldServiceStub(kms.channels["web"]).EvaluateBlinded
    assert failure_of(evaluate, EvaluateBlindedRequest(elements=[b"", b""])).reason == "RATE_LIMITED"
    assert failure_of(evaluate, EvaluateBlindedRequest(elements=[b""])).reason == "INVALID_FIELD"


def test_classes_are_counted_apart_and_only_those_that_are_named(kms):
    kms.add_limiter("app", operation_classes=[USE, READ], number=3)
    admin = kms.as_("key-admin")
    for _ in range(3):
        admin.call("NamespaceService", "GetNamespace", {"name": PROD})
    with pytest.raises(CallExhausted):
        admin.call("NamespaceService", "GetNamespace", {"name": PROD})
    assert passed(kms, "key-admin") == 3
    for number in range(5):
        kms.make_key(f"k{number}")


def test_other_tenants_are_not_limited(kms):
    kms.add_limiter("app", **HOUR)
    assert passed(kms) == 3
    assert passed(kms, "stranger") == 6


def test_changes_count_from_the_next_call_on(kms):
    name = kms.add_limiter("app", **HOUR)["name"]
    assert passed(kms) == 3
    change = {"rate_limiter": {"name": name, "number": 4}, "update_mask": "number"}
    kms.as_("admin").call(LIMITS, "UpdateRateLimiter", change)
    assert passed(kms) == 4
    change = {"rate_limiter": {"name": name, "description": "as before"}, "update_mask": "description"}
    kms.as_("admin").call(LIMITS, "UpdateRateLimiter", change)
    assert passed(kms) == 0
    kms.as_("admin").call(LIMITS, "DeleteRateLimiter", {"name": name})
    assert passed(kms) == 6


def test_changed_header_counts_from_the_next_call_on(kms):
    by_header(kms, number=50, value_number=1)
    assert passed(kms, headers=user("ann")) == 1
    renamed = {"name": f"{ACME}/userIdentifications/user", "header": "x-end-user"}
    change = {"user_identification": renamed, "update_mask": "header"}
    kms.as_("admin").call(LIMITS, "UpdateUserIdentification", change)
    assert passed(kms, headers=(("x-end-user", "bob"), *user("ann"))) == 1
    assert passed(kms, headers=(("x-end-user", "cem"), *user("ann"))) == 1


def test_refused_calls_are_counted_not_recorded(kms):
    kms.add_limiter("app", **HOUR)
    kms.loop.run(kms.parts.refusals.flush(NOON))
    before = len(kms.events())
    assert passed(kms, tries=8) == 3
    kms.loop.run(kms.parts.refusals.flush(NOON))
    events = kms.events()[before:]
    assert [event["action"] for event in events] == ["GenerateRandom"] * 3 + ["Kms.RefusedCalls"]
    assert (events[-1]["caller"], events[-1]["details"]["count"]) == (kms.spiffe_id("key-user"), "5")


def test_platform_s_limits_hold_for_tenants_operators_and_enrolments(tmp_path):
    lines = ("ENROL 2/hour by address", "READ 3/hour")
    with running_kms(tmp_path, platform_limits=tuple(map(parse_limit, lines))) as kms:
        for who, name in (("admin", ACME), ("stranger", "tenants/globex"), ("operator", ACME)):
            api = kms.as_(who)
            for _ in range(3):
                api.call("TenantService", "GetTenant", {"name": name})
            with pytest.raises(CallExhausted) as caught:
                api.call("TenantService", "GetTenant", {"name": name})
            assert caught.value.metadata == {"limiter": "READ 3/hour"}
        root = read_credentials(kms.credentials("admin")).ca_pem
        token = JoinToken(bytes(16), SecretBytes(bytes(32)), bytes(32)).reveal()
        request = EnrolRequest(token=token, csr=generate_key_pair().csr)
        with open_enrolment_channel(kms.enrolment_target, root) as channel:
            enrol = EnrolmentServiceStub(channel).Enrol
            refused = [failure_of(enrol, request).reason for _ in range(4)]
            assert refused == ["UNAUTHENTICATED"] * 2 + ["RATE_LIMITED"] * 2
            kms.ticks[0] += 1800 * SECOND
            assert failure_of(enrol, request).reason == "UNAUTHENTICATED"


def test_limits_of_a_restored_tenant_count_at_once(tmp_path):
    with running_kms(tmp_path) as kms:
        kms.add_key()
        kms.add_limiter("app", **HOUR)
        kms.as_("key-user")
        backup = take(kms)
        lose(kms)
        kms.parts.rate_limits.forget("acme")
        kms.parts.rate_limits.take(Requester(caller("web"), ""), OperationClass.USE, 100)
        put_back(kms, backup)
        assert passed(kms) == 3
