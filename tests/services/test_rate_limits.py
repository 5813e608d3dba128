"""Whose units a call takes: each kind of user identifier, tenants, classes, and changes of limits."""

from dataclasses import dataclass, field
from dataclasses import replace as with_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import RateLimited, StoreTampered, TooManyUnits
from kms.model.caller import Caller
from kms.model.names import IdentityName, OperatorName
from kms.model.rate_limit import IdentifierKind, Limit, OperationClass, Period, Rate, UserIdentifier
from kms.services.rate_limits import MAX_VALUE, MAX_VALUES, RateLimits, Requester, user_address

SECOND = 10**9
USE, OPEN, READ, ENROL = OperationClass.USE, OperationClass.OPEN, OperationClass.READ, OperationClass.ENROL
BY_ADDRESS = UserIdentifier(IdentifierKind.ADDRESS)
BY_HEADER = UserIdentifier(IdentifierKind.HEADER, "x-user")


def limit(number=2, period=Period.SECOND, burst=None, *classes, name="limiter", **fields):
    rate = Rate(number, period, burst or number)
    return Limit(name, frozenset(classes or {USE}), rate, **fields)


def by_header(number=4, each=2, burst=None):
    return limit(number, Period.HOUR, burst, identifier=BY_HEADER, value_rate=Rate(each, Period.HOUR, each))


def requester(name="web", tenant="acme", address="192.0.2.1", *headers):
    spiffe_id = f"spiffe://kms.test/tenant/{tenant}/ns/prod/sa/{name}"
    return Requester(Caller(IdentityName(tenant, "prod", name), spiffe_id, (spiffe_id,)), address, headers)


def user(value, name="web"):
    return requester(name, "acme", "192.0.2.1", ("x-user", value))


@dataclass
class World:
    """Limits of tenants, by id, and a clock, both for the test to change."""

    tenants: dict[str, list[Limit]] = field(default_factory=dict)
    platform: list[Limit] = field(default_factory=list)
    now: int = 0
    read: int = 0

    def __post_init__(self):
        self.limits = RateLimits(self.platform, self._of_tenant, lambda: self.now)

    def _of_tenant(self, tenant):
        self.read += 1
        return self.tenants.get(tenant, [])

    def change(self, *limits, tenant="acme"):
        self.tenants[tenant] = list(limits)
        self.limits.forget(tenant)

    def passes(self, who, kind=USE, units=1):
        try:
            self.limits.take(who, kind, units)
        except RateLimited:
            return False
        return True

    def passed(self, who, kind=USE, tries=10):
        """How many of some calls pass."""
        return sum(self.passes(who, kind) for _ in range(tries))


def acme(*limits):
    return World({"acme": list(limits)})


def test_without_limits_everything_passes():
    assert acme().passed(requester(), tries=1000) == 1000


def test_caller_has_the_burst_at_once_and_the_number_over_time():
    world = acme(limit(2, Period.SECOND, 5))
    assert world.passed(requester()) == 5
    world.now += SECOND
    assert world.passed(requester()) == 2


def test_refusal_says_when_to_come_back_and_which_limiter_it_was():
    world = acme(limit(3, Period.SECOND, 1))
    world.passes(requester())
    with pytest.raises(RateLimited) as caught:
        world.limits.take(requester(), USE, 1)
    assert caught.value.retry_after_seconds == 0.333334
    assert caught.value.metadata == {"limiter": "limiter"}
    world.now += 333_334_000
    assert world.passes(requester())


def test_batch_takes_a_unit_for_each_item():
    world = acme(limit(10, Period.HOUR))
    assert world.passes(requester(), units=7)
    assert not world.passes(requester(), units=4)
    assert world.passes(requester(), units=3)


def test_batch_above_the_burst_is_told_that_waiting_does_not_help():
    with pytest.raises(
        TooManyUnits, match="11 units at once, of which the rate limit lets 10 pass"
    ) as caught:
        acme(limit(10)).limits.take(requester(), USE, 11)
    assert caught.value.metadata == {"limiter": "limiter", "burst": "10"}


def test_refused_call_takes_nothing():
    world = acme(limit(1, Period.HOUR, name="small"), limit(3, Period.HOUR, name="large"))
    assert world.passed(requester()) == 1
    world.change(limit(3, Period.HOUR, name="large"))
    assert world.passed(requester()) == 2


def test_identities_are_counted_apart():
    world = acme(limit())
    assert [world.passed(requester(name)) for name in ("web", "batch", "web")] == [2, 2, 0]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("", "", True),
        ("", "192.0.2.1", False),
    ],
)
def test_addresses_are_counted_apart_ipv6_by_the_64(first, second, shared):
    world = acme(limit(identifier=BY_ADDRESS))
    assert world.passed(requester("web", address=first)) == 2
    assert world.passed(requester("batch", address=second)) == (0 if shared else 2)


