"""The matchers of additional authenticated data of all rules at once."""

from collections import defaultdict
from collections.abc import Sequence

from kms.authz.index import Outcome, Placed, ValueIndex, union
from kms.model.access_request import AccessRequest
from kms.model.policy import AadMatcher


class AadIndex:
    """The `aad_matcher` of all rules. No data and empty data are the same, as for the cipher."""

    def __init__(self, placed: Sequence[Placed[AadMatcher]]) -> None:
        asking = [item for item in placed if item.value.equals or item.value.starts_with]
        self._not_asking = union(placed) & ~union(asking)
        self._equals = ValueIndex((value, item.bit) for item in asking for value in item.value.equals)
        self._prefixes: dict[bytes, int] = defaultdict(int)
        self._lacks: dict[bytes, int] = defaultdict(int)
        for item in placed:
            for value in item.value.starts_with:
                self._prefixes[value] |= item.bit
            for value in item.value.lacks:
                self._lacks[value] |= item.bit

    def __call__(self, request: AccessRequest, address: int | None) -> Outcome:
        aad = request.aad or b""
        holds = self._not_asking | self._equals.any_of((aad,))
        for value, rules in self._prefixes.items():
            if aad.startswith(value):
                holds |= rules
        for value, rules in self._lacks.items():
            if value in aad:
                holds &= ~rules
        return Outcome(holds)
