"""The KMS's authorities are replaced while it serves, over mutual TLS, and nobody has to be there for it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from server.kms_harness import RunningKms
from server.rotation_desk import Desk, ask, enrolled, join_token, renewed
from server.watched_kms import watched_kms

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import generate_key_pair, parse_credentials, read_credentials, write_credentials
from kms.client.enrolment import presented_chain
from kms.client.errors import CallFailed, CallInvalid, CallUnauthenticated, CallUnavailable
from kms.errors import Unauthenticated
from kms.identity.authority import create_intermediate, create_root
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.identity.trust import fingerprint, load_authorities, pem_of
from kms.model.names import OperatorName


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[RunningKms]:
    with watched_kms(tmp_path) as watched:
        yield watched.kms


@pytest.fixture
def desk(kms: RunningKms) -> Desk:
    return Desk(kms)


def issuer_of(directory: Path) -> x509.Name:
    return load_authorities(read_credentials(directory).certificate_pem.decode())[0].issuer


def roots_of(directory: Path) -> set[bytes]:
    return set(map(fingerprint, load_authorities(read_credentials(directory).ca_pem.decode())))


def subject(pem: str) -> x509.Name:
    return load_authorities(pem)[0].subject


def server_issuer(kms: RunningKms) -> x509.Name:
    """Of what the server shows to new connections."""
    return load_authorities(presented_chain(kms.enrolment_target).decode())[0].issuer


def test_intermediate_is_replaced_under_open_connections_and_new_ones(kms: RunningKms, desk: Desk) -> None:
    old = enrolled(kms, "before")
    with open_channel(kms.target, old) as open_before:
        ask(Api(open_before))
        active = desk.activate()
        assert desk.states() == ["OLD", "ACTIVE"]
        ask(Api(open_before))
    assert server_issuer(kms) == subject(active["certificate_pem"])
    with open_channel(kms.target, old) as open_after:
        ask(Api(open_after))
    assert issuer_of(old) != subject(active["certificate_pem"])
    renewed(kms, old)
    assert issuer_of(old) == issuer_of(enrolled(kms, "after")) == subject(active["certificate_pem"])
    with open_channel(kms.target, old) as open_renewed:
        ask(Api(open_renewed))


def test_retired_intermediate_is_refused_at_once_on_open_connections_too(kms: RunningKms, desk: Desk) -> None:
    late, early = enrolled(kms, "late"), enrolled(kms, "early")
    first = desk.trust()["authorities"][0]["name"]
    desk.activate()
    renewed(kms, early)
    desk.renew("operator")
    with open_channel(kms.target, late) as left_behind, open_channel(kms.target, early) as renewed_one:
        ask(Api(left_behind))
        ask(Api(renewed_one))
        desk.retire(first, force=True)
        with pytest.raises(CallUnauthenticated, match="no authority this KMS trusts"):
            ask(Api(left_behind))
        ask(Api(renewed_one))
    with open_channel(kms.target, late) as again, pytest.raises(CallUnauthenticated):
        ask(Api(again))
    with pytest.raises(CallFailed):
        renewed(kms, late)


def test_dependants_are_told_before_they_are_cut_off(kms: RunningKms, desk: Desk) -> None:
    for name in ("one", "two"):
        enrolled(kms, name)
    first = desk.trust()["authorities"][0]["name"]
    desk.activate()
    desk.renew("operator")
    counted = desk.trust()["authorities"][0]["identity_count"]
    with pytest.raises(CallFailed, match=rf"^{counted} identities depend on it, .*use force") as refused:
        desk.retire(first)
    assert refused.value.reason == "WRONG_STATE"
    assert desk.states() == ["OLD", "ACTIVE"]
    assert desk.retire(first, force=True)["state"] == "STATE_RETIRED"


def test_root_is_replaced_and_clients_come_along_with_each_renewal(kms: RunningKms, desk: Desk) -> None:
    before, token = enrolled(kms, "before"), join_token(kms, "slow")
    old_root, first = desk.trust()["roots"][0]["name"], roots_of(before)
    published = desk.publish()
    both = first | {fingerprint(desk.roots[1].certificate)}

    desk.activate()
    assert desk.trust()["authorities"][1]["root"] == published["name"]
    with open_channel(kms.target, before) as knows_the_old_root_alone:
        ask(Api(knows_the_old_root_alone))
    assert roots_of(before) == first
    renewed(kms, before)
    assert roots_of(before) == both
    assert roots_of(enrolled(kms, "slow", token)) == both
    after = enrolled(kms, "after")

    desk.renew("operator", "admin")
    desk.retire(old_root, force=True)
    assert [item["state"] for item in desk.trust()["roots"]] == ["STATE_RETIRED", "STATE_TRUSTED"]
    for directory in (before, after):
        with open_channel(kms.target, directory) as channel:
            ask(Api(channel))
        renewed(kms, directory)
        assert roots_of(directory) == both - first
    late = enrolled(kms, "late")
    with open_channel(kms.target, late) as channel:
        ask(Api(channel))


def test_join_tokens_pin_the_root_that_serves(kms: RunningKms, desk: Desk) -> None:
    pinned = join_token(kms, "one")
    desk.publish()
    assert join_token(kms, "two")[-43:] == pinned[-43:]
    desk.activate()
    assert join_token(kms, "three")[-43:] != pinned[-43:]
    desk.renew("operator")
    desk.retire(desk.trust()["roots"][0]["name"], force=True)
    with pytest.raises(Unauthenticated, match="do not send it the token"):
        enrolled(kms, "one", pinned)


def test_who_was_not_told_of_the_new_root_counts_when_the_old_one_is_retired(
    kms: RunningKms, desk: Desk
) -> None:
    old_root = desk.trust()["roots"][0]["name"]
    desk.activate()
    uninformed = enrolled(kms, "uninformed")
    desk.publish()
    desk.activate()
    desk.renew("operator")
    with pytest.raises(CallFailed, match="identities depend on it"):
        desk.retire(old_root)
    desk.retire(old_root, force=True)
    with open_channel(kms.target, uninformed) as channel, pytest.raises(CallUnavailable):
        ask(Api(channel))


def test_every_step_can_be_repeated(desk: Desk) -> None:
    prepared = desk.prepare()
    assert desk.prepare() == prepared
    certificate = desk.signed(prepared)
    request = {"name": prepared["name"], "certificate_pem": certificate}
    active = desk.call("ActivateIdentityAuthority", **request)
    assert desk.call("ActivateIdentityAuthority", **request) == active
    desk.renew("operator")
    first = desk.trust()["authorities"][0]["name"]
    retired = desk.retire(first, force=True)
    assert desk.retire(first) == retired
    pem = desk.new_root()
    published = desk.call("PublishIdentityRoot", certificates_pem=pem)
    assert desk.call("PublishIdentityRoot", certificates_pem=pem) == published


def test_what_was_prepared_and_is_not_wanted_is_forgotten_with_its_key(kms: RunningKms, desk: Desk) -> None:
    prepared = desk.prepare()
    assert desk.retire(prepared["name"])["state"] == "STATE_RETIRED"
    identifier = prepared["name"].rpartition("/")[2]
    assert kms.vault.store.get("authorityKey", identifier) is None
    assert desk.prepare()["name"] != prepared["name"]


def test_the_key_of_an_authority_is_gone_when_it_issues_no_more(kms: RunningKms, desk: Desk) -> None:
    first = desk.trust()["authorities"][0]["name"].rpartition("/")[2]
    assert kms.vault.store.get("authorityKey", first) is not None
    desk.activate()
    assert kms.vault.store.get("authorityKey", first) is None


def test_only_a_certificate_of_a_trusted_root_for_the_prepared_key_is_activated(desk: Desk) -> None:
    prepared = desk.prepare()
    stranger = create_root("kms.test", datetime.now(UTC))
    refused = {
        "no root that is trusted": desk.signed(prepared, stranger),
        "its subject": desk.roots[0].certificate_pem().decode(),
        "holds 0 certificates": "nonsense",
        "holds 2 certificates": desk.signed(prepared) * 2,
    }
    for words, pem in refused.items():
        with pytest.raises(CallInvalid, match=words):
            desk.call("ActivateIdentityAuthority", name=prepared["name"], certificate_pem=pem)
    assert desk.states() == ["ACTIVE", "PREPARED"]


def test_operators_bring_roots_and_cannot_make_them(desk: Desk) -> None:
    mine = create_root("kms.test", datetime.now(UTC)).certificate_pem().decode()
    for pem in (mine, mine * 2):
        with pytest.raises(CallInvalid):
            desk.call("PublishIdentityRoot", certificates_pem=pem)
    assert len(desk.trust()["roots"]) == 1


def test_retired_root_is_not_published_again(kms: RunningKms, desk: Desk) -> None:
    pem = desk.new_root()
    desk.call("PublishIdentityRoot", certificates_pem=pem)
    desk.activate(desk.roots[0])
    desk.renew("operator")
    second = desk.trust()["roots"][1]["name"]
    desk.retire(second, force=True)
    with pytest.raises(CallFailed, match="retired, for good"):
        desk.call("PublishIdentityRoot", certificates_pem=pem)


def test_with_the_old_root_there_is_room_for_the_next(desk: Desk) -> None:
    desk.publish()
    desk.activate()
    desk.renew("operator")
    with pytest.raises(CallFailed, match="retire the older one first"):
        desk.publish()
    desk.retire(desk.trust()["roots"][0]["name"], force=True)
    desk.roots.pop()
    assert desk.publish()["state"] == "STATE_TRUSTED"


@pytest.mark.parametrize("through_an_intermediate", [True, False])
def test_who_has_the_roots_key_alone_becomes_nobody(
    kms: RunningKms, desk: Desk, through_an_intermediate: bool
) -> None:
    """TLS believes what he signs; the KMS accepts leaves of intermediates whose keys it made."""
    root, pair = desk.roots[0], generate_key_pair()
    forger = create_intermediate(root, datetime.now(UTC)) if through_an_intermediate else root
    operator = Grant(OperatorName("root"), roles=frozenset({"operator"}))
    leaf = forger.issue(verify_csr(pair.csr), operator, timedelta(hours=1), datetime.now(UTC))
    chain = pem_of(leaf) + (pem_of(forger.certificate) if through_an_intermediate else "")
    directory = kms.directory / "forger"
    write_credentials(directory, parse_credentials(pair.key_pem, chain.encode(), root.certificate_pem()))
    with (
        open_channel(kms.target, directory) as channel,
        pytest.raises(CallUnauthenticated, match="no authority this KMS trusts"),
    ):
        Api(channel).call("TenantService", "ListTenants", {})
