"""Pauses between attempts, by which many that failed together do not come back together."""

import logging
from collections.abc import Callable

import tenacity

from kms.client.errors import CallFailed
from kms.errors import KmsError
from kms.external.errors import ExternalFailed

_log = logging.getLogger(__name__)


def growing(first: float, longest: float) -> Callable[[tenacity.RetryCallState], float]:
    """For tenacity's `wait`: random, up to a limit that doubles from `first` to `longest`, in seconds.

    Where the server says when to come again, after that time, of which `longest` counts.
    """
    drawn = tenacity.wait_random_exponential(first, longest)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        told = error.retry_after if isinstance(error, CallFailed | ExternalFailed) else None
        return min(told or 0.0, longest) + drawn(state)

    return pause


def reported(what: str) -> Callable[[tenacity.RetryCallState], None]:
    """For tenacity's `before_sleep`: a line of log, without the texts of errors that were not foreseen."""

    def report(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        words = type(error).__name__
        if isinstance(error, KmsError | CallFailed | ExternalFailed):
            words = error.message
        _log.warning("attempt %d to %s failed: %s", state.attempt_number, what, words)

    return report
