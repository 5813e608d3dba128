"""What an Encrypt costs the server as the store and the policies grow: by keys, and by rules of a policy."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.encryption import PLAIN
from benchmarks.figure import Figure, at_most, shown
from benchmarks.load import Load
from benchmarks.server import EVERY_USER, KEY, Prepared, Rule, admin_call, opened, prepare, serving
from kms.crypto.key_handle import generate
from kms.main.parts import Parts
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyName, KeyVersionName
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.services.keys import UID_SIZE, version_row
from kms.services.repository import create
from kms.storage.interface import Change
from protos.kms.v1.crypto_pb2 import EncryptRequest

KEYS = (10, 1_000, 100_000)
USED = 10
KEYS_AT_ONCE = 500
RULES = (1, 16, 256)
CALLS = 3_000
ROUNDS = 3
BY_KEYS = 1.20
# Rules are compared by slopes, and the slope between 1 and 16 rules drowns in noise where rules cost nothing.
NOISE = 0.02


def measure() -> list[Figure]:
    """Microseconds of processor time for each call, the best of some rounds. Takes about three minutes."""
    few, some, many = [by_keys(count) for count in KEYS]
    one, sixteen, most = [by_rules(count) for count in RULES]
    first, second = (sixteen - one) / (RULES[1] - RULES[0]), (most - sixteen) / (RULES[2] - RULES[1])
    allowed = max(first, NOISE * one)
    return [
        *[
            shown(f"Encrypt 256 B among {count:,} keys", cost, "us", few)
            for count, cost in zip(KEYS, (few, some, many), strict=True)
        ],
        at_most(f"... with {KEYS[2]:,} keys, times that with {KEYS[0]}", many / few, "", BY_KEYS),
        *[
            shown(f"Encrypt 256 B, policy of {count} rules", cost, "us", one)
            for count, cost in zip(RULES, (one, sixteen, most), strict=True)
        ],
        shown("... slope, for each rule", (most - one) / (RULES[2] - RULES[0]), "us"),
        at_most("... slope from 16 to 256 rules, times that from 1 to 16", second / allowed, "", 1.20),
    ]


def by_keys(count: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        with opened(prepared.configuration) as parts:
            names = add_keys(parts, count)
        return cost(prepared, names[:: max(1, count // USED)][:USED])


def by_rules(count: int) -> float:
    """The last rule allows; the others have to be asked about the caller's name and labels."""
    rules = [never(number) for number in range(count - 1)]
    with tempfile.TemporaryDirectory() as directory:
        return cost(prepare(Path(directory), [*rules, EVERY_USER]), [KEY])


def never(number: int) -> Rule:
    return {
        "name": f"rule-{number}",
        "action": "ALLOW",
        "client_selector": {"expressions": [f"app in (web, api), zone=z{number}"]},
        "client_name_matcher": {"regex_values": [f".*/ns/ns{number}/sa/[a-z]+"]},
    }


def cost(prepared: Prepared, names: Sequence[KeyName]) -> float:
    requests = [EncryptRequest(name=str(name), plaintext=PLAIN) for name in names]
    with serving(prepared) as running:
        load = Load(running, prepared.user_credentials, "Encrypt", requests)
        return 1e6 / max(asyncio.run(load.calls_per_cpu_second(CALLS)) for _ in range(ROUNDS))


def add_keys(parts: Parts, count: int) -> list[KeyName]:
    """Keys like the one that is there, each with bytes of its own."""
    names = [replace(KEY, key=f"k{number}") for number in range(count)]
    for start in range(0, count, KEYS_AT_ONCE):
        changes = [change for name in names[start : start + KEYS_AT_ONCE] for change in rows(parts, name)]
        event = admin_call().event("Kms.AddKeys", str(KEY), "ALLOW")
        asyncio.run(parts.guard.commit(changes, [event]))
    return names


def rows(parts: Parts, name: KeyName) -> list[Change]:
    key = parts.repository.require(KeyRecord, str(KEY)).record
    version = parts.repository.require(KeyVersionRecord, version_row(KEY, 1)).record
    material = generate(ALGORITHMS[key.algorithm]).material
    wrapped = parts.keyring.wrap_key_version(
        KeyVersionName(name.tenant, name.namespace, name.key, 1), key.algorithm, material
    )
    return [
        create(str(name), replace(key, uid=os.urandom(UID_SIZE))),
        create(version_row(name, 1), replace(version, wrapped_key=wrapped)),
    ]