def test_ipv6_address_is_told_by_its_prefix():
    assert user_address("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert user_address("192.0.2.1") == "192.0.2.1"


def test_tenants_are_apart_whatever_they_are_told_by():
    world = World(
        {"acme": [limit(identifier=BY_ADDRESS)], "globex": []}, [limit(4, name="all", identifier=BY_ADDRESS)]
    )
    assert world.passed(requester(tenant="acme")) == 2
    assert world.passed(requester(tenant="globex")) == 4


def test_classes_of_operations_are_counted_apart():
    world = acme(limit(2, Period.SECOND, 2, USE, OPEN))
    assert [world.passed(requester(), kind) for kind in (USE, OPEN, READ, USE)] == [2, 2, 10, 0]


def test_platform_limits_hold_for_who_has_no_tenant_and_enrolment_is_told_by_address():
    world = World({}, [limit(3, Period.HOUR, 3, USE, ENROL, READ)])
    operator = Requester(Caller(OperatorName("root"), "spiffe://kms.test/operator/root", ()), "192.0.2.1")
    assert world.passed(operator, READ) == 3
    for address, passed in (("192.0.2.1", 3), ("192.0.2.1", 0), ("192.0.2.2", 3)):
        assert world.passed(Requester(None, address), ENROL) == passed
    assert world.read == 0


def test_tenant_does_not_widen_what_the_platform_allows():
    world = World({"acme": [limit(100)]}, [limit(3, name="platform")])
    assert world.passed(requester()) == 3


def test_header_divides_what_its_caller_has():
    world = acme(by_header(number=5, each=2))
    assert [world.passed(user(value)) for value in ("ann", "bob", "ann", "cem", "dan")] == [2, 2, 0, 1, 0]
    assert world.passed(user("ann", name="batch")) == 2


@given(st.lists(st.text(max_size=3) | st.sampled_from(["a", "b", "c"]), max_size=60))
def test_header_never_widens_whatever_is_sent(values):
    world = acme(by_header(number=7, each=2, burst=7))
    assert sum(world.passes(user(value)) for value in values) <= 7


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("x-user", ""), ("x-user", "")),
        (("x-user", "ann"), ("x-user", "ann")),
        (("x-user", "y" * (MAX_VALUE + 1)),),
        (("x-other", "ann"),),
    ],
)
def test_calls_without_one_usable_value_share_a_bucket(headers):
    world = acme(by_header(number=100, each=2))
    assert world.passed(requester("web", "acme", "192.0.2.1", *headers)) == 2
    assert not world.passes(requester())
    assert world.passed(user("y" * MAX_VALUE)) == 2


def test_new_values_above_the_most_that_are_live_share_a_bucket():
    world = acme(by_header(number=100_000, each=2))
    assert all(world.passes(user(str(number))) for number in range(MAX_VALUES))
    assert [world.passed(user(value)) for value in ("one more", "and another", "0")] == [2, 0, 1]
    world.now += 1800 * SECOND
    assert world.passed(user("and another")) == 2


def test_limits_are_read_once_until_they_change():
    world = acme(limit())
    world.passed(requester())
    world.passed(requester("batch"))
    assert world.read == 1
    world.limits.forget("globex")
    assert not world.passes(requester())
    assert world.read == 1


def test_change_counts_at_once_and_leaves_other_limiters_as_they_were():
    world = acme(limit(2, Period.HOUR, name="kept"))
    assert world.passed(requester()) == 2
    world.change(limit(2, Period.HOUR, name="kept"), limit(1, name="new"))
    assert world.passed(requester()) == 0
    world.change(limit(2, Period.HOUR, None, USE, READ, name="kept"))
    assert [world.passed(requester(), kind) for kind in (USE, READ)] == [0, 2]
    world.change(limit(9, Period.HOUR, name="kept"))
    assert world.passed(requester()) == 9
    world.change()
    assert world.passed(requester()) == 10


def test_change_that_comes_while_limits_are_read_is_not_missed():
    world = acme(limit(1, Period.HOUR))
    read = world._of_tenant

    def overtaken(tenant):
        found = read(tenant)
        if world.read == 1:
            world.change(limit(3, Period.HOUR))
        return found

    world.limits._of_tenant = overtaken
    assert world.passed(requester()) == 4


def test_limits_that_cannot_be_read_let_nobody_pass():
    world = acme(limit())

    def fail(tenant):
        raise StoreTampered("a stored row was changed")

    world.limits._of_tenant = fail
    for _ in range(2):
        with pytest.raises(StoreTampered):
            world.limits.take(requester(), USE, 1)


def test_equal_limiters_of_two_tenants_have_buckets_of_their_own():
    world = World({tenant: [with_(limit(), name="same")] for tenant in ("acme", "globex")})
    assert world.passed(requester(tenant="acme")) == 2
    assert world.passed(requester(tenant="globex")) == 2
