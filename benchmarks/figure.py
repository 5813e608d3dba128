"""One measured figure, as `benchmarks/latest.json` holds it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `beside` is what it is compared with, in the same unit and run.

    `ratio` is value / beside, or the value itself where nothing stands beside it. `ok` says whether the
    target is met, None where there is none.
    """

    name: str
    value: float
    unit: str
    beside: float | None
    ratio: float
    target: float | None
    ok: bool | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def at_least(name: str, value: float, beside: float, unit: str, target: float) -> Figure:
    """A share of what stands beside that must reach its target."""
    ratio = value / beside
    return Figure(name, value, unit, beside, ratio, target, ratio >= target)


def at_most(name: str, value: float, unit: str, target: float) -> Figure:
    """A value that must stay within its target."""
    return Figure(name, value, unit, None, value, target, value <= target)


def not_less(name: str, value: float, unit: str, target: float) -> Figure:
    """A value that must reach its target."""
    return Figure(name, value, unit, None, value, target, value >= target)


def shown(name: str, value: float, unit: str, beside: float | None = None) -> Figure:
    """A value without a target."""
    return Figure(name, value, unit, beside, value / beside if beside else value, None, None)
