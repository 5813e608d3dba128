"""The audit key: Ed25519 over checkpoints. The public half is all that an outside verifier needs."""

from collections.abc import Callable
from dataclasses import dataclass

from blindfold._primitives import (
    BadSignatureError,
    ed25519_public_key,
    ed25519_sign,
    ed25519_verify,
    random_bytes,
)
from blindfold.secret import SecretBytes
from kms.errors import StoreTampered
from kms.model.chain import SignedCheckpoint

SEED_SIZE = 32


@dataclass(frozen=True, slots=True)
class AuditKey:
    """Signs and verifies checkpoints, as `kms.storage.opening.CheckpointSigner` demands."""

    seed: SecretBytes
    public_key: bytes

    @classmethod
    def new(cls, random: Callable[[int], bytes] = random_bytes) -> "AuditKey":
        return cls.from_seed(SecretBytes(random(SEED_SIZE)))

    @classmethod
    def from_seed(cls, seed: SecretBytes) -> "AuditKey":
        return cls(seed, ed25519_public_key(seed.reveal()))

    def sign(self, message: bytes) -> bytes:
        return ed25519_sign(self.seed.reveal(), message)

    def verify(self, message: bytes, signature: bytes) -> None:
        verify_signature(self.public_key, message, signature)


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `StoreTampered` unless the audit key made the signature."""
    try:
        ed25519_verify(public_key, message, signature)
    except BadSignatureError:
        pass
    else:
        return
    raise StoreTampered("a checkpoint's signature does not verify")


def verify_checkpoint(public_key: bytes, signed: SignedCheckpoint) -> None:
    """Raise `StoreTampered` unless the audit key signed the checkpoint."""
    verify_signature(public_key, signed.checkpoint.signed_bytes(), signed.signature)
