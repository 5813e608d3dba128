"""What is to be done at a time: rotations and destructions, found without looking at every key."""

from collections.abc import Iterator
from datetime import datetime

from kms.model.chain import timestamp
from kms.model.records import DueRecord
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import Change, Put

ROTATE = "rotate"
DESTROY = "destroy"


class Agenda:
    """Rows of kind `due`, written in the same unit as what they are about."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def due(self, now: datetime) -> Iterator[Loaded[DueRecord]]:
        """What is due, first first, read as it is asked for."""
        for row in self._repository.all(DueRecord):
            if row.name[: len(timestamp(now))] > timestamp(now):
                return
            yield row

    def entry(self, what: str, target: str, time: datetime) -> Put:
        """The write by which it is due then, whether it was already or not."""
        name, record = due_row(what, target, time), DueRecord(what, target)
        loaded = self._repository.load(DueRecord, name)
        return create(name, record) if loaded is None else loaded.put(record)

    def move(self, what: str, target: str, before: datetime | None, after: datetime | None) -> list[Change]:
        """The writes that move an entry from one time to another; None for no entry."""
        if before == after:
            return []
        changes: list[Change] = []
        if before is not None:
            loaded = self._repository.load(DueRecord, due_row(what, target, before))
            if loaded is not None:
                changes.append(loaded.delete())
        if after is not None:
            changes.append(create(due_row(what, target, after), DueRecord(what, target)))
        return changes


def due_row(what: str, target: str, time: datetime) -> str:
    """The name of the row by which something is due."""
    return f"{timestamp(time)}/{what}/{target}"
