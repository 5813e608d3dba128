"""`kms verify-store`: each invariant is broken once, some by whoever holds the root of trust, and named."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from main.spoiled_store import NOTHING, Place, an_event
from server.backup_harness import Made
from server.kms_harness import ACME, PROD, running_kms

from kms.audit.export import export
from kms.audit.verify import ChainBroken
from kms.crypto.key_hierarchy import ROOT_WRAPPED
from kms.errors import ConfigError, StoreTampered
from kms.main.configuration import Configuration
from kms.main.verifying import MAX_FINDINGS, verify_store
from kms.model.finding import Invariant
from kms.services.backup_kinds import LEFT_OUT
from kms.services.store_check import OTHERS
from kms.storage.interface import MISSING, Put

ENC, SIGN, MAC = (f"{PROD}/keys/{key}" for key in ("enc", "sign", "mac"))
GLOBEX = "tenants/globex"
BLINDFOLD = f"{ACME}/blindfoldKeys/0000000001"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Below it, `kms` and `outside` of a KMS that is stopped and has something of everything."""
    directory = tmp_path_factory.mktemp("sound")
    with running_kms(directory) as kms:
        Made(kms)
        kms.as_("key-admin").call("ImportService", "CreateImportKey", {"parent": PROD})
        token = {"parent": PROD, "join_token": {"identity": f"{PROD}/identities/late"}}
        kms.as_("admin").call("IdentityService", "CreateJoinToken", token)
        doomed = {"name": f"{MAC}/versions/1"}
        kms.as_("key-admin").call("KeyService", "ScheduleDestroyKeyVersion", doomed)
        assert kms.loop.run(kms.parts.upkeep.destroy_due(kms.now + timedelta(days=200))) == 1
        doomed = {"name": f"{SIGN}/versions/1"}
        kms.as_("key-admin").call("KeyService", "ScheduleDestroyKeyVersion", doomed)
        kms.as_("operator").call("TenantService", "ScheduleDestroyTenant", {"name": GLOBEX})
        later = kms.now + timedelta(days=200)
        assert kms.loop.run(kms.parts.tenant_destruction.destroy_due(later)) == 1
    return directory


@pytest.fixture
def place(sound: Path, tmp_path: Path) -> Place:
    for part in ("kms", "outside"):
        shutil.copytree(sound / part, tmp_path / part)
    return Place(
        replace(
            Configuration.load(tmp_path / "kms"),
            checkpoint_file=tmp_path / "outside" / "checkpoint.json",
        )
    )


def test_a_sound_store_is_found_sound_and_is_not_changed(place: Place) -> None:
    before = place.configuration.store_path.read_bytes()
    found = place.verify()
    assert (found.findings, found.faults, found.live) == ((), 0, False)
    assert min(found.sizes.rows, found.sizes.events, found.sizes.checkpoints) > 30
    assert place.configuration.store_path.read_bytes() == before


def test_every_kind_of_row_is_looked_at() -> None:
    assert OTHERS.keys() | ROOT_WRAPPED.keys() == LEFT_OUT.keys()


class Corruption(NamedTuple):
    """`spoil` breaks an invariant; one of the findings, as a line, is to match `named`."""

    why: str
    spoil: Callable[[Place], object]
    named: str


def edit(sql: str, *parameters: object) -> Callable[[Place], object]:
    return lambda place: place.edit(sql, *parameters)


def rewrite(kind: str, name: str, **fields: Any) -> Callable[[Place], object]:
    return lambda place: place.rewrite(kind, name, **fields)


def replaced(kind: str, name: str, body: bytes = b"\x01" * 61) -> Callable[[Place], object]:
    return lambda place: place.replace(kind, name, body)


def remove(kind: str, name: str) -> Callable[[Place], object]:
    return lambda place: place.remove(kind, name)


def add(kind: str, name: str) -> Callable[[Place], object]:
    return lambda place: place.commit(Put(kind, name, b"{}", MISSING))


def say(action: str, resource: str, **details: str) -> Callable[[Place], object]:
    """Something is in the audit chain that never happened."""
    return lambda place: place.commit(action=action, resource=resource, **details)


def move_material(place: Place) -> None:
    """The wrapped bytes of one key in the row of another."""
    other = place.fields("keyVersions", version(f"{PROD}/keys/raw"))
    place.rewrite("keyVersions", version(ENC), wrapped_key=other["wrapped_key"])


def swap_public_keys(place: Place) -> None:
    other = place.fields("keyVersions", version(f"{PROD}/keys/rsa"))
    place.rewrite("keyVersions", version(SIGN), public_key=other["public_key"])


def spoil_signer(place: Place) -> None:
    place.rewrite("documentSigners", place.names("documentSigners")[0], wrapped_seed=NOT_ITS_OWN)


