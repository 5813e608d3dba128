"""The time windows of all rules at once. Time zones are loaded when the policy is compiled, not later."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from blindfold.predicates import DAYS
from kms.authz.index import IntervalIndex, Outcome, Placed
from kms.errors import InvalidField
from kms.model.access_request import AccessRequest
from kms.model.policy import TimeWindow

_DAY = 24 * 60
_WEEK = 7 * _DAY
# Files beside the zones that hosts differ in: a policy must not decide by the zone that a server stands in.
_OF_THE_HOST = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def _zone(name: str, path: str) -> ZoneInfo:
    try:
        if name.partition("/")[0] not in _OF_THE_HOST:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise InvalidField(path, "is not a time zone that this server knows")


def _minutes(moment: time | None) -> int:
    return 0 if moment is None else moment.hour * 60 + moment.minute


def week_intervals(window: TimeWindow) -> Iterator[tuple[int, int]]:
    """The window's days and hours as disjoint intervals [start, end) in minutes since Monday 00:00."""
    start, end = _minutes(window.start_time), _minutes(window.end_time)
    if end <= start:
        end += _DAY
    for day in window.days or DAYS:
        offset = DAYS.index(day) * _DAY
        yield offset + start, min(offset + end, _WEEK)
        if offset + end > _WEEK:
            yield 0, offset + end - _WEEK


class TimeIndex:
    """The `time_window` of all rules."""

    def __init__(self, placed: Sequence[Placed[TimeWindow]]) -> None:
        self._periods = IntervalIndex(
            (item.bit, item.value.not_before or _BEGINNING, item.value.not_after) for item in placed
        )
        self._at_any_hour = 0
        by_zone: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        zones: dict[str, ZoneInfo] = {}
        for item in placed:
            if not item.value.days and item.value.start_time is None:
                self._at_any_hour |= item.bit
                continue
            name = item.value.time_zone or "UTC"
            zones[name] = zones.get(name) or _zone(name, f"{item.path}.time_zone")
            by_zone[name] += [(item.bit, start, end) for start, end in week_intervals(item.value)]
        self._weeks = [(zones[name], IntervalIndex(intervals)) for name, intervals in by_zone.items()]

    def __call__(self, request: AccessRequest, address: int | None) -> Outcome:
        in_week = self._at_any_hour
        for zone, week in self._weeks:
            local = request.time.astimezone(zone)
            in_week |= week.at(local.weekday() * _DAY + local.hour * 60 + local.minute)
        return Outcome(self._periods.at(request.time) & in_week)
