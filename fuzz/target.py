"""What a fuzz target is, and where seeds come from."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from blindfold.errors import BlindfoldError

VECTORS = Path(__file__).parents[1] / "testvectors"


class PropertyBroken(AssertionError):
    """A parser accepted bytes that it would not have written."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser. `reprint` parses and prints; `seeds` are inputs to start from, of which some are good.

    They are drawn once: some have keys and signatures that would be others each time.
    """

    reprint: Callable[[bytes], bytes]
    seeds: Callable[[], list[bytes]]
    refusal: type[Exception] | tuple[type[Exception], ...] = BlindfoldError

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", cache(self.seeds))

    def check(self, data: bytes) -> bool:
        """Whether data was accepted. Raises `PropertyBroken`, or whatever the parser must not raise."""
        try:
            printed = self.reprint(data)
        except self.refusal:
            return False
        if printed != data:
            raise PropertyBroken(f"{data!r} was printed as {printed!r}")
        return True


def vectors(name: str, directory: str = "blindfold") -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = json.loads((VECTORS / directory / name).read_text())["tests"]
    return tests
