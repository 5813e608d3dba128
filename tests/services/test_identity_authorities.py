"""Replacing the KMS's own authorities: what is counted, what is written, and what races with it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from services.conftest import ADMIN, OPERATOR, START, Kms
from services.root_keeper import RootKeeper

from kms.client.credentials import generate_key_pair
from kms.errors import Denied, InvalidField, NotFound, Unauthenticated, WrongState
from kms.identity.authority import create_root
from kms.identity.corporate import parse_bundle
from kms.identity.grant import Grant
from kms.identity.issued import IssuedCertificate
from kms.model.caller import Caller
from kms.model.identity_authorities import AuthorityEntry
from kms.model.names import IdentityAuthorityName, IdentityName, IdentityRootName
from kms.model.records import IdentityRecord
from kms.services.dependants import dependants, dependants_of_each
from kms.services.identities import Identities
from kms.services.identity_trust import IdentityTrust

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def keeper(kms: Kms, tmp_path: Path) -> RootKeeper:
    return RootKeeper(kms, tmp_path / "kms")


def issue(kms: Kms, name: str) -> IdentityName:
    identity = IdentityName("acme", "prod", name)
    issued, change = kms.parts.identities.issue_first(generate_key_pair().csr, Grant(identity), kms.now)
    event = kms.call(ADMIN).event("Enrol", str(identity), "ALLOW", details={"serial": issued.issued.serial})
    kms.vault.store.commit([change], [event]).result()
    return identity


def certificates(kms: Kms, identity: IdentityName) -> list[IssuedCertificate]:
    record = kms.parts.repository.require(IdentityRecord, str(identity)).record
    return list(map(IssuedCertificate.parse, record.certificates))


def test_what_issued_a_certificate_is_known_of_it(kms: Kms, keeper: RootKeeper) -> None:
    web = issue(kms, "web")
    second = keeper.activate()
    issue(kms, "web")
    assert [item.authority for item in certificates(kms, web)] == [keeper.first, second.id]


def test_identities_are_counted_once_and_by_what_holds_still(kms: Kms, keeper: RootKeeper) -> None:
    before = dependants_of_each(kms.parts.repository, kms.now)[keeper.first]
    for name in ("web", "web", "db"):
        issue(kms, name)
    repository, first = kms.parts.repository, frozenset({keeper.first})
    counted = dependants(repository, first, None, kms.now)
    assert (counted.identities, counted.until) == (before + 2, kms.now + DAY)
    second = keeper.activate()
    issue(kms, "web")
    assert dependants(repository, first, None, kms.now).identities == before + 2
    assert dependants_of_each(repository, kms.now)[second.id] == 1
    kms.pass_time(DAY + SECOND)
    assert dependants(repository, first, None, kms.now).identities == 0


def test_a_revoked_identity_depends_on_nothing(kms: Kms, keeper: RootKeeper) -> None:
    before = dependants(kms.parts.repository, frozenset({keeper.first}), None, kms.now).identities
    web = issue(kms, "web")
    kms.run(kms.parts.identities.revoke(kms.call(ADMIN), web, "", ""))
    assert dependants(kms.parts.repository, frozenset({keeper.first}), None, kms.now).identities == before


def test_who_has_his_roots_from_before_a_time_depends_on_them(kms: Kms, keeper: RootKeeper) -> None:
    repository: Any = kms.parts.repository
    kms.pass_time(DAY + SECOND)
    issue(kms, "web")
    assert dependants(repository, frozenset(), kms.now, kms.now).identities == 1
    assert dependants(repository, frozenset(), kms.now - SECOND, kms.now).identities == 0


def test_retirement_waits_for_the_last_certificate_or_takes_force(kms: Kms, keeper: RootKeeper) -> None:
    keeper.activate()
    with pytest.raises(
        WrongState, match=r"identities depend on it, the last of them until 2026-03-02T12:00:00Z"
    ):
        keeper.retire(keeper.first)
    assert kms.last_event()["decision"] == "FAIL"
    kms.pass_time(DAY + SECOND)
    assert keeper.retire(keeper.first).state == "RETIRED"
    assert kms.last_event()["details"]["identities"] == "0"


def test_each_step_is_an_event_of_the_platform_that_names_it(kms: Kms, keeper: RootKeeper) -> None:
    begun = len(kms.events())
    entry = keeper.activate()
    keeper.publish()
    keeper.retire(keeper.first, force=True)
    told = [(item["action"], item["resource"], item["tenant"]) for item in kms.events()[begun:]]
    assert told == [
        ("PrepareIdentityAuthority", "", ""),
        ("ActivateIdentityAuthority", f"identityAuthorities/{entry.id}", ""),
        ("PublishIdentityRoot", "", ""),
        ("RetireIdentityAuthority", f"identityAuthorities/{keeper.first}", ""),
    ]


def test_what_is_not_there_is_not_found(kms: Kms, keeper: RootKeeper) -> None:
    call, parts = kms.call(OPERATOR), kms.parts.identity_authorities
    with pytest.raises(NotFound):
        kms.run(parts.retire(call, IdentityAuthorityName("ca-0"), force=False))
    with pytest.raises(NotFound):
        kms.run(parts.activate(call, IdentityAuthorityName("ca-0"), b""))
    with pytest.raises(NotFound):
        kms.run(parts.retire_root(call, IdentityRootName("root-0"), force=False))


def test_it_is_not_the_tenants_to_do(kms: Kms) -> None:
    with pytest.raises(Denied):
        kms.run(kms.parts.identity_authorities.prepare(kms.call(ADMIN)))


def test_nothing_is_issued_by_an_authority_that_was_replaced_meanwhile(
    kms: Kms, keeper: RootKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is made, then another authority becomes active, and only then it is to be written."""
    identities = kms.parts.identities
    grant = Grant(IdentityName("acme", "prod", "web"))
    token, _ = kms.run(identities.create_join_token(kms.call(ADMIN), grant, timedelta(minutes=5)))
    original, activated = Identities._enrolled, []

    def enrolled(self: Identities, *arguments: Any) -> Any:
        if not activated:
            with ThreadPoolExecutor(1) as other:
                activated.append(other.submit(keeper.activate).result().id)
        return original(self, *arguments)

    monkeypatch.setattr(Identities, "_enrolled", enrolled)
    issued = kms.run(
        identities.enrol(token, generate_key_pair().csr, address="", request_id="r", now=kms.now)
    )
    assert [issued.issued.authority] == activated


