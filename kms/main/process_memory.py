"""What the system may do with the memory of a server besides `kms.crypto.private_process`: swap it."""

import resource
from pathlib import Path

from blindfold.secret import MEMORY

# What the server's keys take, and room for calls.
ENOUGH = 4 << 20


def memory_warnings(swaps: Path = Path("/proc/swaps")) -> list[str]:
    """What an operator should know of swapping, once secrets were held."""
    warnings = []
    if devices := _swap_devices(swaps):
        warnings.append(
            f"Memory may be swapped to {', '.join(devices)}: encrypt it, or switch it off. Only short "
            "secrets are locked in memory (SECURITY.md)."
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if MEMORY.report().locked == 0:
        warnings.append("No memory can be locked: secrets may be swapped out. Raise RLIMIT_MEMLOCK.")
    elif 0 <= limit < ENOUGH:
        warnings.append(
            f"Only {limit >> 10} KiB of memory can be locked; secrets beyond may be swapped out. Raise "
            f"RLIMIT_MEMLOCK to {ENOUGH >> 20} MiB or more."
        )
    return warnings


def _swap_devices(swaps: Path) -> list[str]:
    """The files and devices that Linux swaps to, but for compressed memory (zram)."""
    try:
        lines = swaps.read_text("ascii", errors="replace").splitlines()[1:]
    except OSError:
        return []
    names = [line.split()[0] for line in lines if line.strip()]
    return [name for name in names if not Path(name).name.startswith("zram")]
