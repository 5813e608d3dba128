"""Rate limiters and user identifications over the wire."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from server.kms_harness import ACME, LIMITS

from kms.client.errors import (
    CallAlreadyExists,
    CallConflict,
    CallDenied,
    CallFailed,
    CallInvalid,
    CallNotFound,
    CallWrongState,
)
from kms.services.rate_limiters import MAX_LIMITERS

LIMITER, IDENTIFICATION = f"{ACME}/rateLimiters/", f"{ACME}/userIdentifications/"
USE, ENROL = "OPERATION_CLASS_USE", "OPERATION_CLASS_ENROL"


@pytest.fixture(autouse=True)
def nothing_left(kms):
    """What a test made is gone before the next one."""
    yield
    kms.remove_limits()


def call(kms, method, request, who="admin"):
    return kms.as_(who).call(LIMITS, method, request)


def update_limiter(kms, name, *paths, etag="", **fields):
    request = {"rate_limiter": {"name": name, "etag": etag, **fields}, "update_mask": ",".join(paths)}
    return call(kms, "UpdateRateLimiter", request)


def test_limiter_is_made_read_listed_changed_and_deleted(kms):
    made = kms.add_limiter("app", description="the application", burst=20)
    assert made.pop("create_time").endswith("Z")
    assert made == {
        "name": f"{LIMITER}app",
        "description": "the application",
        "operation_classes": [USE],
        "number": 10,
        "period": "RATE_PERIOD_HOUR",
        "burst": 20,
        "etag": "1",
    }
    assert call(kms, "GetRateLimiter", {"name": made["name"]}).items() >= made.items()
    kms.add_limiter("batch")
    listed = call(kms, "ListRateLimiters", {"parent": ACME, "page_size": 1})
    assert [item["name"] for item in listed["rate_limiters"]] == [f"{LIMITER}app"]
    token = {"page_token": listed["next_page_token"]}
    listed = call(kms, "ListRateLimiters", {"parent": ACME} | token)
    assert [item["name"] for item in listed["rate_limiters"]] == [f"{LIMITER}batch"]
    changed = update_limiter(kms, made["name"], "number", "period", number=7, period="RATE_PERIOD_MINUTE")
    assert changed.items() >= (made | {"number": 7, "period": "RATE_PERIOD_MINUTE", "etag": "2"}).items()
    assert call(kms, "DeleteRateLimiter", {"name": made["name"], "etag": "2"}) == {}
    with pytest.raises(CallNotFound):
        call(kms, "GetRateLimiter", {"name": made["name"]})


def test_identification_is_made_read_listed_changed_and_deleted(kms):
    name = kms.add_identification("user", "HEADER", "x-user")
    found = call(kms, "GetUserIdentification", {"name": name})
    assert (found["kind"], found["header"], found["etag"]) == ("KIND_HEADER", "x-user", "1")
    listed = call(kms, "ListUserIdentifications", {"parent": ACME})
    assert listed == {"user_identifications": [found]}
    changed = call(
        kms,
        "UpdateUserIdentification",
        {"user_identification": {"name": name, "header": "x-end-user"}, "update_mask": "header"},
    )
    assert changed == found | {"header": "x-end-user", "etag": "2"}
    assert call(kms, "DeleteUserIdentification", {"name": name}) == {}
    with pytest.raises(CallNotFound):
        call(kms, "GetUserIdentification", {"name": name})


def test_create_is_repeated_with_its_request_id(kms):
    repeat = {"request_id": str(uuid.uuid4())}
    limiter = {"operation_classes": [USE], "number": 1, "period": "RATE_PERIOD_HOUR"}
    request = {"parent": ACME, "rate_limiter_id": "app", "rate_limiter": limiter} | repeat
    first = call(kms, "CreateRateLimiter", request)
    assert call(kms, "CreateRateLimiter", request) == first
    with pytest.raises(CallAlreadyExists):
        call(kms, "CreateRateLimiter", request | {"request_id": ""})
    named = {"user_identification_id": "user", "user_identification": {"kind": "KIND_ADDRESS"}}
    request = {"parent": ACME} | named | repeat
    assert call(kms, "CreateUserIdentification", request) == call(kms, "CreateUserIdentification", request)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"number": 0}, "number"),
        ({"number": 1_000_001}, "number"),
        ({"burst": 1_000_001}, "burst"),
        ({"period": 0}, "period"),
        ({"period": 9}, "period"),
        ({"operation_classes": []}, "operation_classes"),
        ({"operation_classes": [0]}, "operation_classes"),
        ({"operation_classes": [99]}, "operation_classes"),
        ({"user_identification": "user"}, "user_identification"),
        ({"value_number": 1}, "value_number"),
        ({"value_burst": 1}, "value_number"),
        ({"value_number": 1_000_001}, "value_number"),
        ({"value_number": 1, "value_burst": 1_000_001}, "value_burst"),
        ({"description": "d" * 2049}, "description"),
    ],
)
def test_limiter_that_is_none_is_refused_with_its_field(kms, fields, field):
    with pytest.raises(CallInvalid) as caught:
        kms.add_limiter("app", **fields)
    assert [name for name, _ in caught.value.violations] == [field]


@pytest.mark.parametrize(
    ("kind", "header", "field"),
    [
        ("UNSPECIFIED", "", "kind"),
        ("HEADER", "", "header"),
        ("IDENTITY", "x-user", "header"),
        ("HEADER", "X", "header"),
    ],
)
def test_identification_that_is_none_is_refused_with_its_field(kms, kind, header, field):
    with pytest.raises(CallInvalid) as caught:
        kms.add_identification("user", kind, header)
    assert [name for name, _ in caught.value.violations] == [field]


def test_header_needs_a_rate_for_its_values_and_nothing_else_has_one(kms):
    by_header, by_address = (
        kms.add_identification("h", "HEADER", "x-user"),
        kms.add_identification("a", "ADDRESS"),
    )
    for fields in (
        {"user_identification": by_header},
        {"user_identification": by_address, "value_number": 1},
    ):
        with pytest.raises(CallInvalid) as caught:
            kms.add_limiter("app", **fields)
        assert caught.value.violations[0][0] == "value_number"
    made = kms.add_limiter("app", user_identification=by_header, value_number=2)
    with pytest.raises(CallInvalid):
        update_limiter(kms, made["name"], "userIdentification", user_identification=by_address)
    both = ("userIdentification", "valueNumber")
    assert update_limiter(kms, made["name"], *both, user_identification=by_address)["etag"] == "2"


def test_identification_that_is_not_there_or_is_another_tenant_s_is_not_named(kms):
    request = {"parent": "tenants/globex", "user_identification_id": "user"}
    described = {"user_identification": {"kind": "KIND_ADDRESS"}}
    theirs = call(kms, "CreateUserIdentification", request | described, "stranger")["name"]
    for named in (f"{IDENTIFICATION}nobody", theirs):
        with pytest.raises(CallNotFound):
            kms.add_limiter("app", user_identification=named)


def test_identification_is_not_deleted_while_a_limiter_names_it(kms):
    name = kms.add_identification("user", "ADDRESS")
    kms.add_limiter("app", user_identification=name)
    with pytest.raises(CallWrongState, match="rateLimiters/app"):
        call(kms, "DeleteUserIdentification", {"name": name})
    call(kms, "DeleteRateLimiter", {"name": f"{LIMITER}app"})
    assert call(kms, "DeleteUserIdentification", {"name": name}) == {}


def test_kind_is_fixed(kms):
    name = kms.add_identification("user", "ADDRESS")
    request = {"user_identification": {"name": name, "kind": "KIND_IDENTITY"}, "update_mask": "kind"}
    with pytest.raises(CallInvalid, match="update_mask"):
        call(kms, "UpdateUserIdentification", request)


@pytest.mark.parametrize("paths", [[], ["name"], ["createTime"], ["number", "other"]])
def test_mask_names_what_may_be_changed(kms, paths):
    name = kms.add_limiter("app")["name"]
    with pytest.raises(CallInvalid, match="update_mask"):
        update_limiter(kms, name, *paths, number=2)


def test_etag_guards_changes(kms):
    made = kms.add_limiter("app")
    update_limiter(kms, made["name"], "number", etag=made["etag"], number=2)
    for act in (
        lambda: update_limiter(kms, made["name"], "number", etag=made["etag"], number=3),
        lambda: call(kms, "DeleteRateLimiter", {"name": made["name"], "etag": made["etag"]}),
    ):
        with pytest.raises(CallConflict):
            act()
    assert call(kms, "GetRateLimiter", {"name": made["name"]})["number"] == 2


def outcomes(acts):
    """What each act gives, or the type of its failure, when all begin at once."""

    def outcome(act):
        try:
            return act()
        except CallFailed as failure:
            return type(failure)

    with ThreadPoolExecutor(len(acts)) as pool:
        return [pending.result() for pending in [pool.submit(outcome, act) for act in acts]]


def test_of_changes_with_one_etag_one_is_made(kms):
    made = kms.add_limiter("app")
    acts = [
        lambda number=number: update_limiter(kms, made["name"], "number", etag=made["etag"], number=number)
        for number in range(1, 9)
    ]
    kms.as_("admin")
    results = outcomes(acts)
    assert results.count(CallConflict) == 7
    [won] = [result for result in results if result is not CallConflict]
    assert call(kms, "GetRateLimiter", {"name": made["name"]}) == won


def test_identification_is_not_deleted_around_the_limiter_that_comes_to_name_it(kms):
    for number in range(10):
        name = kms.add_identification(f"u{number}", "ADDRESS")
        made, gone = outcomes(
            [
                lambda name=name, number=number: kms.add_limiter(f"l{number}", user_identification=name),
                lambda name=name: call(kms, "DeleteUserIdentification", {"name": name}),
            ]
        )
        assert (made is CallNotFound, gone is CallWrongState) in ((True, False), (False, True))


def test_tenant_has_so_many_and_no_more(kms):
    for number in range(MAX_LIMITERS):
        kms.add_limiter(f"l{number}")
    with pytest.raises(CallWrongState, match=f"there are {MAX_LIMITERS} rateLimiters already"):
        kms.add_limiter("another")
    call(kms, "DeleteRateLimiter", {"name": f"{LIMITER}l0"})
    kms.add_limiter("another")


@pytest.mark.parametrize("who", ["author", "key-admin", "key-user", "auditor", "web", "stranger", "operator"])
def test_limits_are_the_tenant_administrator_s_alone(kms, who):
    kms.add_limiter("app")
    limiter = {"operation_classes": [USE], "number": 1, "period": "RATE_PERIOD_HOUR"}
    for method, request in (
        ("CreateRateLimiter", {"parent": ACME, "rate_limiter_id": "mine", "rate_limiter": limiter}),
        ("GetRateLimiter", {"name": f"{LIMITER}app"}),
        ("ListRateLimiters", {"parent": ACME}),
        ("DeleteRateLimiter", {"name": f"{LIMITER}app"}),
        ("DeleteUserIdentification", {"name": f"{IDENTIFICATION}nobody"}),
    ):
        with pytest.raises(CallDenied):
            call(kms, method, request, who)


def test_every_change_is_in_the_audit_trail(kms):
    name = kms.add_limiter("audited")["name"]
    update_limiter(kms, name, "number", number=2)
    call(kms, "DeleteRateLimiter", {"name": name})
    written = [(event["action"], event["resource"]) for event in kms.events() if event["resource"] == name]
    assert written == [(f"{verb}RateLimiter", name) for verb in ("Create", "Update", "Delete")]
