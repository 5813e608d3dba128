"""A second server on the same store is refused, and the first goes on."""

import random
import time
from pathlib import Path

from chaos.house import Refused, build
from chaos.kills import check_store
from chaos.ledger import Ledger
from chaos.load import prepare_load
from chaos.outcome import Outcome

ATTEMPTS = 3


def run(directory: Path, times: int, draw: random.Random) -> Outcome:
    house, ledger = build(directory), Ledger()
    with house.served():
        load = prepare_load(house, ledger)
        with load.running():
            for _ in range(min(times, ATTEMPTS)):
                first = house.addresses
                try:
                    with house.served():
                        ledger.wrong.append("two servers serve one store")
                except Refused as refused:
                    if "in use by another server" not in str(refused):
                        ledger.wrong.append(f"the second server ended otherwise: {refused}")
                house.addresses = first
            time.sleep(draw.uniform(0.2, 1.0))
        with house.calling() as api:
            ledger.check(api, everything=True)
    check_store(house, ledger)
    return Outcome("a second server on the store", min(times, ATTEMPTS), ledger)
