"""How many files a server may have open: as many as it wants, as far as the system lets it."""

import resource
import subprocess
import sys

import pytest

from kms.client.open_files import allow_open_files

ASK = """
import resource
from kms.client.open_files import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
allow_open_files({number})
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("number", "limits"), [(50, (100, 400)), (300, (300, 400)), (1 << 16, (400, 400))])
def test_limit_is_raised_as_far_as_it_may_be_and_never_lowered(number: int, limits: tuple[int, int]) -> None:
    command = [sys.executable, "-c", ASK.format(number=number)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == str(limits)


def test_what_is_enough_already_stays() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_open_files(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
