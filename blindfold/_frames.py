"""Errors that leave this package without the local variables of the frames they came through.

A program that reports an error with the values of all locals, as many collectors of errors do, would
otherwise report x, keys, primes and plaintext.
"""

import functools
from collections.abc import Callable, Iterator
from traceback import clear_frames
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def clearing(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function; what it raises keeps its type, text and line numbers, and no local variable."""

    @functools.wraps(function)
    def cleared(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            # This frame is the one that still runs, so it is not cleared.
            del args, kwargs
            clear_frames(error.__traceback__)
            raise

    return cleared


def clearing_pieces(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces; what they raise is cleared as by `clearing`, however late."""
    try:
        yield from pieces
    except BaseException as error:
        clear_frames(error.__traceback__)
        raise
