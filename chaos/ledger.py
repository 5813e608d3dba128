"""What a server has acknowledged, and whether it still stands by it."""

import base64
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kms.client.api import Api
from kms.client.errors import CallDenied, CallFailed, CallNotFound, CallWrongState
from kms.model.receipt import Receipt

T = TypeVar("T")

NAMESPACE = "tenants/acme/namespaces/system"
SOURCE, IMPORTED = f"{NAMESPACE}/keys/bench", f"{NAMESPACE}/keys/imported"
POLICY = f"{NAMESPACE}/kmsPolicies/bench"
PLAINTEXT = base64.b64encode(b"acknowledged").decode()
BATCH = 500
OLDER = 200
USED_UP = (CallWrongState, CallDenied)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A version whose destruction was acknowledged, and what it had encrypted."""

    version: str
    ciphertext: str


@dataclass
class Ledger:
    """Written by the threads of the load, read when they have ended.

    `refused` are calls that ended without an answer, or were not served. `lost` are acknowledged things that
    are not there, `wrong` those that are otherwise than acknowledged; both in words.
    """

    ciphertexts: list[tuple[str, str]] = field(default_factory=list)
    doomed: list[Doomed] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    imports: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    encryptions: Counter[int] = field(default_factory=Counter)
    counters: dict[int, int] = field(default_factory=dict)
    refused: int = 0
    primary: int = 1
    revision: int = 1
    roots: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    anchors: list[int] = field(default_factory=list)
    operations: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, operation: str) -> None:
        with self.lock:
            self.operations[operation] += 1

    def check(self, api: Api, *, everything: bool = False) -> None:
        """What was acknowledged last, and a part of the rest, or all of it."""
        self._check_ciphertexts(api, everything=everything)
        self._check_doomed(api, self.doomed if everything else self.doomed[-OLDER:])
        self._check_keys(api)
        self._check_imports(api, self.imports if everything else self.imports[-OLDER:])
        for name in self.identities if everything else self.identities[-20:]:
            self._must(api, "IdentityService", "GetIdentity", {"name": name})

    def _check_ciphertexts(self, api: Api, *, everything: bool) -> None:
        older = self.ciphertexts[:-BATCH]
        looked_at = self.ciphertexts[-BATCH:]
        looked_at += older if everything else random.sample(older, min(OLDER, len(older)))
        for key in sorted({key for key, _ in looked_at}):
            of_key = [ciphertext for other, ciphertext in looked_at if other == key]
            for batch in _batches(of_key):
                requests = [{"ciphertext": ciphertext} for ciphertext in batch]
                answer = api.call("CryptoService", "BatchDecrypt", {"name": key, "requests": requests})
                for result in answer["results"]:
                    if "error" in result:
                        self.lost.append(f"a ciphertext of {key}: {result['error']['message']}")
                    elif result["response"]["plaintext"] != PLAINTEXT:
                        self.wrong.append(f"a ciphertext of {key} opens to something else")

    def _check_doomed(self, api: Api, doomed: Sequence[Doomed]) -> None:
        for item in doomed:
            found = self._must(api, "KeyService", "GetKeyVersion", {"name": item.version})
            state = found.get("state", "").removeprefix("KEY_VERSION_STATE_")
            if state not in ("DESTROYED", "DESTROY_SCHEDULED"):
                self.lost.append(f"the destruction of {item.version}, which is {state}")
            if item.version in self.gone and state != "DESTROYED":
                self.wrong.append(f"{item.version} was DESTROYED and is {state}")
            if state == "DESTROYED":
                self.gone.add(item.version)
            key = item.version.partition("/versions/")[0]
            try:
                api.call("CryptoService", "Decrypt", {"name": key, "ciphertext": item.ciphertext})
            except USED_UP:
                continue
            self.wrong.append(f"{item.version} is {state} and decrypts")

    def _check_keys(self, api: Api) -> None:
        source = self._must(api, "KeyService", "GetKey", {"name": SOURCE})
        primary = int(source["primary_version"].rpartition("/")[2])
        if primary < self.primary:
            self.lost.append(f"the rotation to version {self.primary}: the primary is {primary}")
        policy = self._must(api, "KmsPolicyService", "GetKmsPolicy", {"name": POLICY})
        if int(policy["revision"]) < self.revision:
            self.lost.append(f"revision {self.revision} of the policy: it is at {policy['revision']}")
        versions = sorted(self.encryptions)
        for version in {*versions[:3], *versions[-5:]}:
            self._check_counter(api, version)

    def _check_counter(self, api: Api, version: int) -> None:
        found = self._must(api, "KeyService", "GetKeyVersion", {"name": f"{SOURCE}/versions/{version}"})
        count = int(found.get("nonce_budget", {}).get("invocations", 0))
        if count < max(self.counters.get(version, 0), self.encryptions[version]):
            self.wrong.append(f"version {version} counts {count} uses, {self.encryptions[version]} were made")
        self.counters[version] = count

    def _check_imports(self, api: Api, imports: Sequence[str]) -> None:
        for name in imports:
            found = self._must(api, "KeyService", "GetKeyVersion", {"name": name})
            if found and found["state"] != "KEY_VERSION_STATE_ENABLED":
                self.wrong.append(f"{name} was imported and is {found['state']}")

    def _must(self, api: Api, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer about something that must be there."""
        try:
            return api.call(service, method, request)
        except (CallNotFound, CallDenied) as failure:
            self.lost.append(f"{request}: {failure}")
        except CallFailed as failure:
            self.wrong.append(f"{request}: {failure}")
        return {}


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
