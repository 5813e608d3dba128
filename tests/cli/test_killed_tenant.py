"""A tenant's destruction under way at a SIGKILL: it goes on where it was, and ends with a receipt."""

import time
from pathlib import Path

import pytest
from house import House
from killed_house import create_key, open_house, worker
from test_killed_destruction import AHEAD, read_wrapped, stored, traces
from test_killed_destruction import Doomed as Key

from kms.model.records import KeyVersionRecord, TenantRecord
from kms.model.tenant_lifecycle import TenantState
from kms.services.repository import Repository

KEYS = 40
OPERATOR = "kms/credentials/operator"
# The same server, with rows erased one by one, and looked for at once.
SLOWLY = AHEAD.replace(
    "from cli.kms import main",
    "scheduler.DESTROY_EVERY = 0.1\n"
    "from kms.services import tenant_destruction\n"
    "tenant_destruction.BATCH = 1\n"
    "from cli.kms import main",
)


def tenant(house: House, *command: object) -> dict[str, str]:
    shown: dict[str, str] = house.must("kms", "tenant", *command, who=OPERATOR)
    return shown


def wait_for(house: House, field: str, wanted: str = "") -> None:
    deadline = time.monotonic() + 60
    while not tenant(house, "get", "acme").get(field, "").endswith(wanted or "Z"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_destruction_of_a_tenant_survives_sigkill(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.init()
    with house.served():
        open_house(house)
        with worker(house) as api:
            keys = [Key(create_key(api, f"k{number}"), "", "") for number in range(KEYS)]
    read_wrapped(house, keys)
    assert all(traces(house, key.wrapped) for key in keys)
    with house.served():
        assert tenant(house, "destroy", "acme", "--delay", "24h")["state"] == "DESTROY_SCHEDULED"
        assert house.kms("key", "list", "prod").code != 0
    with house.served(script=SLOWLY) as process:
        wait_for(house, "state", TenantState.DESTROYED)
        process.kill()
    with stored(house) as store:
        repository = Repository(store)
        left = list(repository.all(KeyVersionRecord))
        record = repository.require(TenantRecord, "tenants/acme").record
    assert (record.state, record.erase_time is None) == (TenantState.DESTROYED, bool(left))
    with house.served(script=SLOWLY):
        wait_for(house, "erase_time")
        receipt = tmp_path / "acme.receipt"
        ended = house.kms("tenant", "receipt", "acme", "--out", receipt, who=OPERATOR)
        assert ended.code == 0, ended.words
    assert [traces(house, key.wrapped) for key in keys] == [[]] * KEYS
    verified = house.must("kms", "audit", "verify", receipt, "--audit-key", house.made["audit_key"])
    assert verified["verified"]
    assert b"Kms.DestroyTenant" in receipt.read_bytes()
    with house.served():
        assert house.kms("tenant", "create", "acme", who=OPERATOR).code != 0
        assert tenant(house, "create", "globex")["name"] == "tenants/globex"


@pytest.mark.slow
def test_tenant_is_stopped_and_served_again_from_the_command_line(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.init()
    with house.served():
        for command, state in (
            (("disable",), "DISABLED"),
            (("enable",), "ENABLED"),
            (("destroy",), "DESTROY_SCHEDULED"),
            (("cancel-destroy",), "DISABLED"),
            (("enable",), "ENABLED"),
        ):
            assert tenant(house, *command, "acme")["state"] == state
            assert (house.kms("namespace", "list").code == 0) == (state == "ENABLED")
        assert house.kms("tenant", "receipt", "acme", who=OPERATOR).code != 0
        platform = house.must("kms", "audit", "list", "--platform", "--limit", "1000", who=OPERATOR)
        assert {"DisableTenant", "EnableTenant", "CancelDestroyTenant"} <= {
            item["action"] for item in platform
        }
        operators = house.must("kms", "identity", "list", "--operators", who=OPERATOR)
        assert [item["name"] for item in operators] == ["operators/root"]
