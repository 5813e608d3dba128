"""`make chaos`: kills, faults of the disk, jumps of the clock and rivals, against real servers.

    python -m chaos [SCENARIO ...] [--kills N] [--seed N]

Prints what was acknowledged, and what of it is lost or wrong; ends with 1 unless nothing is.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from chaos import clock, flips, fsyncs, kills, rivals, writes
from chaos.outcome import Outcome, summary

KILLS = 20

Scenario = Callable[[Path, int, random.Random], Outcome]

# Each is given an empty directory, how often at most to do what it does, and randomness.
SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "kills": kills.run,
        "fsyncs": fsyncs.run,
        "writes": writes.run,
        "full": writes.run_full,
        "read-only": writes.run_read_only,
        "flips": flips.run,
        "clock": clock.run,
        "rivals": rivals.run,
    }
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--kills", type=int, default=KILLS, help="and so many faults of other kinds at most")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    print(f"seed {options.seed}", flush=True)
    outcomes: list[Outcome] = []
    first = time.monotonic()
    for name in options.scenarios or SCENARIOS:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
            outcome = SCENARIOS[name](Path(directory), options.kills, random.Random(options.seed))
        print(*outcome.lines(), f"  {time.monotonic() - begun:.0f} s", sep="\n", flush=True)
        outcomes.append(outcome)
    print(summary(outcomes), f"  {time.monotonic() - first:.0f} s", sep="\n", flush=True)
    return 0 if all(outcome.holds for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
