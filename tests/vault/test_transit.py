"""Keys of a vault's transit engine on their way here, and the text of its ciphertexts."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from vault.fetching import source_of
from vault.stand_in import Fault
from vault.workshop import Workshop

from blindfold.secret import SecretBytes
from kms.crypto import key_wrapping
from kms.crypto.aead import AeadKey, split_raw
from kms.crypto.key_handle import accept_private, expect, load
from kms.crypto.key_wrapping import Unwrapper
from kms.errors import InvalidField
from kms.external.errors import NotMovable, NotThere
from kms.external.vault import transit
from kms.external.vault.ciphertext import TransitCiphertext
from kms.external.vault.transit import KINDS
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.secret_management_access import Engine

RAW, MAC = Purpose.RAW_ENCRYPT_DECRYPT, Purpose.MAC
OAEP, PSS = Purpose.ASYMMETRIC_DECRYPT, Purpose.ASYMMETRIC_SIGN


RECIPIENT = Unwrapper(key_wrapping.generate().material)


@dataclass(frozen=True)
class Brought:
    algorithm: str
    versions: tuple[SecretBytes, ...]


class Mill:
    """A transit mount."""

    def __init__(self, vault: Workshop) -> None:
        self.vault = vault
        self.mount = vault.mount("transit")

    def make(self, type_: str, name: str = "orders", **settings: Any) -> None:
        self.vault.write(f"{self.mount}/keys/{name}", type=type_, **({"exportable": True} | settings))

    def encrypt(self, plaintext: bytes, **more: Any) -> str:
        text = base64.b64encode(plaintext).decode()
        made: str = self.vault.write(f"{self.mount}/encrypt/orders", plaintext=text, **more)["data"][
            "ciphertext"
        ]
        return made

    def export(self, purpose: Purpose, name: str = "orders", *, in_clear: bool = False) -> Brought:
        async def run() -> Brought:
            async with source_of(self.vault.access((self.mount, Engine.TRANSIT))) as source:
                key = await transit.look_up(source, f"{self.mount}/{name}", purpose)
                export = transit.export_in_clear if in_clear else transit.export
                wrapped = await export(source, key, RECIPIENT.public_key)
                return Brought(key.kind.algorithm, tuple(map(RECIPIENT.unwrap, wrapped)))

        return asyncio.run(run())

    def guests(self) -> list[str]:
        """Keys that an export left in the vault."""
        found = self.vault.call("LIST", f"{self.mount}/keys")["data"]["keys"]
        return [name for name in found if name != "orders"]


@pytest.fixture
def mill(vault: Workshop) -> Mill:
    return Mill(vault)


@pytest.mark.parametrize("in_clear", [False, True], ids=["wrapped", "in clear"])
@pytest.mark.parametrize("type_", ["aes256-gcm96", "aes128-gcm96"])
def test_every_version_of_an_aes_key_opens_what_the_vault_encrypted(
    mill: Mill, type_: str, in_clear: bool
) -> None:
    mill.make(type_)
    texts = [mill.encrypt(b"first")]
    mill.vault.write(f"{mill.mount}/keys/orders/rotate")
    aad = base64.b64encode(b"order 17").decode()
    texts.append(mill.encrypt(b"second", associated_data=aad))
    moved = mill.export(RAW, in_clear=in_clear)
    opened = []
    for text, bound in zip(texts, (b"", b"order 17"), strict=True):
        sealed = TransitCiphertext.parse(text)
        material = moved.versions[sealed.version - 1].reveal()
        key = expect(load(ALGORITHMS[moved.algorithm], moved.versions[sealed.version - 1]), AeadKey)
        assert len(material) * 8 == ALGORITHMS[moved.algorithm].key_bits
        opened.append(key.raw_decrypt(*split_raw(sealed.data), bound))
    assert opened == [b"first", b"second"]


@pytest.mark.parametrize(
    ("purpose", "export"), [(OAEP, "RSA_OAEP_2048_SHA256"), (PSS, "RSA_PSS_2048_SHA256")]
)
def test_an_rsa_key_becomes_one_of_ours(mill: Mill, purpose: Purpose, export: str) -> None:
    mill.make("rsa-2048")
    moved = mill.export(purpose)
    assert moved.algorithm == export
    accept_private(ALGORITHMS[export], moved.versions[0])
    private = load_der_private_key(moved.versions[0].reveal(), None)
    shown = mill.vault.read(f"{mill.mount}/keys/orders")["keys"]["1"]["public_key"]
    assert private.public_key() == load_pem_public_key(shown.encode())


def test_what_a_vault_encrypted_with_rsa_is_oaep_as_here(mill: Mill) -> None:
    mill.make("rsa-2048")
    sealed = TransitCiphertext.parse(mill.encrypt(b"secret"))
    private: Any = load_der_private_key(mill.export(OAEP).versions[0].reveal(), None)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(sealed.data, oaep) == b"secret"


@pytest.mark.parametrize("in_clear", [False, True], ids=["wrapped", "in clear"])
def test_an_hmac_key_makes_the_codes_that_the_vault_makes(mill: Mill, in_clear: bool) -> None:
    mill.make("hmac", key_size=32)
    text = base64.b64encode(b"message").decode()
    made = mill.vault.write(f"{mill.mount}/hmac/orders", input=text)["data"]["hmac"]
    moved = mill.export(MAC, in_clear=in_clear)
    handle: Any = load(ALGORITHMS[moved.algorithm], moved.versions[0])
    assert f"vault:v1:{base64.b64encode(handle.mac(b'message')).decode()}" == made


def test_nothing_is_left_in_the_vault(mill: Mill) -> None:
    mill.make("aes256-gcm96")
    mill.export(RAW)
    assert mill.guests() == []


def test_a_vault_that_does_not_wrap_is_said_to_be_so_and_nothing_left_in_it(mill: Mill) -> None:
    server = mill.vault.only_stand_in("to be too old")
    mill.make("aes256-gcm96")
    server.faults.append(Fault(404, times=9, path="byok-export"))
    with pytest.raises(NotMovable, match="does not wrap"):
        mill.export(RAW)
    assert mill.guests() == []


@pytest.mark.parametrize(
    ("settings", "purpose", "problem"),
    [
        ({"type_": "aes256-gcm96", "exportable": False}, RAW, "not exportable"),
        ({"type_": "aes256-gcm96", "derived": True}, RAW, "derived"),
        ({"type_": "aes256-gcm96"}, MAC, "not for MAC"),
        ({"type_": "rsa-2048"}, RAW, "not for RAW"),
        ({"type_": "hmac", "key_size": 32}, RAW, "not for RAW"),
    ],
)
def test_a_key_that_cannot_be_moved_is_told_why(
    mill: Mill, settings: dict[str, Any], purpose: Purpose, problem: str
) -> None:
    mill.make(**settings)
    with pytest.raises(NotMovable, match=problem):
        mill.export(purpose)


def test_a_key_whose_first_versions_are_gone_is_not_given_other_numbers(mill: Mill) -> None:
    mill.make("aes256-gcm96")
    mill.vault.write(f"{mill.mount}/keys/orders/rotate")
    mill.vault.write(f"{mill.mount}/keys/orders/config", min_decryption_version=2)
    with pytest.raises(NotMovable, match="begin at 1"):
        mill.export(RAW)


def test_a_key_that_is_not_there_is_not_found(mill: Mill) -> None:
    with pytest.raises(NotThere):
        mill.export(RAW, "none")


def test_keys_are_read_below_mounts_of_transit_alone(vault: Workshop) -> None:
    async def run() -> None:
        async with source_of(vault.access(("kv", Engine.KV_V2))) as source:
            with pytest.raises(InvalidField, match="TRANSIT"):
                await transit.look_up(source, "kv/orders", RAW)

    asyncio.run(run())


def test_kinds_are_of_their_purpose() -> None:
    assert all(purpose in ALGORITHMS[kind.algorithm].purposes for (_, purpose), kind in KINDS.items())


@given(st.integers(1, 999_999_999), st.binary(min_size=1, max_size=100))
def test_a_ciphertext_is_what_its_text_says(version: int, data: bytes) -> None:
    made = TransitCiphertext(version, data)
    assert TransitCiphertext.parse(made.text) == made


@given(st.text(max_size=60) | st.from_regex(r"vault:v[0-9]{1,3}:[A-Za-z0-9+/=]{0,30}", fullmatch=True))
def test_a_text_is_a_ciphertext_or_refused(text: str) -> None:
    try:
        made = TransitCiphertext.parse(text)
    except InvalidField:
        return
    assert made.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault:v1:",
        "vault:v0:AAAA",
        "vault:v01:AAAA",
        "vault:v1:AAA",
        "vault:v1:AAB=",
        "vault:v1:AA-_",
        "vault:v1:AAAA\n",
        " vault:v1:AAAA",
        "vault:v٣:AAAA",
        "vault:v1:1:AAAA",
        "vault:v1:" + "A" * (129 << 10),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="must be vault:v"):
        TransitCiphertext.parse(text)
