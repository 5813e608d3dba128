"""What was destroyed after a backup does not come back: exports of the audit chain say what that was."""

import shutil
from datetime import timedelta

import pytest
from server.backup_harness import PLAINTEXT, use
from server.kms_harness import ACME, KEY, configuration_in, running_kms, serving
from server.store_backup_harness import NOBODY, another_machine, restore_in, take_store

from blindfold._encoding import b64url
from kms.audit.export import export
from kms.audit.verify import ChainBroken
from kms.client.errors import CallWrongState
from kms.errors import ConfigError, LaterEventsUnknown
from kms.main.restoring import Later
from kms.main.verifying import verify_store
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.records import BlindfoldKeyRecord, KeyVersionRecord, PrimaryRecord, TenantRecord

GLOBEX = "tenants/globex"
VERSION = f"{ACME}/namespaces/prod/keys/enc/versions/0000000001"
BLINDFOLD = f"{ACME}/blindfoldKeys/0000000001"


class Aftermath:
    """A KMS with a backup, and what was destroyed since: a key version, a Blindfold key and a tenant."""

    def __init__(self, kms, path):
        self.kms, self.path = kms, path
        kms.allow_keys()
        kms.add_key()
        self.key = kms.make_key("enc")
        self.encrypted = use(kms, "Encrypt", name=self.key, plaintext=PLAINTEXT)
        self.wrapped = [
            encoded(self.record(KeyVersionRecord, VERSION).wrapped_key),
            encoded(self.record(BlindfoldKeyRecord, BLINDFOLD).wrapped_key),
            kms.vault.store.get("tenantKey", GLOBEX).body,
        ]
        self.backup = take_store(kms, path / "backup")
        self.destroy(kms.now + timedelta(days=40))
        kms.vault.store.checkpoint().result()
        self.trails = [self.export(tenant) for tenant in ("", "acme", "globex")]

    def record(self, record, row):
        return record.from_bytes(self.kms.vault.store.get(record.KIND, row).body)

    def destroy(self, later):
        kms = self.kms
        kms.add_key()
        keys, tenants = kms.as_("key-admin"), kms.as_("operator")
        keys.call("KeyService", "RotateKey", {"name": self.key})
        keys.call("KeyService", "ScheduleDestroyKeyVersion", {"name": f"{self.key}/versions/1"})
        keys.call("BlindfoldService", "ScheduleDestroyBlindfoldKey", {"name": KEY})
        tenants.call("TenantService", "ScheduleDestroyTenant", {"name": GLOBEX})
        for name, put in list(kms.parts.blindfold_keys.due(later)):
            what = "Kms.DestroyBlindfoldKey"
            event = AuditEvent(timestamp(later), what, "", name.tenant, str(name), "ALLOW")
            kms.vault.store.commit([put], [event]).result()
        kms.loop.run(kms.parts.upkeep.destroy_due(later))
        kms.loop.run(kms.parts.tenant_destruction.destroy_due(later))

    def export(self, tenant):
        trail = self.path / f"trail-{tenant}"
        trail.write_text("".join(f"{line}\n" for line in export(self.kms.vault.store, 0, tenant)))
        return trail


def encoded(wrapped):
    """As far as it lies in one page of the file."""
    return b64url(wrapped)[:80].encode()


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory):
    with running_kms(tmp_path_factory.mktemp("first")) as kms:
        yield Aftermath(kms, tmp_path_factory.mktemp("kept"))


@pytest.fixture
def place(aftermath, tmp_path):
    return another_machine(aftermath.kms, tmp_path / "second")


def store_of(place):
    return place / "kms" / "store.sqlite"


def keep_checkpoint(aftermath, place):
    """The machine's outside checkpoint, which is newer than the backup."""
    shutil.copy(
        aftermath.kms.directory / "outside" / "checkpoint.json", place / "outside" / "checkpoint.json"
    )


