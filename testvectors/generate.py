"""Write every vector file anew: `python -m testvectors.generate`. The same code gives the same bytes."""

from collections.abc import Callable
from pathlib import Path

from testvectors import (
    backup_vectors,
    blindfold_documents,
    blindfold_opening,
    blindfold_sealing,
    identity_vectors,
    kms_vectors,
    store_backup_vectors,
)
from testvectors.vectorfile import VectorFile

ROOT = Path(__file__).parent

BLINDFOLD: dict[str, Callable[[], VectorFile]] = {
    "exponent.json": blindfold_documents.exponents,
    "documents.json": blindfold_documents.documents,
    "bundles.json": blindfold_documents.bundles,
    "seal.json": blindfold_sealing.seals,
    "evaluate.json": blindfold_sealing.evaluations,
    "open.json": blindfold_opening.opens,
    "chunks.json": blindfold_opening.chunked,
}


def generate() -> dict[Path, str]:
    """The text of every file."""
    files = {ROOT / "blindfold" / name: make().text() for name, make in BLINDFOLD.items()}
    files |= {ROOT / "backup" / name: file.text() for name, file in backup_vectors.generate().items()}
    files |= {ROOT / "backup" / name: file.text() for name, file in store_backup_vectors.generate().items()}
    files |= {ROOT / "kms" / name: file.text() for name, file in kms_vectors.generate().items()}
    return files | {ROOT.parent / name: text for name, text in identity_vectors.generate().items()}


def main() -> None:
    for path, text in generate().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"{path.relative_to(ROOT.parent)}: {len(text)} bytes")


if __name__ == "__main__":
    main()
