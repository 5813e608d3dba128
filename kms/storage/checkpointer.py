"""When checkpoints are made, and getting them outside. Used by the writer's thread alone."""

from kms.errors import Unavailable
from kms.model.chain import Checkpoint, SignedCheckpoint, timestamp
from kms.storage.authentication import StoreKeys, state_digest
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.environment import Environment, Limits
from kms.storage.index import Head
from kms.storage.opening import CheckpointSigner


class Checkpointer:
    """`owed` is the newest checkpoint that is in the store but not yet outside."""

    def __init__(
        self,
        store_id: bytes,
        signer: CheckpointSigner,
        outside: CheckpointFile,
        environment: Environment,
        limits: Limits,
    ) -> None:
        self._store_id = store_id
        self._signer = signer
        self._outside = outside
        self._environment = environment
        self._limits = limits
        self._newest: SignedCheckpoint | None = None
        self._first_uncovered = 0.0
        self._uncovered = 0
        self.owed: SignedCheckpoint | None = None

    def sign(self, keys: StoreKeys, head: Head) -> SignedCheckpoint:
        digest = state_digest(keys, head.accumulator, head.rows, head.sequence)
        now = timestamp(self._environment.now())
        checkpoint = Checkpoint(self._store_id, head.sequence, head.chain_hash, digest, now)
        return SignedCheckpoint(checkpoint, self._signer.sign(checkpoint.signed_bytes()))

    def stored(self, signed: SignedCheckpoint) -> None:
        """It is committed in the store; `settle` is to bring it outside."""
        self._newest = self.owed = signed
        self._uncovered = 0

    def settle(self) -> None:
        """Bring outside what is owed. Raises `Unavailable`; the next call tries again."""
        if self.owed is None:
            return
        try:
            self._outside.write(self.owed)
        except OSError as error:
            problem = f"the checkpoint file {self._outside.path} cannot be written: {error.strerror}"
        else:
            self.owed = None
            return
        raise Unavailable(problem)

    def appended(self, count: int) -> None:
        """Events were committed without a checkpoint."""
        if self._uncovered == 0:
            self._first_uncovered = self._environment.monotonic()
        self._uncovered += count

    def covering(self, head: Head) -> SignedCheckpoint | None:
        """The newest checkpoint if it covers the head."""
        newest = self._newest
        return newest if newest is not None and newest.checkpoint.sequence == head.sequence else None

    def seconds_left(self) -> float | None:
        """Until a checkpoint is due, 0.0 when it is; None when no event is uncovered."""
        if self._uncovered == 0:
            return None
        if self._uncovered >= self._limits.checkpoint_events:
            return 0.0
        due = self._first_uncovered + self._limits.checkpoint_seconds
        return max(0.0, due - self._environment.monotonic())
