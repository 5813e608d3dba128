"""RSASSA-PSS (RFC 8017, section 8.1); the hash of MGF1 is that of the algorithm, the salt as long as it."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import HashAlgorithm

from blindfold.secret import SecretBytes
from kms.crypto.aead import check_plaintext
from kms.crypto.loaded_key import LoadedKey
from kms.crypto.rsa_keys import HASHES, load_own, parse_public, spki
from kms.errors import InvalidField, PublicOnly, SignatureInvalid
from kms.model.algorithms import Algorithm


class PssKey(LoadedKey):
    """A key pair, or the public half of one, which verifies only.

    It signs a message up to 64 KiB, or the digest of one of any length; the signature is the same kind.
    """

    __slots__ = ("_digest_size", "_hash", "_padding", "_prehashed", "_private", "_public")

    def __init__(self, algorithm: Algorithm, public: RSAPublicKey, private: RSAPrivateKey | None) -> None:
        super().__init__(algorithm, spki(public))
        self._public = public
        self._private = private
        self._hash = HASHES[algorithm.hash_name]
        self._digest_size = self._hash.digest_size
        self._prehashed = Prehashed(self._hash)
        self._padding = PSS(MGF1(self._hash), self._digest_size)

    def sign(self, message: bytes) -> bytes:
        """A signature, as long as the modulus. Raises `PublicOnly`, `LimitExceeded`."""
        check_plaintext(message, "message")
        return self._sign(message, self._hash)

    def sign_digest(self, digest: bytes) -> bytes:
        """As `sign`, given the message's digest. Raises `InvalidField` for another length than the hash's."""
        self.check_digest(digest)
        return self._sign(digest, self._prehashed)

    def verify(self, message: bytes, signature: bytes) -> bytes:
        """The message, if the signature is its own. Raises `SignatureInvalid`, `LimitExceeded`."""
        check_plaintext(message, "message")
        return self._verify(message, signature, self._hash)

    def verify_digest(self, digest: bytes, signature: bytes) -> bytes:
        """The digest, if the signature is its message's. Raises `SignatureInvalid`, `InvalidField`."""
        self.check_digest(digest)
        return self._verify(digest, signature, self._prehashed)

    def _sign(self, data: bytes, algorithm: HashAlgorithm | Prehashed) -> bytes:
        if self._private is None:
            raise PublicOnly
        return self._private.sign(data, self._padding, algorithm)

    def _verify(self, data: bytes, signature: bytes, algorithm: HashAlgorithm | Prehashed) -> bytes:
        try:
            self._public.verify(signature, data, self._padding, algorithm)
        except InvalidSignature:
            pass
        else:
            return data
        raise SignatureInvalid

    def check_digest(self, digest: bytes) -> None:
        """Raise `InvalidField` for another length than the hash's."""
        if len(digest) != self._digest_size:
            name, size = self._hash.name, self._digest_size
            raise InvalidField("digest", f"a {name} digest has {size} bytes, not {len(digest)}")


def load(algorithm: Algorithm, material: SecretBytes) -> PssKey:
    private = load_own(material)
    return PssKey(algorithm, private.public_key(), private)


def load_public(algorithm: Algorithm, der: bytes, field: str) -> PssKey:
    """Raises `InvalidField`."""
    return PssKey(algorithm, parse_public(der, [algorithm.key_bits], field), None)
