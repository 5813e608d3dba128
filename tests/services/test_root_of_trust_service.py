"""The root of trust of a served store: whose consent a change needs, and what a change leaves behind."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from rotating import rotate
from services.conftest import ADMIN, OPERATOR, Kms

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.interface import RootOfTrust, WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.crypto.root_of_trust.passphrase import Argon2Limits, Passphrase
from kms.crypto.root_of_trust.shamir import ShareRepeated, WrongShare
from kms.crypto.sharing import Sharing
from kms.crypto.wrapped_share import WrappedShare, new_key, unwrap_share
from kms.errors import ConfigError, Denied, InvalidField, NotFound, WrongState
from kms.model.caller import Caller
from kms.services.keyring import Keyring
from kms.services.root_of_trust import RootChange, RootOfTrustService, Wanted
from kms.services.share_gathering import PATIENCE
from kms.storage.interface import WriteConflict

KEYS = [new_key(None) for _ in range(3)]
SHARING = Sharing(2, 3, tuple(public for _, public in KEYS))
TO_SHARES = Wanted("shamir", sharing=SHARING)
QUICK = Argon2Limits(1, 8192)


class Root:
    """The service, and what it told of itself."""

    def __init__(self, kms: Kms, path: Path) -> None:
        self.kms = kms
        self.path = path
        self.prepared: list[str] = []
        self.locks = 0
        self.consents = 1
        self.service = RootOfTrustService(
            kms.parts.guard,
            kms.parts.repository,
            kms.vault,
            self._new,
            self.prepared.append,
            self._lock,
            self._consented,
        )

    def _new(self, wanted: Wanted) -> tuple[RootOfTrust, Sequence[SecretBytes]]:
        if wanted.sharing is not None:
            return wanted.sharing.create()
        if wanted.passphrase is not None:
            return Passphrase(wanted.passphrase, limits=QUICK), ()
        if wanted.provider != "keyfile":
            raise ConfigError("there is no such thing")
        return Keyfile.create(self.path / "new.key"), ()

    def _consented(self) -> bool:
        self.consents -= 1
        return self.consents >= 0

    def _lock(self) -> None:
        self.locks += 1

    def change(self, wanted: Wanted, present: bytes | None = None, who: Caller = OPERATOR) -> RootChange:
        secret = None if present is None else SecretBytes(present)
        return self.kms.run(self.service.change(self.kms.call(who), lambda: wanted, secret))

    def approve(self, change_id: str, share: SecretBytes) -> RootChange:
        given = SecretBytes(share.reveal())
        return self.kms.run(self.service.approve(self.kms.call(OPERATOR), change_id, given))

    def shares(self) -> list[SecretBytes]:
        """As their holders unwrap them."""
        found = self.kms.run(self.service.shares(self.kms.call(OPERATOR)))
        wrapped = [WrappedShare.parse(text.encode()) for text in found]
        return [
            unwrap_share(share, private, None) for share, (private, _) in zip(wrapped, KEYS, strict=False)
        ]


@pytest.fixture
def root(kms: Kms, tmp_path: Path) -> Root:
    return Root(kms, tmp_path)


@pytest.fixture
def shared(root: Root) -> Root:
    """Two of three shares are the root of trust."""
    assert root.change(TO_SHARES).done
    return root


def passphrase(text: str) -> Wanted:
    return Wanted("passphrase", SecretBytes(text.encode()))


def test_shares_are_in_the_store_in_the_unit_that_needs_them(root: Root) -> None:
    root.change(TO_SHARES)
    assert root.kms.vault.provider == "shamir"
    assert len(root.shares()) == 3
    event = root.kms.events()[-2]
    assert (event["action"], event["details"]["from"], event["details"]["to"]) == (
        "ChangeRootOfTrust",
        "keyfile",
        "shamir",
    )
    # The locked server's certificate is there before a crash could need it.
    assert root.prepared == ["shamir", "shamir"]


def test_change_is_made_by_as_many_holders_as_unlock(shared: Root) -> None:
    first, second, _ = shared.shares()
    waiting = shared.change(passphrase("a long enough passphrase"))
    assert (waiting.done, waiting.threshold, waiting.given) == (False, 2, 0)
    assert shared.approve(waiting.change_id, second).given == 1
    assert shared.kms.vault.provider == "shamir"
    done = shared.approve(waiting.change_id, first)
    assert done.done
    assert shared.kms.vault.provider == "passphrase"
    assert shared.shares() == []
    with pytest.raises(NotFound):
        shared.approve(waiting.change_id, first)
    assert shared.prepared[-1] == "passphrase"


def test_wrong_repeated_and_old_shares_make_nothing(shared: Root) -> None:
    first, second, third = shared.shares()
    waiting = shared.change(TO_SHARES)
    shared.approve(waiting.change_id, first)
    with pytest.raises(ShareRepeated):
        shared.approve(waiting.change_id, first)
    shared.approve(waiting.change_id, second)
    new = shared.shares()
    later = shared.change(passphrase("a long enough passphrase"))
    for old in (first, second, third):
        with pytest.raises(WrongShare):
            shared.approve(later.change_id, old)
    assert shared.approve(later.change_id, new[0]).given == 1


def test_a_second_change_takes_the_place_of_the_first_with_its_shares(shared: Root) -> None:
    share = shared.shares()[0]
    first = shared.change(passphrase("a long enough passphrase"))
    shared.approve(first.change_id, share)
    second = shared.change(TO_SHARES)
    assert second.given == 0
    with pytest.raises(NotFound):
        shared.approve(first.change_id, share)
    seen = shared.kms.run(shared.service.waiting(shared.kms.call(OPERATOR)))
    assert (seen.change_id, seen.recipients) == (second.change_id, TO_SHARES_RECIPIENTS)


TO_SHARES_RECIPIENTS = RootChange("shamir", TO_SHARES, "").recipients


def test_consent_expires(shared: Root) -> None:
    first, second, _ = shared.shares()
    waiting = shared.change(passphrase("a long enough passphrase"))
    shared.approve(waiting.change_id, first)
    shared.kms.pass_time(PATIENCE + timedelta(seconds=1))
    assert shared.approve(waiting.change_id, second).given == 1
    assert shared.kms.vault.provider == "shamir"


def test_a_passphrase_is_shown_before_it_is_changed(root: Root) -> None:
    root.change(passphrase("a long enough passphrase"))
    new = passphrase("another long passphrase")
    with pytest.raises(InvalidField, match="is needed"):
        root.change(new)
    with pytest.raises(WrongRootMaterial):
        root.change(new, b"a wrong long passphrase")
    assert root.kms.last_event()["decision"] == "FAIL"
    assert root.change(new, b"a long enough passphrase").done
    with pytest.raises(WrongRootMaterial):
        root.change(TO_SHARES, b"a long enough passphrase")


def test_no_operator_alone_takes_the_servers_own_root_of_trust_for_his(root: Root) -> None:
    """With a backup, a root of trust that he holds would be all keys of a tenant."""
    root.consents = 0
    for wanted in (passphrase("a long enough passphrase"), TO_SHARES):
        with pytest.raises(WrongState, match="who runs it consents"):
            root.change(wanted)
    assert root.kms.vault.provider == "keyfile"
    assert root.kms.last_event()["decision"] == "FAIL"


def test_who_guesses_the_passphrase_and_hangs_up_is_recorded(root: Root) -> None:
    root.change(passphrase("a long enough passphrase"))
    before = len(root.kms.events())
    begun, go_on = threading.Event(), threading.Event()
    make = root.service.new_root

    def slowly(wanted: Wanted) -> tuple[RootOfTrust, Sequence[SecretBytes]]:
        begun.set()
        assert go_on.wait(20)
        return make(wanted)

    root.service.new_root = slowly

    async def guess() -> None:
        present = SecretBytes(b"a wrong long passphrase")
        call = root.kms.call(OPERATOR)
        asked = asyncio.create_task(root.service.change(call, lambda: TO_SHARES, present))
        assert await asyncio.to_thread(begun.wait, 20)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        go_on.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    root.kms.run(guess())
    told = [(event["action"], event["decision"], event["reason"]) for event in root.kms.events()[before:]]
    assert told == [("ChangeRootOfTrust", "FAIL", WrongRootMaterial.reason)]


def test_a_passphrase_is_not_asked_for_where_there_is_none(root: Root) -> None:
    with pytest.raises(InvalidField, match="is not the root of trust"):
        root.change(TO_SHARES, b"a long enough passphrase")


@pytest.mark.parametrize("wanted", [Wanted("pkcs11"), passphrase("short")], ids=["no device", "short"])
def test_what_cannot_be_made_changes_nothing_and_is_recorded(root: Root, wanted: Wanted) -> None:
    with pytest.raises((WrongState, InvalidField)):
        root.change(wanted)
    assert root.kms.vault.provider == "keyfile"
    assert root.kms.last_event()["decision"] == "FAIL"


@pytest.mark.parametrize(
    ("provider", "secret", "sharing"),
    [
        ("shamir", None, None),
        ("shamir", None, Sharing(2, 3)),
        ("keyfile", None, SHARING),
        ("keyfile", SecretBytes(b"p"), None),
        ("passphrase", None, None),
    ],
)
def test_what_does_not_go_together_is_refused(
    provider: str, secret: SecretBytes | None, sharing: Sharing | None
) -> None:
    with pytest.raises(InvalidField):
        Wanted(provider, secret, sharing)


def test_server_is_locked_where_shares_unlock_it_and_the_trail_says_who(shared: Root) -> None:
    shared.kms.run(shared.service.lock_server(shared.kms.call(OPERATOR)))
    assert shared.locks == 1
    assert shared.kms.last_event()["caller"] == OPERATOR.spiffe_id


def test_server_is_not_locked_where_it_would_unlock_itself(root: Root) -> None:
    with pytest.raises(WrongState):
        root.kms.run(root.service.lock_server(root.kms.call(OPERATOR)))
    assert root.locks == 0


def test_tenants_have_nothing_to_do_with_it(shared: Root) -> None:
    service, kms = shared.service, shared.kms
    acts = (
        lambda call: service.lock_server(call),
        lambda call: service.shares(call),
        lambda call: service.waiting(call),
        lambda call: service.approve(call, "x", SecretBytes(b"y")),
        lambda call: service.change(call, lambda: TO_SHARES, None),
    )
    for act in acts:
        with pytest.raises(Denied):
            kms.run(act(kms.call(ADMIN)))
    assert shared.locks == 0


def test_shares_are_those_of_the_next_root_key_too(shared: Root) -> None:
    shares = [share.reveal() for share in shared.shares()]
    rotate(shared.kms.vault, lambda details: shared.kms.call(OPERATOR).event("Test.Rotate", "", "ALLOW"))
    assert [share.reveal() for share in shared.shares()] == shares
    waiting = shared.change(passphrase("a long enough passphrase"))
    shared.approve(waiting.change_id, SecretBytes(shares[0]))
    assert shared.approve(waiting.change_id, SecretBytes(shares[1])).done


def test_keys_that_are_made_amid_rotations_open_after_them(kms: Kms) -> None:
    """A row wrapped under one root key is never stored under the requirement of the next."""
    keyring, stop, made = Keyring(kms.vault), threading.Event(), []
    event = kms.call(OPERATOR).event("Test.Make", "", "ALLOW")

    def make() -> None:
        number = 0
        while not (stop.is_set() and made):
            number += 1
            changes = keyring.new_tenant(f"t{number}")
            with suppress(WriteConflict):
                kms.vault.store.commit(changes, [event]).result(20)
                made.append(changes[0].name)

    with ThreadPoolExecutor(1) as other:
        making = other.submit(make)
        for _ in range(10):
            rotate(kms.vault, lambda details: event)
        stop.set()
        making.result(20)
    assert made
    assert all(len(kms.vault.unwrap("tenantKey", name)) == 32 for name in made)
