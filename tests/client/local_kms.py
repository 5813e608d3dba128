"""A KMS without a server, for what needs many calls: two keys with two versions, as the real one has them."""

import io
import os

from blindfold.secret import SecretBytes
from blindfold.stream import CHUNK
from kms.client.errors import CallInvalid
from kms.client.operations import DataKey, Decrypt, Decrypted, GenerateDataKey, ReEncrypt, ReEncrypted
from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import VersionCipher, parse
from kms.errors import DecryptionFailed, InvalidField
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyVersionName

KEY = "tenants/acme/namespaces/prod/keys/files"
OTHER = "tenants/acme/namespaces/prod/keys/other"
TEXT = b"a plaintext"
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17]


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class LocalKms:
    """`asked` are the kinds of all requests."""

    def __init__(self):
        self.asked = []
        self.primary = 1
        key = AeadKey(ALGORITHMS["AES_256_GCM"], SecretBytes(bytes(32)))
        self._ciphers = {
            (name, version): VersionCipher(
                key, KeyVersionName.parse(f"{name}/versions/{version}"), name[-5:].encode() + bytes(11)
            )
            for name in (KEY, OTHER)
            for version in (1, 2)
        }

    def run(self, name, request):
        self.asked.append(type(request))
        acts = {GenerateDataKey: self._generate, Decrypt: self._decrypt, ReEncrypt: self._re_encrypt}
        return acts[type(request)](name, request)

    def _generate(self, name, request):
        plaintext = os.urandom(request.byte_count)
        return DataKey(*self._encrypt(name, plaintext, request.aad), SecretBytes(plaintext))

    def _decrypt(self, name, request):
        try:
            ciphertext = parse(request.ciphertext)
            cipher = self._ciphers.get((name, ciphertext.version))
            if cipher is None:
                raise DecryptionFailed
            plaintext = SecretBytes(cipher.decrypt(ciphertext, request.aad))
        except (InvalidField, DecryptionFailed) as error:
            raise CallInvalid(error.message, reason=error.reason) from None
        return Decrypted(f"{name}/versions/{ciphertext.version}", plaintext)

    def _re_encrypt(self, name, request):
        made = self._decrypt(name, Decrypt(request.ciphertext, request.aad))
        destination = request.destination or name
        moved = self._encrypt(destination, made.plaintext.reveal(), request.destination_aad)
        return ReEncrypted(moved[0], made.name, moved[1])

    def _encrypt(self, name, plaintext, aad):
        version = f"{name}/versions/{self.primary}"
        return version, self._ciphers[name, self.primary].encrypt(plaintext, aad)


class Trickle(io.BytesIO):
    """Gives and takes a little at a time, as pipes and unbuffered files may."""

    def read(self, size=-1, /):
        return super().read(min(size, 1000) if size >= 0 else 1000)

    def write(self, data, /):
        return super().write(data[:1000])