def spoil_import_key(place: Place) -> None:
    place.rewrite("importKeys", place.names("importKeys")[0], wrapped_key=NOT_ITS_OWN)


def spoil_authority_key(place: Place) -> None:
    place.replace("authorityKey", place.names("authorityKey")[0], b"\x01" * 61)


def lose_authority_key(place: Place) -> None:
    place.remove("authorityKey", place.names("authorityKey")[0])


def forget(target: str) -> Callable[[Place], object]:
    return lambda place: place.remove("due", place.names("due", f"/{target}")[0])


def spoil_agenda(place: Place) -> None:
    place.replace("due", place.names("due")[0], b"{}")


def lose_the_checkpoint_file(place: Place) -> None:
    place.configuration.checkpoint_file.unlink()


def put_back(place: Place) -> None:
    """The store, but not the checkpoint file."""
    saved = place.configuration.store_path.read_bytes()
    place.commit()
    place.configuration.store_path.write_bytes(saved)


def spoil_the_header(place: Place) -> None:
    """How many pages of the file are free, by itself (https://www.sqlite.org/fileformat.html, 1.3)."""
    with place.configuration.store_path.open("r+b") as file:
        file.seek(36)
        file.write(b"\0\0\0\x63")


def version(key: str, number: int = 1) -> str:
    return f"{key}/versions/{number:010d}"


