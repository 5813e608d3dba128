"""What came of a scenario."""

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.ledger import Ledger

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """`cycles` are kills, faults, flipped bytes or the like; the ledger has the rest. `skipped` says why."""

    name: str
    cycles: int
    ledger: Ledger
    skipped: str = ""

    @property
    def holds(self) -> bool:
        return not self.ledger.lost and not self.ledger.wrong

    def lines(self) -> list[str]:
        """For a person: one, and then what is lost or wrong."""
        if self.skipped:
            return [f"{self.name}: skipped, {self.skipped}"]
        count = sum(self.ledger.operations.values())
        lost, wrong = self.ledger.lost, self.ledger.wrong
        by_kind = ", ".join(f"{kind} {number:,}" for kind, number in sorted(self.ledger.operations.items()))
        line = f"{self.name}: {self.cycles} cycles, {count:,} acknowledged operations"
        line += f" ({by_kind})" if by_kind else ""
        return [
            f"{line}, lost = {len(lost)}, wrong = {len(wrong)}",
            *(f"  lost: {words}" for words in lost[:SHOWN]),
            *(f"  wrong: {words}" for words in wrong[:SHOWN]),
        ]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Of all scenarios together, in one line."""
    cycles = sum(outcome.cycles for outcome in outcomes)
    count = sum(outcome.ledger.operations.total() for outcome in outcomes)
    lost = sum(len(outcome.ledger.lost) for outcome in outcomes)
    wrong = sum(len(outcome.ledger.wrong) for outcome in outcomes)
    return f"in all: {cycles} cycles, {count:,} acknowledged operations, lost = {lost}, wrong = {wrong}"
