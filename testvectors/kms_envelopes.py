"""Vectors of envelopes (docs/spec/envelope.md)."""

from dataclasses import dataclass, replace

from blindfold._encoding import lp, u8
from blindfold._primitives import AESGCM, hkdf, sha256
from testvectors.kms_material import AAD, HERE, PLAINTEXT, Place, flip
from testvectors.material import seeded
from testvectors.vectorfile import VectorFile

LABEL = b"kms/v1 envelope"


@dataclass(frozen=True)
class Recipe:
    """An envelope in its parts; what is not a part of its own is made as the specification says."""

    place: Place = HERE
    magic: bytes = bytes.fromhex("934b4d5345560d0a")
    format: int = 1
    name: str = HERE.name
    data_key: bytes = seeded("kms data key", 32)
    salt: bytes = seeded("kms salt", 32)
    label: bytes = LABEL
    counter: int = 0
    last: bool = True

    @property
    def wrapped(self) -> bytes:
        return self.place.encrypt(self.data_key, LABEL)

    def header(self, wrapped: bytes) -> bytes:
        return self.magic + u8(self.format) + lp(self.name.encode()) + lp(wrapped) + self.salt

    def keys(self, aad: bytes) -> tuple[bytes, bytes]:
        info = self.label + b"\x00" + sha256(aad)
        okm = hkdf("sha256", secret=self.data_key, salt=self.salt, info=info, length=64)
        return okm[:32], okm[32:]

    def chunk(self, plaintext: bytes, aad: bytes) -> bytes:
        nonce = self.counter.to_bytes(11, "big") + u8(self.last)
        return AESGCM(self.keys(aad)[1]).encrypt(nonce, plaintext, None)

    def encrypt(
        self, plaintext: bytes = PLAINTEXT, aad: bytes = AAD, *, wrapped: bytes | None = None
    ) -> bytes:
        """`wrapped` replaces the wrapped data key."""
        header = self.header(self.wrapped if wrapped is None else wrapped)
        return header + self.keys(aad)[0] + self.chunk(plaintext, aad)


GOOD = Recipe()


def fields(envelope: bytes, aad: bytes = AAD, *, data_key: bytes = GOOD.data_key) -> dict[str, str]:
    return {
        "key": HERE.key_name,
        "data_key": data_key.hex(),
        "aad": aad.hex(),
        "envelope": envelope.hex(),
    }


def envelopes() -> VectorFile:
    file = VectorFile(
        "kms/v1 envelope",
        "envelope_schema.json",
        {
            "Valid": "Encrypting with the salt gives the envelope, and decrypting it the plaintext.",
            "Format": "The header breaks its form.",
            "OtherKey": "The envelope is of a key that is not the one named, or under another data key.",
            "BitFlip": "One bit of the envelope is flipped.",
            "Length": "The envelope is cut off or extended.",
            "OtherAad": "The additional authenticated data is another.",
            "Chunk": "The one chunk is not encrypted as a last and first one.",
        },
    )
    long_name = replace(
        HERE, key_name="tenants/{0}/namespaces/{0}/keys/{0}".format("a" * 63), version=2**32 - 1
    )
    for comment, recipe, plaintext, aad in (
        ("a plaintext and AAD", GOOD, PLAINTEXT, AAD),
        ("no additional authenticated data", GOOD, PLAINTEXT, b""),
        ("an empty plaintext", GOOD, b"", AAD),
        ("AAD of 1 KiB", GOOD, PLAINTEXT, seeded("kms aad", 1024)),
        (
            "the longest name",
            replace(GOOD, place=long_name, name=long_name.name),
            PLAINTEXT,
            AAD,
        ),
    ):
        made = fields(recipe.encrypt(plaintext, aad), aad) | {"key": recipe.place.key_name}
        made |= {"name": recipe.name, "wrapped": recipe.wrapped.hex(), "salt": recipe.salt.hex()}
        file.valid(comment, "Valid", **made, plaintext=plaintext.hex())
    _refuse_headers(file)
    _refuse_bodies(file)
    return file


