"""`make bench`: a table on the terminal and `benchmarks/latest.json`. `make bench ONLY=name` runs one."""

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.figure import Figure

LATEST = Path(__file__).parent / "latest.json"

BENCHMARKS = (
    "import_cost",
    "cold_seal",
    "sealing",
    "private_operation",
    "evaluation",
    "encryption",
    "rsa",
    "device",
    "latency",
    "fairness",
    "growth",
    "memory",
    "peers",
    "start",
    "unlocking",
    "durability",
    "policies",
    "wingman",
    "keygen",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS)
    only = parser.parse_args().only
    figures: list[Figure] = []
    for name in (only,) if only else BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        measure: Callable[[], list[Figure]] = import_module(f"benchmarks.{name}").measure
        found = measure()
        for figure in found:
            print(line(figure), flush=True)
        figures += found
    LATEST.write_text(json.dumps([figure.to_json() for figure in figures], indent=1) + "\n")
    if any(figure.ok is False for figure in figures):
        sys.exit(1)


def line(figure: Figure) -> str:
    verdict = {True: "ok", False: "MISSED", None: ""}[figure.ok]
    beside = "" if figure.beside is None else f"{figure.beside:,.1f}"
    target = "" if figure.target is None else f"{figure.target:g}"
    columns = f"{figure.value:>12,.2f} {figure.unit:<7} {beside:>10} {figure.ratio:>9.3f} {target:>7}"
    return f"{figure.name:<66} {columns} {verdict}".rstrip()


if __name__ == "__main__":
    main()
