"""What a root of trust asks of the processor at a start: a passphrase at SENSITIVE, and shares."""

import statistics
import time
from collections.abc import Callable

from benchmarks.figure import Figure, at_most
from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.passphrase import Passphrase
from kms.crypto.root_of_trust.shamir import Shamir

PASSPHRASE_SECONDS = 3.5
SHARES_SECONDS = 0.5
STORE_ID = bytes(16)


def measure(runs: int = 5) -> list[Figure]:
    """Seconds of processor time, the median of `runs`."""
    passphrase = Passphrase(SecretBytes(b"correct horse battery staple"))
    record = passphrase.protect(SecretBytes(bytes(32)), STORE_ID)
    provider, shares = Shamir.create(3, 5)
    shared = provider.protect(SecretBytes(bytes(32)), STORE_ID)
    return [
        at_most(
            "unlocking with a passphrase (Argon2id, SENSITIVE), processor time",
            _median(lambda: passphrase.unlock(record), runs),
            "s",
            PASSPHRASE_SECONDS,
        ),
        at_most(
            "unlocking with 3 of 5 shares, processor time",
            _median(lambda: Shamir.combine(shared, shares[1:4]).unlock(shared), runs),
            "s",
            SHARES_SECONDS,
        ),
    ]


def _median(act: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        begun = time.process_time()
        act()
        times.append(time.process_time() - begun)
    return statistics.median(times)