def _refuse_headers(file: VectorFile) -> None:
    good, wrapped = GOOD.encrypt(), GOOD.wrapped
    later = replace(HERE, version=4)
    for comment, envelope in (
        ("nothing", b""),
        ("another magic", replace(GOOD, magic=b"\x93BFOLD\r\n").encrypt()),
        ("a line end translated", replace(GOOD, magic=b"\x93KMSEV\n").encrypt()),
        ("format 0", replace(GOOD, format=0).encrypt()),
        ("format 2", replace(GOOD, format=2).encrypt()),
        ("the name of a key, not of a version", replace(GOOD, name=HERE.key_name).encrypt()),
        ("version 0 in the name", replace(GOOD, name=f"{HERE.key_name}/versions/0").encrypt()),
        ("a zero before the version", replace(GOOD, name=f"{HERE.key_name}/versions/03").encrypt()),
        ("a version of another tenant's form", replace(GOOD, name="tenants/acme/blindfoldKeys/3").encrypt()),
        ("no name", replace(GOOD, name="").encrypt()),
        ("a name of 256 bytes", replace(GOOD, name="a" * 256).encrypt()),
        ("another version in the name than in the wrapped key", replace(GOOD, name=later.name).encrypt()),
        ("a wrapped key of another version than the name", replace(GOOD, place=later).encrypt()),
        ("no wrapped data key", GOOD.encrypt(wrapped=b"")),
        ("a wrapped data key cut off by a byte", GOOD.encrypt(wrapped=wrapped[:-1])),
        ("a byte appended to the wrapped data key", GOOD.encrypt(wrapped=wrapped + b"\x00")),
        ("a wrapped data key of another format", GOOD.encrypt(wrapped=u8(2) + wrapped[1:])),
        ("a wrapped data key of 16 bytes", GOOD.encrypt(wrapped=HERE.encrypt(bytes(16), LABEL))),
        ("cut off in the magic", good[:7]),
        ("cut off in the length of the name", good[:10]),
        ("cut off in the salt", good[: _chunk_at(good) - 33]),
        ("cut off in the commitment", good[: _chunk_at(good) - 1]),
    ):
        file.invalid(comment, "Format", "InvalidField", **fields(envelope))
    elsewhere = "tenants/acme/namespaces/prod/keys/order"
    file.invalid("another key is accepted", "OtherKey", "InvalidField", **fields(good) | {"key": elsewhere})
    file.invalid(
        "another key is named", "OtherKey", "InvalidField",
        **fields(replace(GOOD, name=f"{elsewhere}/versions/3").encrypt()),
    )  # fmt: skip


def _chunk_at(envelope: bytes) -> int:
    """Where the chunk of an envelope of PLAINTEXT begins."""
    return len(envelope) - len(PLAINTEXT) - 16


def _refuse_bodies(file: VectorFile) -> None:
    good = GOOD.encrypt()
    chunk = _chunk_at(good)
    head = good[:chunk]
    bare = AESGCM(GOOD.data_key).encrypt(bytes(11) + u8(1), PLAINTEXT, None)
    for comment, flag, envelope in (
        ("salt", "BitFlip", flip(good, chunk - 33)),
        ("first byte of the commitment", "BitFlip", flip(good, chunk - 32)),
        ("last byte of the commitment", "BitFlip", flip(good, chunk - 1)),
        ("ciphertext", "BitFlip", flip(good, chunk)),
        ("last byte", "BitFlip", flip(good, -1)),
        ("no chunk", "Length", head),
        ("a chunk of 15 bytes", "Length", good[: chunk + 15]),
        ("cut off by a byte", "Length", good[:-1]),
        ("a byte appended", "Length", good + b"\x00"),
        ("the chunk twice", "Length", good + good[chunk:]),
        ("an empty chunk appended", "Length", good + replace(GOOD, counter=1).chunk(b"", AAD)),
        ("not marked as the last", "Chunk", replace(GOOD, last=False).encrypt()),
        ("counted from 1", "Chunk", replace(GOOD, counter=1).encrypt()),
        ("encrypted for another AAD", "Chunk", head + GOOD.chunk(PLAINTEXT, b"")),
        ("the data key as message key", "Chunk", head + bare),
        ("another label", "Chunk", replace(GOOD, label=b"kms/v1 export").encrypt()),
    ):
        file.invalid(comment, flag, "DecryptionFailed", **fields(envelope))
    for comment, aad in (("none", b""), ("a prefix", AAD[:-1]), ("a longer one", AAD + b"\x00")):
        file.invalid(comment, "OtherAad", "DecryptionFailed", **fields(good, aad))
    for comment, data_key in (
        ("another data key", seeded("other data key", 32)),
        ("a data key of 16 bytes", GOOD.data_key[:16]),
    ):
        file.invalid(comment, "OtherKey", "DecryptionFailed", **fields(good, data_key=data_key))
