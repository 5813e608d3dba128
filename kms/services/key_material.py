"""Fresh key material, drawn where it does not stop the event loop."""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import StrEnum

from blindfold.secret import SecretBytes
from kms.crypto.key_handle import generate
from kms.model.algorithms import Algorithm


class Origin(StrEnum):
    """Where a version's material came from."""

    GENERATED = "GENERATED"
    IMPORTED = "IMPORTED"
    IMPORTED_PUBLIC = "IMPORTED_PUBLIC"
    COPIED = "COPIED"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Material for one version; `public_key` is an SPKI in DER, empty for symmetric keys."""

    material: SecretBytes
    public_key: bytes


async def new_version(algorithm: Algorithm, workers: Executor) -> NewVersion:
    """Generated in a worker for RSA, which takes a second; at once for all else."""
    if algorithm.is_asymmetric:
        made = await asyncio.get_running_loop().run_in_executor(workers, generate, algorithm)
    else:
        made = generate(algorithm)
    return NewVersion(made.material, made.public_key)
