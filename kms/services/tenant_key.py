"""The key that all else of a tenant is wrapped under, at work."""

from blindfold.private_key import PrivateKey
from blindfold.secret import SecretBytes
from kms.crypto.wrapping import unwrap, wrap
from kms.errors import StoreTampered
from kms.model.names import BlindfoldKeyName, KeyVersionName
from kms.model.records import BlindfoldKeyRecord, ImportKeyRecord, KeyVersionRecord, SignerRecord

# Algorithm and purpose.
_SIGNER = ("ED25519", "document signing")
_IMPORT_KEY = ("RSA_OAEP_3072_SHA256", "import key")


class TenantKey:
    """Wraps and unwraps what one tenant owns, each for its place. It lasts as long as somebody holds it."""

    __slots__ = ("_key",)

    def __init__(self, key: SecretBytes) -> None:
        self._key = key

    def wrap(self, secret: SecretBytes, resource: str, version: int, algorithm: str, purpose: str) -> bytes:
        return wrap(
            self._key, secret, resource=resource, version=version, algorithm=algorithm, purpose=purpose
        )

    def unwrap(
        self, wrapped: bytes, resource: str, version: int, algorithm: str, purpose: str
    ) -> SecretBytes:
        """Raises `StoreTampered`."""
        return unwrap(
            self._key, wrapped, resource=resource, version=version, algorithm=algorithm, purpose=purpose
        )

    def wrap_key_version(self, name: KeyVersionName, algorithm: str, material: SecretBytes) -> bytes:
        """The stored form of a key version's material."""
        return self.wrap(material, str(name.key_name), name.version, algorithm, "key version")

    def unwrap_key_version(self, name: KeyVersionName, record: KeyVersionRecord) -> SecretBytes:
        """The material. Raises `StoreTampered`."""
        return self.unwrap(
            record.wrapped_key, str(name.key_name), name.version, record.algorithm, "key version"
        )

    def wrap_blindfold_key(self, name: BlindfoldKeyName, key: PrivateKey) -> bytes:
        with key.to_bytes() as secret:
            algorithm = _blindfold_algorithm(key.n.bit_length())
            return self.wrap(secret, str(name), name.version, algorithm, "blindfold")

    def unwrap_blindfold_key(self, name: BlindfoldKeyName, record: BlindfoldKeyRecord) -> PrivateKey:
        """Raises `StoreTampered`, also if it is not the key of the record's modulus."""
        algorithm = _blindfold_algorithm(record.modulus_bits)
        with self.unwrap(record.wrapped_key, str(name), name.version, algorithm, "blindfold") as secret:
            key = PrivateKey.from_bytes(secret.reveal())
        if int(key.n) != int.from_bytes(record.modulus, "big"):
            raise StoreTampered(f"the private key of {name} is not that of its public key")
        return key

    def wrap_signer(self, row: str, seed: SecretBytes) -> bytes:
        """The stored form of a delegated signing key, in the row of that name."""
        return self.wrap(seed, row, 1, *_SIGNER)

    def unwrap_signer(self, row: str, record: SignerRecord) -> SecretBytes:
        """The inverse. Raises `StoreTampered`."""
        return self.unwrap(record.wrapped_seed, row, 1, *_SIGNER)

    def wrap_import_key(self, row: str, private: SecretBytes) -> bytes:
        """The stored form of an import key's private half, in the row of that name."""
        return self.wrap(private, row, 1, *_IMPORT_KEY)

    def unwrap_import_key(self, row: str, record: ImportKeyRecord) -> SecretBytes:
        """The inverse. Raises `StoreTampered`."""
        return self.unwrap(record.wrapped_key, row, 1, *_IMPORT_KEY)


def _blindfold_algorithm(modulus_bits: int) -> str:
    return f"BLINDFOLD_RSA_{modulus_bits}"