def test_a_caller_of_a_retired_authority_is_stopped_where_standing_is_asked_for(
    kms: Kms, keeper: RootKeeper
) -> None:
    caller = replace(ADMIN, authority=keeper.first)
    [required] = kms.parts.identity_trust.check(caller)
    assert required == kms.parts.identity_trust.current().row.require()
    assert kms.parts.identity_trust.check(ADMIN) == ()
    keeper.activate()
    keeper.retire(keeper.first, force=True)
    with pytest.raises(Unauthenticated, match="retired"):
        kms.parts.identity_trust.check(caller)


def test_nobody_retires_what_his_own_certificate_hangs_on(kms: Kms, keeper: RootKeeper) -> None:
    keeper.activate()
    himself: Caller = replace(OPERATOR, authority=keeper.first)
    with pytest.raises(WrongState, match="your own certificate"):
        keeper.retire(keeper.first, force=True, who=himself)


def test_an_authority_of_a_tenant_s_own_becomes_none_of_the_kmss(kms: Kms, keeper: RootKeeper) -> None:
    """It could otherwise be claimed before it is published, and TLS would take one for the other."""
    pem = keeper.new_root()
    claimed = parse_bundle(keeper.roots[-1].certificate_pem()).to_pem().decode()
    keeper.claim(claimed)
    with pytest.raises(InvalidField, match="tenants/acme/trustedAuthorities/corp"):
        kms.run(kms.parts.identity_authorities.publish_root(kms.call(OPERATOR), pem))


def test_what_is_trusted_is_there_after_a_restart(kms: Kms, keeper: RootKeeper) -> None:
    keeper.publish()
    entry: AuthorityEntry = keeper.activate()
    again = IdentityTrust(kms.parts.repository, kms.parts.keyring).current()
    assert (
        again.issuer.authority.certificate == kms.parts.identity_trust.current().issuer.authority.certificate
    )
    assert again.row.record.active == entry
    assert len(again.bundle.roots) == 2
    assert [item.subject for item in again.issuer.endorsements] == [again.bundle.roots[0].subject]


def test_adopted_root_issues_once_all_who_could_not_tell_have_been_told_of_it(
    kms: Kms, keeper: RootKeeper
) -> None:
    keeper.roots = [create_root("kms.test", kms.now)]
    pem = keeper.roots[0].certificate_pem()
    outcome = kms.parts.identity_authorities.adopt_root(pem, kms.now)
    kms.vault.store.commit(outcome.changes, [kms.call(ADMIN).event("Kms.Adopt", "", "ALLOW")]).result()
    trust = kms.parts.identity_trust
    assert trust.current().bundle.roots[-1] == keeper.roots[0].certificate
    with pytest.raises(WrongState, match=r"identities have not been told .* at 2026-03-02T12:00:00Z"):
        keeper.activate()
    kms.pass_time(DAY + SECOND)
    entry = keeper.activate()
    assert (entry.root, trust.current().issuer.endorsements) == (outcome.value.id, ())
    assert kms.parts.identity_authorities.adopt_root(pem, kms.now).changes == ()


def test_only_a_root_of_the_trust_domain_is_adopted(kms: Kms, keeper: RootKeeper) -> None:
    adopt = kms.parts.identity_authorities.adopt_root
    with pytest.raises(InvalidField, match="its subject"):
        adopt(create_root("other.example", kms.now).certificate_pem(), kms.now)
    with pytest.raises(InvalidField, match="holds 2 certificates"):
        adopt(keeper.new_root(), kms.now)
    keeper.roots.pop()
    keeper.publish()
    with pytest.raises(WrongState, match="2 roots are trusted already"):
        adopt(create_root("kms.test", kms.now).certificate_pem(), kms.now)


def test_the_end_of_all_issuing_moves_with_each_activation(kms: Kms, keeper: RootKeeper) -> None:
    trust = kms.parts.identity_trust
    assert trust.current().end == START + timedelta(days=365)
    kms.pass_time(timedelta(days=300))
    keeper.activate()
    assert trust.current().end == kms.now + timedelta(days=365)


def test_dates_are_those_of_the_call(kms: Kms, keeper: RootKeeper) -> None:
    assert keeper.activate().activate_time == START
