"""What `import blindfold` costs a program that seals: processor time of a fresh interpreter."""

import resource
import statistics
import subprocess
import sys

Figure = dict[str, object]

TARGET_MILLISECONDS = 150


def figures(runs: int = 11) -> list[Figure]:
    """Milliseconds above an interpreter that imports nothing, the median of `runs`."""
    pairs = [(milliseconds("pass"), milliseconds("import blindfold")) for _ in range(runs)]
    value = statistics.median(loaded - empty for empty, loaded in pairs)
    return [
        {
            "name": "import blindfold, processor time",
            "value": value,
            "unit": "ms",
            "beside": None,
            "ratio": None,
            "target": TARGET_MILLISECONDS,
            "ok": value < TARGET_MILLISECONDS,
        }
    ]


def milliseconds(program: str) -> float:
    before = children_milliseconds()
    subprocess.run([sys.executable, "-c", program], check=True, stdin=subprocess.DEVNULL)
    return children_milliseconds() - before


def children_milliseconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    for item in figures():
        print(item)


if __name__ == "__main__":
    main()
