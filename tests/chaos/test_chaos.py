"""`make chaos`, a little of each scenario, and that what is lost or wrong would be seen."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import __main__ as chaos
from chaos.house import build
from chaos.kills import check_store
from chaos.ledger import NAMESPACE, PLAINTEXT, SOURCE, Doomed, Ledger
from chaos.load import prepare_load
from chaos.outcome import Outcome, summary
from kms.client.api import Api

pytestmark = pytest.mark.slow


@pytest.mark.optional
@pytest.mark.parametrize("name", chaos.SCENARIOS)
def test_nothing_acknowledged_is_lost_or_wrong(tmp_path: Path, name: str) -> None:
    outcome = chaos.SCENARIOS[name](tmp_path, 1, random.Random(1))  # noqa: S311
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.holds, outcome.lines()
    assert outcome.ledger.operations


def encrypted(api: Api, name: str) -> str:
    made = api.call("CryptoService", "Encrypt", {"name": name, "plaintext": PLAINTEXT})
    ciphertext: str = made["ciphertext"]
    return ciphertext


Claim = Callable[[Ledger, Api], object]
LOST: dict[str, Claim] = {
    "ciphertext": lambda ledger, api: ledger.ciphertexts.append(
        (f"{NAMESPACE}/keys/imported", encrypted(api, SOURCE))
    ),
    "rotation": lambda ledger, api: setattr(ledger, "primary", 99),
    "policy": lambda ledger, api: setattr(ledger, "revision", 99),
    "import": lambda ledger, api: ledger.imports.append(f"{NAMESPACE}/keys/imported/versions/99"),
    "identity": lambda ledger, api: ledger.identities.append(f"{NAMESPACE}/identities/nobody"),
    "destruction": lambda ledger, api: ledger.doomed.append(
        Doomed(f"{SOURCE}/versions/1", encrypted(api, SOURCE))
    ),
}
WRONG: dict[str, Claim] = {
    "counter": lambda ledger, api: ledger.encryptions.update({1: 1 << 20}),
    "destroyed version": lambda ledger, api: ledger.gone.add(
        LOST["destruction"](ledger, api) or f"{SOURCE}/versions/1"
    ),
}


def test_the_last_line_counts_all_scenarios() -> None:
    sound, broken = Ledger(), Ledger()
    sound.acknowledge("encrypt")
    broken.acknowledge("encrypt")
    broken.lost.append("something")
    line = summary([Outcome("kills", 20, sound), Outcome("clock", 3, broken)])
    assert line == "in all: 23 cycles, 2 acknowledged operations, lost = 1, wrong = 0"


def test_what_is_not_so_is_seen(tmp_path: Path) -> None:
    house, seen = build(tmp_path), Ledger()
    with house.served():
        prepare_load(house, seen)
        with house.calling() as api:
            seen.check(api, everything=True)
            assert (seen.lost, seen.wrong) == ([], [])
            for claims, where in ((LOST, "lost"), (WRONG, "wrong")):
                for name, claim in claims.items():
                    ledger = Ledger()
                    claim(ledger, api)
                    ledger.check(api, everything=True)
                    assert getattr(ledger, where), name
                    assert not Outcome("", 1, ledger).holds
    seen.roots = 99
    check_store(house, seen)
    assert any("99 rotations of the root key" in words for words in seen.lost)
