"""`kms serve` that destroys days ahead, and follows a clock that somebody else sets.

    python -m chaos.server serve ...

`CHAOS_CLOCK` names a file with the seconds by which the clock is off, read at each look at it. Destructions
are due after 24 hours at least; `CHAOS_AHEAD` days let them come at once.
"""

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported
from cli.kms import main
from kms import scheduler
from kms.main import serving
from kms.services import root_key_rotation
from kms.storage.environment import Limits

LOOK_EVERY = 0.1


def shifted(clock: Path) -> datetime:
    try:
        seconds = float(clock.read_text())
    except (FileNotFoundError, ValueError):
        seconds = 0.0
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Ahead(scheduler.Scheduler):
    """Destroys what is due within `ahead`."""

    ahead = timedelta(0)

    async def look_after_keys(self) -> None:
        await super().look_after_keys()
        await self._upkeep.destroy_due(self._now() + self.ahead)


def live_elsewhen(clock: Path, ahead: timedelta) -> None:
    now = partial(shifted, clock)
    Ahead.ahead = ahead
    serving.utc_now = now
    serving.build_app = partial(serving.build_app, now=now)
    serving.Scheduler = Ahead  # type: ignore[attr-defined]
    scheduler.LOOK_EVERY = LOOK_EVERY
    # So that kills come between the steps of a rotation.
    serving.Settings = partial(serving.Settings, limits=Limits(step_rows=500, step_events=2000))
    root_key_rotation.RETRY_AFTER = LOOK_EVERY


if __name__ == "__main__":
    live_elsewhen(Path(os.environ["CHAOS_CLOCK"]), timedelta(days=int(os.environ["CHAOS_AHEAD"])))
    main()
