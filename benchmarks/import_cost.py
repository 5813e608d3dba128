"""What `import blindfold` costs a program that seals: processor time of a fresh interpreter."""

import statistics

from benchmarks.figure import Figure, at_most
from benchmarks.processor_time import of_program

TARGET_MILLISECONDS = 150


def measure(runs: int = 11) -> list[Figure]:
    """Milliseconds above an interpreter that imports nothing, the median of `runs`."""
    pairs = [(of_program(["-c", "pass"]), of_program(["-c", "import blindfold"])) for _ in range(runs)]
    value = 1000 * statistics.median(loaded - empty for empty, loaded in pairs)
    return [at_most("import blindfold, processor time", value, "ms", TARGET_MILLISECONDS)]
