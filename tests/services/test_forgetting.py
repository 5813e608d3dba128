"""What is in memory of a row is dropped with its write, whoever waits for the outcome."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest
from services.conftest import KEY_ADMIN, Kms
from services.test_keys import NAME, create, version

from kms.errors import Unavailable
from kms.model.lifecycle import Verb
from kms.model.records import KeyVersionRecord
from kms.services.forgetting import forget_in
from kms.services.guard import Guard
from kms.services.key_access import KeyAccesses
from kms.services.key_handles import KeyHandles
from kms.services.key_versions import KeyVersions
from kms.services.keys import version_row
from kms.storage.interface import MISSING, Put, Receipt, Require

WRITE = Put("kind", "name", b"", 3)


class HeldStore:
    """Commits when it is told to."""

    def __init__(self) -> None:
        self.done: Future[Receipt] = Future()

    def commit(self, changes: Any, events: Any) -> "Future[Receipt]":
        return self.done


def commit_and_hang_up(store: HeldStore, heard: list[Any]) -> None:
    async def call() -> None:
        guard = Guard(store, heard.append)  # type: ignore[arg-type]
        task = asyncio.create_task(guard.commit([WRITE, Require("kind", "other", 1)], []))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(call())


@pytest.mark.parametrize("outcome", [Receipt(1, "", b""), Unavailable("the bytes could not be overwritten")])
def test_a_write_is_heard_of_before_and_after_even_if_the_caller_hung_up(outcome: Any) -> None:
    store, heard = HeldStore(), []  # type: ignore[var-annotated]
    commit_and_hang_up(store, heard)
    assert heard == [WRITE]
    if isinstance(outcome, Exception):
        store.done.set_exception(outcome)
    else:
        store.done.set_result(outcome)
    assert heard == [WRITE, WRITE]


def test_a_changed_version_is_loaded_anew_and_a_new_one_disturbs_nobody(kms: Kms) -> None:
    uid, parts = create(kms).record.uid, kms.parts
    handles = KeyHandles(parts.keyring)
    forget = forget_in(
        parts.repository,
        parts.keyring,
        handles,
        KeyAccesses(parts.repository),
        parts.rate_limits,
        parts.corporate_trust,
    )
    row = parts.repository.require(KeyVersionRecord, version_row(NAME, 1))
    use = handles.get(version(1), uid, row.record, handles.begin())
    forget(Put(KeyVersionRecord.KIND, version_row(NAME, 2), b"", MISSING))
    assert handles.get(version(1), uid, row.record, handles.begin()) is use
    begun = handles.begin()
    forget(row.put(row.record))
    late = handles.get(version(1), uid, row.record, begun)
    assert late is not use
    assert handles.get(version(1), uid, row.record, handles.begin()) is not late


def test_a_stopped_version_is_not_in_memory(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    create(kms)
    forgotten: list[Any] = []
    monkeypatch.setattr(KeyHandles, "forget", lambda self, name: forgotten.append(name))
    versions: KeyVersions = kms.parts.key_versions
    kms.run(versions.change(kms.call(KEY_ADMIN), version(1), Verb.DISABLE, ""))
    assert forgotten == [version(1), version(1)]
