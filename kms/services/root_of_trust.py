"""The root of trust of an unlocked server: locked, and exchanged for another.

Whoever exchanges it shows the present material: the passphrase, or as many shares as unlock the store. A
root of trust that is the server's own is not an operator's to exchange: who runs the machine consents.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import NAME, AuthenticatedStore
from kms.crypto.root_of_trust.interface import RootOfTrust
from kms.crypto.root_of_trust.passphrase import Passphrase
from kms.crypto.root_of_trust.shamir import Shamir, ShareSet
from kms.crypto.sharing import Sharing
from kms.crypto.wrapped_share import fingerprint
from kms.errors import InvalidField, NotFound, WrongState
from kms.model.audit_event import AuditEvent
from kms.model.receipt import Receipt
from kms.model.records import RootSharesRecord
from kms.services.call import Call, Outcome
from kms.services.guard import ALLOW, Action, Guard
from kms.services.repository import Repository, create
from kms.services.root_key_rotation import recorded
from kms.services.share_gathering import ShareGathering
from kms.storage.interface import Change

LOCK = Action("LockServer", "server.lock")
CHANGE = Action("ChangeRootOfTrust", "server.changeRootOfTrust")
APPROVE = Action("ApproveRootOfTrustChange", "server.changeRootOfTrust")
GET = Action("GetRootOfTrustChange", "server.changeRootOfTrust")
SHARES = Action("ListShares", "server.listShares")
# What the change of others takes is the machine's alone.
_SHOWN = (Passphrase.provider, Shamir.provider)
CONSENT = "change-root-of-trust"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The new root of trust. A passphrase and a sharing are there where the provider needs them."""

    provider: str
    passphrase: SecretBytes | None = None
    sharing: Sharing | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidField`. Shares are wrapped to their holders: in clear they would travel."""
        if (self.sharing is not None) != (self.provider == Shamir.provider):
            raise InvalidField("share_keys", f"are for {Shamir.provider}, and only for it")
        if self.sharing is not None and not self.sharing.holders:
            raise InvalidField("share_keys", "must be one for each share")
        if (self.passphrase is not None) != (self.provider == Passphrase.provider):
            raise InvalidField("passphrase", f"is for {Passphrase.provider}, and only for it")


# Makes it, with the shares that are to be given out. Raises `ConfigError`.
NewRoot = Callable[[Wanted], tuple[RootOfTrust, Sequence[SecretBytes]]]


@dataclass(frozen=True, slots=True)
class RootChange:
    """A change of the root of trust: made, or waiting for shares of the present one."""

    old: str
    wanted: Wanted
    requester: str
    change_id: str = ""
    threshold: int = 0
    given: int = 0
    expire_time: datetime | None = None
    done: bool = False

    @property
    def recipients(self) -> list[str]:
        return [] if self.wanted.sharing is None else list(map(fingerprint, self.wanted.sharing.holders))


@dataclass(frozen=True, slots=True)
class _Waiting:
    change_id: str
    wanted: Wanted
    requester: str
    gathering: ShareGathering

    def told(self, now: datetime) -> RootChange:
        given, expire_time = self.gathering.progress(now)
        threshold = self.gathering.threshold
        return RootChange(
            Shamir.provider, self.wanted, self.requester, self.change_id, threshold, given, expire_time
        )


@dataclass(slots=True)
class RootOfTrustService:
    """`new_root` makes a wanted root of trust; `lock` locks the server.

    `consented` says whether who runs the machine consents, once, to the change of a root of trust that nobody
    shows. `prepare` is told, by its provider, which root of trust the next start may find, and raises
    `OSError`.
    """

    guard: Guard
    repository: Repository
    vault: AuthenticatedStore
    new_root: NewRoot
    prepare: Callable[[str], None]
    lock: Callable[[], None]
    consented: Callable[[], bool]
    _waiting: _Waiting | None = None
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def lock_server(self, call: Call) -> None:
        """Raises `Denied`, `WrongState` for a root of trust that unlocks itself."""

        def act() -> Outcome[None]:
            if self.vault.provider != Shamir.provider:
                raise WrongState("the root of trust is not shares; the server would unlock itself at once")
            return Outcome(None)

        await self.guard.perform(call, LOCK, None, act)
        self.lock()

    async def shares(self, call: Call) -> Sequence[str]:
        """Those of the present set, wrapped. Raises `Denied`."""

        def act() -> Outcome[Sequence[str]]:
            loaded = self.repository.load(RootSharesRecord, NAME)
            return Outcome(() if loaded is None else loaded.record.wrapped)

        return await self.guard.perform(call, SHARES, None, act)

    async def change(self, call: Call, read: Callable[[], Wanted], present: SecretBytes | None) -> RootChange:
        """Made at once, or waiting for shares. `present` is the passphrase that is in force, if one is.

        `read` is called once it is known that the caller may; it raises `InvalidField`.
        Raises `Denied`, `InvalidField`, `WrongRootMaterial`, `WrongState` where the new one cannot be made.
        """
        old = self.vault.provider

        def check() -> Wanted:
            if (present is not None) != (old == Passphrase.provider):
                problem = "is needed: it is" if present is None else "is not"
                raise InvalidField("present_passphrase", f"{problem} the root of trust")
            wanted = read()
            if old not in _SHOWN and not self.consented():
                raise WrongState(
                    "the root of trust is the server's own; who runs it consents to one change by the file "
                    f"{CONSENT} in the server's directory"
                )
            return wanted

        wanted = await self.guard.authorise(call, CHANGE, None, check)
        if old == Shamir.provider:
            return await self._wait(call, wanted)
        provider = self.vault.root_of_trust if present is None else Passphrase(present)
        change = RootChange(old, wanted, call.caller.spiffe_id)
        return await asyncio.shield(self._exchange(call, provider, change))

    async def approve(self, call: Call, change_id: str, share: SecretBytes) -> RootChange:
        """Made with the last share that is needed.

        Raises `Denied`, `NotFound`, and as `ShareGathering.give`.
        """
        enough = False

        def act() -> Outcome[_Waiting]:
            nonlocal enough
            waiting = self._at(change_id)
            enough = waiting.gathering.give(share, call.caller.spiffe_id, call.time)
            return Outcome(waiting, details={"change": waiting.change_id})

        waiting = await self.guard.perform(call, APPROVE, None, act)
        told = waiting.told(call.time)
        if not enough or self._waiting is not waiting:
            return told
        self._waiting = None
        given = waiting.gathering.take()
        _, record = self.vault.recorded_keys()
        old = Shamir.combine(record, [item.share for item in given[: told.threshold]])
        for item in given:
            item.share.wipe()
        return await asyncio.shield(self._exchange(call, old, told))

    async def waiting(self, call: Call) -> RootChange:
        """Raises `Denied`, `NotFound`."""
        return await self.guard.perform(call, GET, None, lambda: Outcome(self._at(None).told(call.time)))

    async def _wait(self, call: Call, wanted: Wanted) -> RootChange:
        _, record = self.vault.recorded_keys()
        waiting = _Waiting(
            secrets.token_hex(8), wanted, call.caller.spiffe_id, ShareGathering(ShareSet.of(record))
        )

        def act() -> Outcome[RootChange]:
            self._waiting = waiting
            details = {"change": waiting.change_id, "from": Shamir.provider, "to": wanted.provider}
            return Outcome(waiting.told(call.time), details=details)

        return await self.guard.perform(call, CHANGE, None, act)

    def _at(self, change_id: str | None) -> _Waiting:
        if self._waiting is None or change_id not in (None, self._waiting.change_id):
            raise NotFound("a change of the root of trust that waits")
        return self._waiting

    async def _exchange(self, call: Call, old: RootOfTrust, change: RootChange) -> RootChange:
        async with self._changing:
            work = asyncio.to_thread(self._write, call, old, change.wanted)
            self._acknowledge(call, await recorded(self.guard, call, CHANGE, work))
            return replace(change, done=True)

    def _write(self, call: Call, old: RootOfTrust, wanted: Wanted) -> Receipt:
        new, shares = self.new_root(wanted)
        if wanted.provider == Shamir.provider:
            # A crash may come between, and the locked server then needs it.
            self.prepare(wanted.provider)
        try:
            changes = self._share_rows(wanted, shares)
            return self.vault.exchange_provider(old, new, partial(_event, call, CHANGE), changes)
        finally:
            self.prepare(self.vault.provider)
            for share in shares:
                share.wipe()

    def _share_rows(self, wanted: Wanted, shares: Sequence[SecretBytes]) -> list[Change]:
        loaded = self.repository.load(RootSharesRecord, NAME)
        if wanted.sharing is None:
            return [] if loaded is None else [loaded.delete()]
        record = shares_record(wanted.sharing, shares, self.vault.store.store_id)
        return [create(NAME, record) if loaded is None else loaded.put(record)]

    def _acknowledge(self, call: Call, receipt: Receipt) -> None:
        self.guard.acknowledge(call.request_id, receipt)


def shares_record(sharing: Sharing, shares: Sequence[SecretBytes], store_id: bytes) -> RootSharesRecord:
    """The row of shares that are wrapped to their holders."""
    wrapped = sharing.hand_out(shares, store_id)
    return RootSharesRecord(tuple(share.to_bytes().decode("ascii") for share in wrapped))


def _event(call: Call, action: Action, details: Mapping[str, str]) -> AuditEvent:
    return call.event(action.name, "", ALLOW, details=details)
