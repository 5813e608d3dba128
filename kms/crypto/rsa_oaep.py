"""RSAES-OAEP (RFC 8017, section 7.1); the hash of MGF1 is that of the algorithm, labels are supported."""

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from blindfold.secret import SecretBytes
from kms.crypto.aead import check_aad
from kms.crypto.loaded_key import LoadedKey
from kms.crypto.rsa_keys import HASHES, load_own, parse_public, spki
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded, PublicOnly
from kms.model.algorithms import Algorithm


class OaepKey(LoadedKey):
    """A key pair, or the public half of one, which encrypts only. Labels up to 16 KiB."""

    __slots__ = ("_hash", "_private", "_public", "_size", "_unlabelled")

    def __init__(self, algorithm: Algorithm, public: RSAPublicKey, private: RSAPrivateKey | None) -> None:
        super().__init__(algorithm, spki(public))
        self._public = public
        self._private = private
        self._size = algorithm.key_bits // 8
        self._hash = HASHES[algorithm.hash_name]
        self._unlabelled = OAEP(MGF1(self._hash), self._hash, None)

    @property
    def max_plaintext(self) -> int:
        """The longest plaintext, in bytes: k - 2 hLen - 2."""
        return self._size - 2 * self._hash.digest_size - 2

    def encrypt(self, plaintext: bytes, label: bytes = b"") -> bytes:
        """The ciphertext, as long as the modulus. Raises `LimitExceeded`."""
        if len(plaintext) > self.max_plaintext:
            limit = f"at most {self.max_plaintext} bytes with {self.algorithm.name}"
            raise LimitExceeded("plaintext", limit)
        return self._public.encrypt(plaintext, self._padding(label))

    def decrypt(self, ciphertext: bytes, label: bytes = b"") -> bytes:
        """Raises `PublicOnly`, `InvalidField` for a ciphertext of another length than the modulus,
        `LimitExceeded`, `DecryptionFailed`."""
        if self._private is None:
            raise PublicOnly
        self.check_ciphertext(ciphertext, label)
        padding = self._padding(label)
        try:
            return self._private.decrypt(ciphertext, padding)
        except ValueError:
            pass
        raise DecryptionFailed

    def check_ciphertext(self, ciphertext: bytes, label: bytes) -> None:
        """Raise `InvalidField` for another length than the modulus's, `LimitExceeded` for the label."""
        if len(ciphertext) != self._size:
            raise InvalidField("ciphertext", f"must have {self._size} bytes, not {len(ciphertext)}")
        check_aad(label, "label")

    def _padding(self, label: bytes) -> OAEP:
        if not label:
            return self._unlabelled
        check_aad(label, "label")
        return OAEP(MGF1(self._hash), self._hash, label)


def load(algorithm: Algorithm, material: SecretBytes) -> OaepKey:
    private = load_own(material)
    return OaepKey(algorithm, private.public_key(), private)


def load_public(algorithm: Algorithm, der: bytes, field: str) -> OaepKey:
    """Raises `InvalidField`."""
    return OaepKey(algorithm, parse_public(der, [algorithm.key_bits], field), None)
