"""How many files and connections a process may have open."""

import resource


def allow_open_files(number: int) -> None:
    """So many, where the system allows it; no fewer than before.

    Systems begin with few for programs that ask no more, and a server that has none left accepts nobody.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
