"""The clock of the server jumps both ways while it serves, and comes back."""

import random
import time
from dataclasses import replace
from pathlib import Path

from chaos.house import build
from chaos.kills import check_store
from chaos.ledger import Ledger
from chaos.load import prepare_load
from chaos.outcome import Outcome
from kms.client.errors import CallUnauthenticated
from kms.errors import KmsError

HOUR, DAY = 3600.0, 86400.0
# Certificates last a day: far away in time the server refuses its callers, or they refuse it.
JUMPS = (20 * HOUR, -20 * HOUR, HOUR, -HOUR, 400 * DAY, -400 * DAY)
AWAY, BACK = 1.5, 1.0


def run(directory: Path, times: int, draw: random.Random) -> Outcome:
    """Each jump lasts a while under load. Then the same server serves on, and another one from the store."""
    house, ledger = build(directory), Ledger()
    house.ahead = 0
    with house.served():
        load = replace(prepare_load(house, ledger), refusals=(CallUnauthenticated, KmsError))
    jumps = JUMPS[:times]
    for jump in jumps:
        with house.killed():
            with load.running():
                time.sleep(BACK)
                house.set_clock(jump)
                time.sleep(AWAY)
                house.set_clock(0)
                time.sleep(BACK)
            with house.calling() as api:
                ledger.check(api)
        check_store(house, ledger)
    with house.served(), house.calling() as api:
        ledger.check(api, everything=True)
    return Outcome("the clock jumps both ways", len(jumps), ledger)
