"""Nobody reaches into another tenant, and nobody unknown reaches a servicer: every method that is served.

The methods are those that the running listeners were given, the requests made from their descriptors; a new
method is in the walk by being served, and fails it if it is not refused as the others are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from server.asking import OK, Outcome, ask
from server.made_requests import attempts
from server.server_harness import Authority, write_credentials
from server.tenant_walk import (
    DAY,
    DENIED,
    MISSING,
    OF_ALL_OF_A_TENANT,
    OF_NO_TENANT,
    REAL,
    UNAUTHENTICATED,
    UNAVAILABLE,
    admin,
    asked,
    furnish,
    get_tenant,
    texts,
)
from server.watched_kms import WatchedKms, watched_kms

from kms.client import api
from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.credentials import read_credentials


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedKms]:
    """Tenant acme has one of everything, by the name `real`; globex's people have all roles."""
    with watched_kms(tmp_path_factory.mktemp("watched")) as watched:
        furnish(watched)
        yield watched


def refused(watched: WatchedKms, who: str, identifier: str) -> dict[str, Outcome]:
    """How each method ends for that caller."""
    with open_channel(watched.kms.target, watched.kms.directory / "callers" / who) as channel:
        return asked(channel, watched.main, identifier)


def test_the_walk_is_of_all_that_is_served(watched: WatchedKms) -> None:
    served = {path.split("/")[1] for path in (*watched.main.methods, *watched.enrolment.methods)}
    assert {f"kms.v1.{name}" for name in api._MODULES} <= served
    with open_channel(watched.kms.target, watched.kms.credentials("admin")) as channel:
        get_tenant(channel)
    assert "/kms.v1.TenantService/GetTenant" in watched.main.reached


@pytest.mark.parametrize("identifier", [REAL, MISSING])
def test_an_identity_of_another_tenant_is_denied_everything(watched: WatchedKms, identifier: str) -> None:
    before = len(watched.kms.events())
    outcomes = refused(watched, "mallory", identifier)
    told = {name: (item.code, item.text, item.reason) for name, item in outcomes.items()}
    assert told == dict.fromkeys(outcomes, DENIED)
    decided = {event["request_id"]: event for event in watched.kms.events()[before:]}
    for name, outcome in outcomes.items():
        if outcome.request_id:
            assert decided[outcome.request_id]["decision"] == "DENY", name


@pytest.mark.parametrize("who", ["mallory", "nobody"])
def test_missing_and_forbidden_differ_in_nothing_but_the_request_id(watched: WatchedKms, who: str) -> None:
    there, missing = (refused(watched, who, identifier) for identifier in (REAL, MISSING))
    assert {name: (item.said(), item.has_receipt) for name, item in there.items()} == {
        name: (item.said(), item.has_receipt) for name, item in missing.items()
    }
    open_to_all = OF_ALL_OF_A_TENANT if who == "nobody" else set()
    assert {name for name, item in there.items() if item.code is OK} == open_to_all
    assert len({item.said() for name, item in there.items() if name not in open_to_all}) == 1
    ids = [item.request_id for item in (*there.values(), *missing.values()) if item.request_id]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", OF_NO_TENANT)
def test_what_names_no_tenant_is_answered_to_whoever_has_a_certificate(
    watched: WatchedKms, path: str
) -> None:
    [attempt] = attempts(watched.main.methods[path], ())
    with open_channel(watched.kms.target, watched.kms.directory / "callers" / "mallory") as channel:
        assert ask(channel, attempt).code == OF_NO_TENANT[path]


@dataclass(frozen=True)
class Unknown:
    """A caller whom nobody knows: how he connects, and how far he gets."""

    connect: Callable[[WatchedKms, Path], grpc.Channel]
    code: grpc.StatusCode


def without_certificate(watched: WatchedKms, directory: Path) -> grpc.Channel:
    root = read_credentials(watched.kms.credentials("admin")).ca_pem
    return open_enrolment_channel(watched.kms.target, root)


def expired(watched: WatchedKms, directory: Path) -> grpc.Channel:
    watched.kms.issue(admin("expired"), directory, age=2 * DAY)
    return open_channel(watched.kms.target, directory)


def expired_since_it_connected(watched: WatchedKms, directory: Path) -> grpc.Channel:
    watched.kms.issue(admin("expiring"), directory)
    channel = open_channel(watched.kms.target, directory)
    get_tenant(channel)
    watched.kms.offset[0] = DAY + timedelta(seconds=1)
    return channel


def revoked_since_it_connected(watched: WatchedKms, directory: Path) -> grpc.Channel:
    watched.kms.issue(admin("revoked"), directory)
    channel = open_channel(watched.kms.target, directory)
    get_tenant(channel)
    name = str(admin("revoked").identity)
    watched.kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": name})
    return channel


def self_signed(watched: WatchedKms, directory: Path) -> grpc.Channel:
    root = read_credentials(watched.kms.credentials("admin")).ca_pem
    write_credentials(directory, *Authority("mallory's own").issue("mallory"), root)
    return open_channel(watched.kms.target, directory)


# UNAVAILABLE without a request id: the handshake failed.
UNKNOWN = (
    Unknown(without_certificate, UNAVAILABLE),
    Unknown(expired, UNAVAILABLE),
    Unknown(expired_since_it_connected, UNAUTHENTICATED),
    Unknown(revoked_since_it_connected, UNAUTHENTICATED),
    Unknown(self_signed, UNAVAILABLE),
)


@pytest.mark.parametrize("unknown", UNKNOWN, ids=lambda unknown: unknown.connect.__name__)
def test_no_call_of_the_unknown_reaches_a_servicer(
    watched: WatchedKms, unknown: Unknown, tmp_path: Path
) -> None:
    methods = watched.main.methods.values()
    walked = [attempt for method in methods for attempt in attempts(method, texts(REAL))]
    with unknown.connect(watched, tmp_path / "unknown") as channel:
        watched.main.reached.clear()
        try:
            outcomes = {str(attempt): ask(channel, attempt) for attempt in walked}
        finally:
            watched.kms.offset[0] = timedelta(0)
    assert {item.code for item in outcomes.values()} == {unknown.code}
    assert {bool(item.request_id) for item in outcomes.values()} == {unknown.code is UNAUTHENTICATED}
    assert watched.main.reached == []


def test_enrolment_listener_serves_what_strangers_may_call_alone(watched: WatchedKms, tmp_path: Path) -> None:
    served = {path.split("/")[1] for path in watched.enrolment.methods}
    assert served == {"kms.v1.EnrolmentService", "kms.v1.UnlockService"}
    root = read_credentials(watched.kms.credentials("admin")).ca_pem
    with open_enrolment_channel(watched.kms.enrolment_target, root) as channel:
        outcomes = {
            path: ask(channel, attempt).code
            for path, method in watched.main.methods.items()
            for attempt in attempts(method, texts(REAL))
        }
    assert outcomes == dict.fromkeys(watched.main.methods, grpc.StatusCode.UNIMPLEMENTED)
    assert watched.enrolment.reached == []


def test_methods_for_strangers_are_not_on_the_main_listener(watched: WatchedKms) -> None:
    with open_channel(watched.kms.target, watched.kms.credentials("admin")) as channel:
        for method in watched.enrolment.methods.values():
            [attempt] = attempts(method, ())
            assert ask(channel, attempt).code == grpc.StatusCode.UNIMPLEMENTED
