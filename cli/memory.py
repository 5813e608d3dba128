"""The sealer's memory of documents, read, checked and written under one lock."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindfold import seen
from blindfold.documents import KeyDocument, PolicyDocument
from blindfold.errors import DocumentInvalid
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.output import warn

NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def remember(path: Path, root: str, key: KeyDocument, policy: PolicyDocument) -> None:
    """Refuse documents older than those used before, or of another policy; note these for the next time.

    Where nothing can be written, what is there is still obeyed, and a warning says that these documents are
    not noted. Raises as `Seen.accept`, `OSError`, and `CliError` for a damaged memory.
    """
    try:
        with _locked(path):
            known = _load(path)
            following = known.accept(root, key, policy)
            if following != known:
                seen.store(path, following)
            return
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        reason = error.strerror
    known = _load(path)
    if known.accept(root, key, policy) != known:
        warn(f"{path} cannot be written ({reason}); an older document will not be noticed next time")


def _load(path: Path) -> seen.Seen:
    try:
        return seen.load(path)
    except DocumentInvalid as error:
        reason = str(error)
    raise CliError(
        f"{path}: {reason}",
        hint="Restore it, or delete it if you accept whichever documents are offered next.",
        code=ExitCode.DAMAGED,
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One sealer at a time. The memory is replaced when it is written, so the lock is a file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
