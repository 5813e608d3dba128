"""Dynamic secrets through Wingman: a new one is asked for before the old one ends, which serves meanwhile."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from relay import relay
from server.kms_harness import PROD, RunningKms
from sidecar import Sidecar, configuration, ready_sidecar, wait_until
from test_key_lease_renewal import pass_by
from vault.conftest import vault
from vault.test_leases import DUE, HOUR, Queue, queue

from blindfold.forms import to_location
from kms.client.accesses import SERVICE
from kms.model.secret_management_access import Allowances
from wingman.supervising import write_once

__all__ = ["pass_by", "queue", "vault"]

ACCESS = f"{PROD}/secretManagementAccesses/queue"


@pytest.fixture
def members(kms: RunningKms, queue: Queue) -> Iterator[dict[str, Any]]:
    """The configuration of a Wingman that has an access to the queue's credentials."""
    shop = queue.vault
    plain = shop.address.startswith("http:")
    kms.parts.secret_management_accesses._allowances = Allowances(plain_http=plain)
    token = shop.make_token(shop.policy_of({f"{queue.mount}/creds/*": "read", "sys/leases/revoke": "update"}))
    sealed = {"blindfold": {"location": to_location(kms.seal(token.encode(), name=shop.addressee))}}
    content = {
        "provider": "queue",
        "where": {"expressions": ["app=web"]},
        "endpoint": shop.address,
        "authentication": {"token": {"token": sealed}},
        "tls": {"ca_pem": shop.ca_pem},
        "mounts": [{"path": queue.mount, "engine": "VAULT_ENGINE_DYNAMIC"}],
    }
    request = {"parent": PROD, "secret_management_access_id": "queue"}
    author = kms.as_("author")
    author.call(
        SERVICE,
        "CreateSecretManagementAccess",
        request | {"secret_management_access": {"content": content}},
    )
    yield {"allow_plain_http": plain}
    author.call(SERVICE, "DeleteSecretManagementAccess", {"name": ACCESS})


def user(sidecar: Sidecar, queue: Queue) -> tuple[int, str]:
    reference = {"type": "vault", "access": ACCESS, "path": f"{queue.mount}/app", "key": "username"}
    answer = sidecar.post("/secret/unseal?raw", reference)
    return answer.status, answer.text


def test_lease_serves_to_its_end_while_nobody_can_be_asked(
    kms: RunningKms,
    tmp_path: Path,
    queue: Queue,
    members: dict[str, Any],
    pass_by: Callable[[float], None],
) -> None:
    with relay(kms.target) as way, ready_sidecar(kms, tmp_path, server=way.address, **members) as sidecar:
        status, first = user(sidecar, queue)
        assert (status, first in queue.broker.users) == (200, True)
        way.cut()
        pass_by(DUE)
        assert user(sidecar, queue) == (200, first)
        pass_by(HOUR - DUE)
        assert user(sidecar, queue)[0] == 503
    assert queue.broker.users == {}


def test_file_has_the_new_secret_before_the_old_one_ends(
    kms: RunningKms,
    tmp_path: Path,
    queue: Queue,
    members: dict[str, Any],
) -> None:
    queue.vault.write(f"{queue.mount}/config/lease", ttl=3, max_ttl=3)
    path = {"type": "vault", "access": ACCESS, "path": f"{queue.mount}/app", "key": "username"}
    files = {"directory": str(tmp_path / "files"), "secrets": ["user"]}
    with ready_sidecar(kms, tmp_path, secrets={"user": path}, files=files, **members):
        written = tmp_path / "files" / "user"
        wait_until(written.exists)
        first = written.read_text()
        wait_until(lambda: written.read_text() != first)
        assert {first, written.read_text()} <= set(queue.broker.users)


def test_secret_that_was_written_once_outlives_the_writer(
    kms: RunningKms, tmp_path: Path, queue: Queue, members: dict[str, Any]
) -> None:
    path = {"type": "vault", "access": ACCESS, "path": f"{queue.mount}/app", "key": "username"}
    files = {"directory": str(tmp_path / "files"), "secrets": ["user"]}
    how = configuration(kms, tmp_path, secrets={"user": path}, files=files, **members)
    asyncio.run(write_once(how))
    assert (tmp_path / "files" / "user").read_text() in queue.broker.users