def test_what_trails_say_was_destroyed_is_destroyed_before_it_is_served(aftermath, place):
    keep_checkpoint(aftermath, place)
    restored = restore_in(place, aftermath.backup, later=Later(aftermath.trails))
    assert (restored.destroyed, restored.unknown) == (3, 0)
    with serving(place) as second:
        store = second.vault.store
        version = KeyVersionRecord.from_bytes(store.get(KeyVersionRecord.KIND, VERSION).body)
        blindfold = BlindfoldKeyRecord.from_bytes(store.get(BlindfoldKeyRecord.KIND, BLINDFOLD).body)
        tenant = TenantRecord.from_bytes(store.get(TenantRecord.KIND, GLOBEX).body)
        assert (version.state, blindfold.state, tenant.state) == ("DESTROYED",) * 3
        assert store.get("tenantKey", GLOBEX) is None
        assert PrimaryRecord.from_bytes(store.get(PrimaryRecord.KIND, ACME).body).version == 0
        with pytest.raises(CallWrongState):
            use(second, "Decrypt", name=aftermath.key, ciphertext=aftermath.encrypted["ciphertext"])
        anew = use(second, "Encrypt", name=aftermath.key, plaintext=PLAINTEXT)
        assert anew["name"].endswith("/versions/2")
        told = [event for event in second.events() if event["details"].get("why") == "trail"]
        assert {event["action"] for event in told} == {"Kms.DestroyKeyVersion", "Kms.DestroyBlindfoldKey"}
    found = verify_store(configuration_in(place), NOBODY, lambda total: lambda count: None, aftermath.trails)
    assert found.findings == ()


def test_wrapped_bytes_are_gone_from_the_files(aftermath, place, tmp_path):
    restore_in(place, aftermath.backup, later=Later(aftermath.trails))
    files = b"".join(path.read_bytes() for path in (place / "kms").rglob("*") if path.is_file())
    assert not [wrapped for wrapped in aftermath.wrapped if wrapped in files]
    other = another_machine(aftermath.kms, tmp_path / "other")
    restore_in(other, aftermath.backup)
    assert all(wrapped in store_of(other).read_bytes() for wrapped in aftermath.wrapped)


def test_newer_checkpoint_asks_for_the_trails(aftermath, place):
    keep_checkpoint(aftermath, place)
    before = (place / "outside" / "checkpoint.json").read_bytes()
    for trails in ([], aftermath.trails[:1], aftermath.trails[1:]):
        with pytest.raises(LaterEventsUnknown, match=r"\d+ of the events"):
            restore_in(place, aftermath.backup, later=Later(trails))
    assert (place / "outside" / "checkpoint.json").read_bytes() == before
    assert not store_of(place).exists()


def test_checkpoint_that_was_kept_elsewhere_asks_for_them_too(aftermath, place):
    kept = aftermath.kms.directory / "outside" / "checkpoint.json"
    with pytest.raises(LaterEventsUnknown):
        restore_in(place, aftermath.backup, later=Later(checkpoints=[kept]))
    assert restore_in(place, aftermath.backup, later=Later(aftermath.trails, [kept])).destroyed == 3


def test_whoever_has_no_trail_says_so_and_the_chain_tells(aftermath, place):
    keep_checkpoint(aftermath, place)
    restored = restore_in(place, aftermath.backup, later=Later(accept_unknown=True))
    assert restored.destroyed == 0
    assert restored.unknown > 10
    with serving(place) as second:
        [told] = [event for event in second.events() if event["action"] == "Kms.ReplayDestructions"]
        assert told["details"] == {"told": "0", "destroyed": "0", "unknown_events": str(restored.unknown)}
        opened = use(second, "Decrypt", name=aftermath.key, ciphertext=aftermath.encrypted["ciphertext"])
        assert opened["plaintext"] == PLAINTEXT


def test_server_takes_the_restored_store_for_the_newest(aftermath, place):
    """Files that are put back without a restore meet the newer checkpoint; see the store's own tests."""
    keep_checkpoint(aftermath, place)
    restore_in(place, aftermath.backup, later=Later(aftermath.trails))
    with serving(place) as second:
        assert not [event for event in second.events() if event["action"] == "Kms.AcceptRollback"]


def test_trail_that_was_changed_is_not_believed(aftermath, place, tmp_path):
    changed = tmp_path / "changed"
    lines = aftermath.trails[1].read_text().splitlines()
    kept = [line for line in lines if "Kms.DestroyKeyVersion" not in line]
    changed.write_text("".join(f"{line}\n" for line in kept))
    with pytest.raises(ChainBroken):
        restore_in(place, aftermath.backup, later=Later([changed]))
    assert not store_of(place).exists()


def test_checkpoint_of_another_store_stays_where_it_is(aftermath, place, tmp_path):
    with running_kms(tmp_path / "third") as other:
        other.vault.store.checkpoint().result()
        shutil.copy(tmp_path / "third" / "outside" / "checkpoint.json", place / "outside" / "checkpoint.json")
    with pytest.raises(ConfigError, match="another store"):
        restore_in(place, aftermath.backup)
    (place / "outside" / "checkpoint.json").write_text("no checkpoint\n")
    with pytest.raises(ConfigError, match="damaged"):
        restore_in(place, aftermath.backup)