NOT_ITS_OWN = "b2xk"
NEXT_YEAR = "2030-01-01T00:00:00+00:00"
BY_THE_FILE = [
    ("row", edit("UPDATE rows SET body = x'00' WHERE name = ?", ENC), f"ROW: keys {ENC} fails its auth"),
    ("counter", edit("UPDATE rows SET counter = 9 WHERE name = 'kms'"), "ROW: settings kms fails"),
    ("mac", edit("UPDATE rows SET mac = zeroblob(32) WHERE name = ?", ENC), f"ROW: keys {ENC} fails"),
    ("row gone", edit("DELETE FROM rows WHERE name = ?", ENC), "STATE: the rows .* newest state digest"),
    ("header", spoil_the_header, "FILE: the store's file .*[Ff]reelist"),
    ("event", edit("UPDATE events SET body = x'00' WHERE sequence = 7"), "CHAIN: .* event 7 was changed"),
    ("event gone", edit("DELETE FROM events WHERE sequence = 7"), "CHAIN: .* event 7 is missing"),
    ("event's mac", edit("UPDATE events SET mac = x'00' WHERE sequence = 7"), "CHAIN: .* event 7 fails"),
    ("cut off", edit("DELETE FROM events WHERE sequence > 20"), "CHECKPOINT: checkpoint .* is missing"),
    ("cut off", edit("DELETE FROM events WHERE sequence > 20"), "CHECKPOINT: the checkpoint file .* ends"),
    (
        "checkpoint",
        edit("UPDATE checkpoints SET line = x'00' WHERE sequence = 2"),
        "CHECKPOINT: checkpoint 2",
    ),
    (
        "moved",
        edit("UPDATE checkpoints SET line = (SELECT line FROM checkpoints LIMIT 1) WHERE sequence > 5"),
        "CHECKPOINT: .* another event's",
    ),
    ("outside gone", lose_the_checkpoint_file, "CHECKPOINT: the checkpoint file .* is missing"),
    ("put back", put_back, "CHECKPOINT: the checkpoint file .* ends before event"),
]
BY_THE_ROOT_OF_TRUST = [
    ("bytes of another", move_material, f"WRAPPING: keyVersions {version(ENC)} .* does not open"),
    (
        "Blindfold key's bytes",
        rewrite("blindfoldKeys", BLINDFOLD, wrapped_key=NOT_ITS_OWN),
        f"WRAPPING: blindfoldKeys {BLINDFOLD}",
    ),
    ("signer's bytes", spoil_signer, "WRAPPING: documentSigners .* does not open"),
    ("import key's bytes", spoil_import_key, "WRAPPING: importKeys .* does not open"),
    ("tenant key's bytes", replaced("tenantKey", ACME), f"WRAPPING: tenantKey {ACME} is a wrapped key"),
    ("authority's bytes", spoil_authority_key, "WRAPPING: authorityKey ca-.* is a wrapped key"),
    ("authority's key gone", lose_authority_key, "REFERENCE: authorityKey ca-.* is missing"),
    (
        "key of no authority",
        add("authorityKey", "ca-other"),
        "TOMBSTONE: authorityKey ca-other is left of an authority",
    ),
    ("authorities", remove("authorities", "online"), "REFERENCE: authorities online is missing"),
    ("public key", swap_public_keys, f"FORM: keyVersions {version(SIGN)} does not have its public key"),
    ("tenant key gone", remove("tenantKey", ACME), f"REFERENCE: tenantKey {ACME} is missing"),
    (
        "ENABLED to be destroyed",
        rewrite("keyVersions", version(ENC), destroy_time=NEXT_YEAR),
        f"LIFE_CYCLE: keyVersions {version(ENC)} is ENABLED with a wrong time",
    ),
    (
        "to be destroyed never",
        rewrite("keyVersions", version(SIGN), destroy_time=None),
        f"LIFE_CYCLE: keyVersions {version(SIGN)} is DESTROY_SCHEDULED with a wrong time",
    ),
    (
        "destroyed at no time",
        rewrite("keyVersions", version(MAC), destroy_event_time=None),
        f"LIFE_CYCLE: keyVersions {version(MAC)} is DESTROYED with a wrong time",
    ),
    (
        "ENABLED without bytes",
        rewrite("keyVersions", version(ENC), wrapped_key=""),
        f"LIFE_CYCLE: keyVersions {version(ENC)} is ENABLED without key material",
    ),
    (
        "COMPROMISED by nobody",
        rewrite("keyVersions", version(ENC), state="COMPROMISED"),
        "LIFE_CYCLE: .* without having been marked",
    ),
    (
        "marked and ENABLED",
        rewrite("keyVersions", version(ENC), compromised=True),
        "LIFE_CYCLE: .* although it was marked",
    ),
    (
        "Blindfold key without bytes",
        rewrite("blindfoldKeys", BLINDFOLD, wrapped_key=""),
        f"LIFE_CYCLE: blindfoldKeys {BLINDFOLD} is ENABLED without key material",
    ),
    (
        "too many uses",
        rewrite("keyUses", version(ENC), reserved=2**32 + 1),
        f"LIFE_CYCLE: keyUses {version(ENC)} counts more uses",
    ),
    ("no state", rewrite("keyVersions", version(ENC), state="LOST"), "FORM: keyVersions .* cannot be read"),
    ("lowered", rewrite("keys", ENC, sensitivity="LOW"), f"SENSITIVITY: keys {ENC} is LOW, below its"),
    (
        "version lowered",
        rewrite("keyVersions", version(ENC, 2), sensitivity="LOW"),
        f"SENSITIVITY: keyVersions {version(ENC, 2)} is LOW, below an older version",
    ),
    ("version gone", remove("keyVersions", version(ENC)), "REFERENCE: keyVersions .* follows version 0"),
    ("last one gone", remove("keyVersions", version(ENC, 2)), f"REFERENCE: keys {ENC} refers to"),
    ("uncounted", rewrite("keys", ENC, last_version=1), f"REFERENCE: keys {ENC} has version 2, and counts 1"),
    ("policy gone", remove("kmsPolicies", f"{PROD}/kmsPolicies/keys"), "REFERENCE: .* refers to"),
    ("namespace gone", remove("namespaces", PROD), f"REFERENCE: keys {ENC} refers to {PROD}, which"),
    ("tenant gone", remove("tenants", ACME), f"REFERENCE: .* refers to {ACME}, which is missing"),
    ("destruction forgotten", forget(SIGN), f"REFERENCE: {version(SIGN)} .* nothing will do"),
    ("rotation forgotten", forget(ENC), f"REFERENCE: {ENC} .* nothing will do"),
    ("kind", add("thing", "a"), "FORM: thing a is of a kind that this version does not know"),
    ("settings", replaced("settings", "kms", b"{}"), "FORM: settings kms cannot be read"),
    ("agenda", spoil_agenda, "FORM: due .* cannot be read"),
    (
        "destroyed version back",
        say("Kms.DestroyKeyVersion", ENC, version="1"),
        f"TOMBSTONE: keyVersions {version(ENC)} was destroyed",
    ),
    (
        "destroyed Blindfold key back",
        say("Kms.DestroyBlindfoldKey", f"{ACME}/blindfoldKeys/1"),
        f"TOMBSTONE: blindfoldKeys {BLINDFOLD} was destroyed",
    ),
    ("tenant back", say("Kms.DestroyTenantKey", ACME), f"TOMBSTONE: tenantKey {ACME} was destroyed"),
    ("left of a tenant", add("namespaces", f"{GLOBEX}/namespaces/x"), f"TOMBSTONE: namespaces {GLOBEX}/"),
]
CORRUPTIONS = [Corruption(*case) for case in (*BY_THE_FILE, *BY_THE_ROOT_OF_TRUST)]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.why)
def test_what_is_wrong_is_named(place: Place, corruption: Corruption) -> None:
    corruption.spoil(place)
    lines = [
        f"{finding.invariant}: {finding.subject} {finding.problem}" for finding in place.verify().findings
    ]
    assert [line for line in lines if re.match(corruption.named, line)], lines


