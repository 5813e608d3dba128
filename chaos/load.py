"""Callers who do everything at once, and note what was acknowledged."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blindfold.secret import SecretBytes
from chaos.house import EVERYBODY, SECRET, House
from chaos.ledger import IMPORTED, NAMESPACE, PLAINTEXT, POLICY, SOURCE, Doomed, Ledger
from kms.client.api import Api
from kms.client.enrolment import enrol
from kms.client.errors import (
    CallConflict,
    CallExhausted,
    CallFailed,
    CallTimedOut,
    CallUnavailable,
    CallWrongState,
)
from kms.client.opening import open_sealed
from kms.client.transfers import ImportKey, create_import_key, import_wrapped
from kms.crypto.key_wrapping import Recipient
from kms.errors import KmsError, RotationUnderWay
from kms.model.names import KeyName, NamespaceName

ENCRYPTERS = 2


class StillRotating(Exception):
    """The root key is being rotated since before a crash."""


# The calls that end so were not acknowledged, whatever became of them.
UNKNOWN = (CallUnavailable, CallTimedOut, CallConflict, CallExhausted, StillRotating)
PAUSE_WHEN_REFUSED = 0.05
IMPORTS = 1000
# So many servers apart the root key is rotated. It takes the longer the more there is; the next ones end it.
ROOTS_EVERY, FIRST = 10, 2


@dataclass
class ImportKeys:
    """One at a time, and another when its imports may be used up. For one thread."""

    key: ImportKey | None = None
    left: int = 0

    def next(self, api: Api) -> ImportKey:
        """For one import. Raises as `create_import_key`."""
        if self.key is None or self.left == 0:
            self.key = create_import_key(api, NamespaceName.parse(NAMESPACE), IMPORTS)
            self.left = IMPORTS
        self.left -= 1
        return self.key


@dataclass(frozen=True)
class Load:
    """Who enrols has his key below `directory`.

    `refusals` are expected here, besides those that say nothing of the server.
    """

    house: House
    ledger: Ledger
    directory: Path
    import_keys: ImportKeys = field(default_factory=ImportKeys)
    refusals: tuple[type[Exception], ...] = ()

    def encrypt(self, api: Api) -> None:
        made = api.call("CryptoService", "Encrypt", {"name": SOURCE, "plaintext": PLAINTEXT})
        with self.ledger.lock:
            self.ledger.ciphertexts.append((SOURCE, made["ciphertext"]))
            self.ledger.encryptions[_number(made["name"])] += 1

    def rotate(self, api: Api) -> None:
        made = api.call("KeyService", "RotateKey", {"name": SOURCE})
        self.ledger.primary = max(self.ledger.primary, _number(made["primary_version"]))

    def rotate_root(self, api: Api) -> None:
        """To its end, which may be that of one that was begun before a crash."""
        try:
            for _ in api.stream("RootOfTrustService", "RotateRootKey", {}):
                pass
        except CallWrongState as refused:
            if refused.reason != RotationUnderWay.reason:
                raise
            raise StillRotating from None
        self.ledger.roots += 1

    def destroy(self, api: Api) -> None:
        """A key of its own, used once, its only version due to be destroyed at once."""
        request = {"parent": NAMESPACE, "key_id": f"d{os.urandom(8).hex()}", "key": _encrypting()}
        name = api.call("KeyService", "CreateKey", request)["name"]
        made = api.call("CryptoService", "Encrypt", {"name": name, "plaintext": PLAINTEXT})
        version = f"{name}/versions/1"
        api.call("KeyService", "ScheduleDestroyKeyVersion", {"name": version})
        self.ledger.doomed.append(Doomed(version, made["ciphertext"]))

    def import_(self, api: Api) -> None:
        towards = self.import_keys.next(api)
        wrapped = Recipient(towards.public_key).wrap(SecretBytes(os.urandom(32)))
        version = import_wrapped(api, KeyName.parse(IMPORTED), towards.name, wrapped, make_primary=True)
        self.ledger.imports.append(str(version))
        made = api.call("CryptoService", "Encrypt", {"name": IMPORTED, "plaintext": PLAINTEXT})
        with self.ledger.lock:
            self.ledger.ciphertexts.append((IMPORTED, made["ciphertext"]))

    def change_policy(self, api: Api) -> None:
        rules = [EVERYBODY, {**EVERYBODY, "name": f"r{os.urandom(4).hex()}"}]
        changed = {
            "name": POLICY,
            "content": {"rules": [{**rule, "action": "ACTION_ALLOW"} for rule in rules]},
        }
        made = api.call("KmsPolicyService", "UpdateKmsPolicy", {"kms_policy": changed})
        self.ledger.revision = max(self.ledger.revision, int(made["revision"]))

    def evaluate(self, api: Api) -> None:
        if open_sealed(api, self.house.sealed).reveal() != SECRET:
            self.ledger.wrong.append("what was sealed opens to something else")

    def enrol(self, api: Api) -> None:
        name = f"e{os.urandom(8).hex()}"
        identity = f"{NAMESPACE}/identities/{name}"
        token = {"parent": NAMESPACE, "join_token": {"identity": identity}}
        made = api.call("IdentityService", "CreateJoinToken", token)
        enrol(self.house.addresses["enrolment_listen"], made["token"], self.directory / name)
        self.ledger.identities.append(identity)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the context ends; what is then in flight ends by itself. The server may be killed inside."""
        steps = (
            *[(self.encrypt, 0.01, None)] * ENCRYPTERS,
            (self.rotate, 0.05, None),
            *[(self.rotate_root, 0.5, self.house.operator)] * (self.house.starts % ROOTS_EVERY == FIRST),
            (self.destroy, 0.05, None),
            (self.import_, 0.05, None),
            (self.change_policy, 0.05, None),
            (self.evaluate, 0.02, self.house.prepared.credentials),
            (self.enrol, 0.1, None),
        )
        over: Future[None] = Future()
        with ThreadPoolExecutor(len(steps)) as threads:
            working = [threads.submit(self._repeat, *step, over) for step in steps]
            try:
                yield
            finally:
                over.set_result(None)
                for work in working:
                    work.result()

    def _repeat(
        self,
        step: Callable[[Api], None],
        pause: float,
        credentials: Path | None,
        over: "Future[None]",
    ) -> None:
        unknown: tuple[type[Exception], ...] = (*UNKNOWN, *self.refusals)
        with self.house.calling(credentials, self.ledger.receipts.append) as api:
            while not over.done():
                try:
                    step(api)
                except unknown:
                    self.ledger.refused += 1
                    time.sleep(PAUSE_WHEN_REFUSED)
                except (CallFailed, KmsError, OSError) as failure:
                    if not over.done():
                        self.ledger.wrong.append(f"{step.__name__}: {type(failure).__name__}: {failure}")
                        time.sleep(PAUSE_WHEN_REFUSED)
                else:
                    self.ledger.acknowledge(step.__name__.strip("_"))
                    time.sleep(pause)


def prepare_load(house: House, ledger: Ledger) -> Load:
    """What the steps need, made by a server that runs."""
    with house.calling() as api:
        api.call("KeyService", "CreateKey", {"parent": NAMESPACE, "key_id": "imported", "key": _encrypting()})
        return Load(house, ledger, house.directory / "enrolled")


def _encrypting() -> dict[str, str]:
    return {"purpose": "KEY_PURPOSE_ENCRYPT_DECRYPT", "kms_policy": POLICY}


def _number(version: str) -> int:
    return int(version.rpartition("/")[2])
