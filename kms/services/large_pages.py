"""Pages of rows that may be large: few are read at a time, and a page ends before it is too large to send."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from kms.services.call import Page
from kms.services.repository import Loaded, Repository, Stored, readable

R = TypeVar("R", bound=Stored)
T = TypeVar("T")

MAX_PAGE_BYTES = 2 << 20
READ_AT_ONCE = 16


def large_page(
    repository: Repository,
    kind: type[R],
    prefix: str,
    after: str,
    limit: int,
    read: Callable[[Loaded[R]], tuple[T, int] | None],
) -> Page[T]:
    """What `read` makes of up to `limit` rows, without those that it makes None of.

    It also says how many bytes that is, and the page ends early where it is more than 2 MiB together. A row
    that cannot be read is logged and left out.
    """
    made: list[T] = []
    total, last = 0, ""
    for number, row in enumerate(_rows(repository, kind, prefix, after)):
        if number == limit:
            return Page(tuple(made), last)
        for item, size in filter(None, readable([row], read)):
            total += size
            if made and total > MAX_PAGE_BYTES:
                return Page(tuple(made), last)
            made.append(item)
        last = row.name
    return Page(tuple(made), "")


def _rows(repository: Repository, kind: type[R], prefix: str, after: str) -> Iterator[Loaded[R]]:
    while rows := repository.scan(kind, prefix, after, READ_AT_ONCE):
        yield from rows
        after = rows[-1].name