def test_one_fault_does_not_hide_another(place: Place) -> None:
    place.rewrite("keys", ENC, sensitivity="LOW")
    place.edit("UPDATE rows SET mac = zeroblob(32) WHERE name = ?", f"{PROD}/keys/raw")
    place.edit("UPDATE events SET mac = zeroblob(32) WHERE sequence IN (5, 9)")
    found = place.verify()
    assert {finding.invariant for finding in found.findings} >= {
        Invariant.ROW,
        Invariant.CHAIN,
        Invariant.SENSITIVITY,
    }
    assert [finding.problem for finding in found.findings if finding.invariant is Invariant.CHAIN] == [
        "event 5 fails its authentication",
        "event 9 fails its authentication",
    ]


def test_findings_are_counted_beyond_those_that_are_kept(place: Place) -> None:
    rows = [Put("thing", f"t{number}", b"", MISSING) for number in range(MAX_FINDINGS + 5)]
    place.commit(*rows)
    found = place.verify()
    assert (len(found.findings), found.faults) == (MAX_FINDINGS, MAX_FINDINGS + 5)


def test_versions_that_a_restore_brought_back_are_no_fault(place: Place) -> None:
    place.commit(action="Kms.DestroyKeyVersion", resource=ENC, version="1")
    place.commit(action="RestoreTenant", tenant="acme", verify_only="true")
    assert place.verify().faults == 1
    place.commit(action="RestoreTenant", tenant="acme", verify_only="false")
    assert place.verify().faults == 0


def test_a_live_store_is_verified_while_it_is_written(place: Place) -> None:
    with place.opened() as vault:
        vault.store.commit([], [an_event("Test.Act")] * 100).result(20)
        found = place.verify()
        assert (found.live, found.faults) == (True, 0)
        vault.store.commit([Put("thing", "a", b"", MISSING)], [an_event("Test.Act")]).result(20)
        assert [finding.subject for finding in place.verify().findings] == ["thing a"]


def test_no_server_starts_while_a_stopped_store_is_verified(place: Place) -> None:
    def begin(total: int) -> Callable[[int], None]:
        with pytest.raises(ConfigError), place.opened():
            pass
        return lambda count: None

    assert verify_store(place.configuration, NOTHING, begin).faults == 0
    with place.opened():
        pass


def test_what_is_no_store_is_refused(place: Place) -> None:
    place.configuration.store_path.write_bytes(b"not a database, " * 1000)
    with pytest.raises(StoreTampered):
        place.verify()
    place.configuration.store_path.unlink()
    with pytest.raises(ConfigError):
        place.verify()


def test_progress_adds_up(place: Place) -> None:
    looked: list[int] = []
    totals: list[int] = []

    def begin(total: int) -> Callable[[int], None]:
        totals.append(total)
        return looked.append

    verify_store(place.configuration, NOTHING, begin)
    assert totals == [sum(looked)]


def test_destructions_after_an_older_copy_are_known_from_trails_kept_elsewhere(
    place: Place, tmp_path: Path
) -> None:
    saved = place.configuration.store_path.read_bytes()
    place.commit(action="Kms.DestroyKeyVersion", resource=ENC, version="1")
    with place.opened() as vault:
        vault.store.checkpoint().result(20)
        trail = tmp_path / "trail"
        trail.write_text("".join(f"{line}\n" for line in export(vault.store)))
    place.configuration.store_path.write_bytes(saved)
    [rolled_back] = place.verify().findings
    assert rolled_back.invariant is Invariant.CHECKPOINT
    found = verify_store(place.configuration, NOTHING, lambda total: lambda count: None, [trail]).findings
    assert [finding.subject for finding in found if finding.invariant is Invariant.TOMBSTONE] == [
        f"keyVersions {version(ENC)}"
    ]
    trail.write_text(trail.read_text().replace("ALLOW", "DENY", 1))
    with pytest.raises(ChainBroken):
        verify_store(place.configuration, NOTHING, lambda total: lambda count: None, [trail])


def test_trail_of_the_same_history_adds_nothing(place: Place, tmp_path: Path) -> None:
    place.commit(action="Kms.DestroyKeyVersion", resource=ENC, version="1")
    place.commit(action="RestoreTenant", tenant="acme", verify_only="false")
    with place.opened() as vault:
        vault.store.checkpoint().result(20)
        trail = tmp_path / "trail"
        trail.write_text("".join(f"{line}\n" for line in export(vault.store)))
    found = verify_store(place.configuration, NOTHING, lambda total: lambda count: None, [trail])
    assert found.findings == ()
