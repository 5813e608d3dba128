"""The server is killed at random moments under load, and started again."""

import random
import time
from pathlib import Path

from benchmarks.server import opened
from chaos.house import House, build, kill
from chaos.ledger import Ledger
from chaos.load import prepare_load
from chaos.outcome import Outcome
from kms.audit.export import export
from kms.audit.verify import ChainBroken, verify
from kms.errors import KmsError

# The longest that the load goes on before a kill, in seconds.
LONGEST = 2.0
# All of the store is looked at so often.
WHOLE_EVERY = 20


def run(directory: Path, times: int, draw: random.Random) -> Outcome:
    """So many kills, after each a look at what was acknowledged last, and at the end at all of it."""
    house, ledger = build(directory), Ledger()
    with house.served():
        load = prepare_load(house, ledger)
    for cycle in range(1, times + 1):
        with house.killed() as process:
            with house.calling() as api:
                ledger.check(api)
            with load.running():
                time.sleep(draw.uniform(0.0, LONGEST))
                kill(process)
        _check_receipts(house, ledger)
        if cycle % WHOLE_EVERY == 0:
            check_store(house, ledger)
    check_store(house, ledger)
    with house.served(), house.calling() as api:
        ledger.check(api, everything=True)
    return Outcome("kill -9 under load", times, ledger)


def check_store(house: House, ledger: Ledger) -> None:
    """Every invariant of the stopped store."""
    found = house.verified()
    ledger.wrong += [
        f"{finding.invariant}: {finding.subject} {finding.problem}" for finding in found.findings
    ]
    done = house.rotations()
    if done < ledger.roots:
        ledger.lost.append(
            f"{ledger.roots} rotations of the root key were acknowledged, {done} are in the chain"
        )


def _check_receipts(house: House, ledger: Ledger) -> None:
    """Every event whose receipt a caller has is in the chain; the chain verifies from then on by itself."""
    try:
        with opened(house.prepared.configuration) as parts:
            store = parts.vault.store
            store.checkpoint().result()
            receipts = sorted(ledger.receipts, key=lambda receipt: receipt.sequence)
            after = max((at for at in ledger.anchors if not receipts or at < receipts[0].sequence), default=0)
            verify(export(store, after), parts.vault.audit_public_key, (), receipts)
            newest = store.newest_checkpoint()
            if newest is not None:
                ledger.anchors.append(newest.checkpoint.sequence)
    except ChainBroken as broken:
        ledger.lost.append(broken.message)
    except KmsError as error:
        ledger.wrong.append(f"the store does not open: {error.message}")
    ledger.receipts.clear()
