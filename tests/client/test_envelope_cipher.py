"""Bulk data under data keys: it comes back whole, to the right key and AAD, or not at all."""

import io
import itertools
from dataclasses import replace

import pytest
from client.clients import KINDS
from client.local_kms import KEY, OTHER, SIZES, TEXT, LocalKms, Trickle, pattern
from hypothesis import given
from hypothesis import strategies as st

from blindfold.stream import CHUNK, TAG
from kms.client.envelope_cipher import AsyncEnvelopeCipher, EnvelopeCipher
from kms.client.errors import CallDenied, CallFailed, CallInvalid
from kms.client.operations import Decrypted, ReEncrypt
from kms.crypto.envelope import Header
from kms.errors import DecryptionFailed, InvalidField
from kms.model.names import KeyVersionName

REFUSED = (InvalidField, DecryptionFailed, CallFailed)


def boundaries(envelope, size):
    """Where each chunk of a plaintext of that size begins."""
    head = len(envelope) - size - TAG * max(1, -(-size // CHUNK))
    return range(head, len(envelope), CHUNK + TAG)


@given(plaintext=st.binary(max_size=300), aad=st.binary(max_size=40_000))
def test_encrypt_and_decrypt_are_inverse(plaintext, aad):
    cipher = EnvelopeCipher(LocalKms(), KEY)
    envelope = cipher.encrypt(plaintext, aad)
    assert cipher.decrypt(envelope, aad).reveal() == plaintext
    assert plaintext not in envelope or len(plaintext) < 16


def test_envelopes_of_one_plaintext_differ_in_all_but_what_they_say_of_their_key(cipher):
    first, second = (cipher.encrypt(bytes(100)) for _ in range(2))
    header = Header.read(io.BytesIO(first)).to_bytes()
    assert header[:-32] == second[: len(header) - 32]
    assert first[len(header) - 32 :] != second[len(header) - 32 :]


@pytest.mark.parametrize("size", [0, 40])
def test_envelope_with_any_bit_flipped_is_refused(cipher, size):
    envelope = cipher.encrypt(pattern(size), b"aad")
    for at in range(len(envelope)):
        changed = bytearray(envelope)
        changed[at] ^= 1 << at % 8
        with pytest.raises(REFUSED):
            cipher.decrypt(bytes(changed), b"aad")


def test_envelope_cut_off_anywhere_is_refused(cipher):
    envelope = cipher.encrypt(pattern(40), b"aad")
    for size in range(len(envelope)):
        with pytest.raises(REFUSED):
            cipher.decrypt(envelope[:size], b"aad")


@pytest.mark.parametrize("size", SIZES)
def test_envelope_cut_off_extended_or_rearranged_at_chunks_is_refused(cipher, size):
    envelope = cipher.encrypt(pattern(size))
    starts = [*boundaries(envelope, size), len(envelope)]
    parts = [envelope[start:end] for start, end in itertools.pairwise(starts)]
    head = envelope[: starts[0]]
    changed = {head + b"".join(parts[:count]) for count in range(len(parts))}
    changed |= {head + b"".join(parts[:at] + parts[at + 1 :]) for at in range(len(parts))}
    changed |= {envelope + parts[-1], envelope + b"\x00", head + b"".join([*parts, *parts])}
    if len(parts) > 2:
        changed.add(head + b"".join([parts[1], parts[0], *parts[2:]]))
    for item in changed:
        with pytest.raises(DecryptionFailed):
            cipher.decrypt(item)


def test_chunks_of_another_envelope_do_not_fit(cipher):
    first, second = (cipher.encrypt(pattern(2 * CHUNK)) for _ in range(2))
    middle = boundaries(first, 2 * CHUNK)[1]
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(first[:middle] + second[middle:])


@pytest.mark.parametrize("aad", [b"", b"aa", b"aad\x00"])
def test_other_additional_data_is_refused_before_anything_is_read(cipher, aad):
    source = io.BytesIO(cipher.encrypt(TEXT, b"aad"))
    with pytest.raises(DecryptionFailed) as caught:
        cipher.decrypting(source, aad)
    assert caught.value.__context__ is None


def test_envelope_of_a_key_that_was_not_named_is_refused_unasked(local, cipher):
    envelope = EnvelopeCipher(local, OTHER).encrypt(TEXT)
    local.asked.clear()
    with pytest.raises(InvalidField, match="keys/other, which is not accepted"):
        cipher.decrypt(envelope)
    assert local.asked == []
    assert EnvelopeCipher(local, KEY, accept=[OTHER]).decrypt(envelope).reveal() == TEXT


def test_a_key_at_hand_serves_no_header_that_names_another_key(local):
    """What the KMS would refuse is refused without it."""
    cipher = EnvelopeCipher(local, KEY, accept=[OTHER])
    envelope = cipher.encrypt(TEXT)
    assert cipher.decrypt(envelope).reveal() == TEXT
    header = Header.read(io.BytesIO(envelope))
    other = replace(header, name=KeyVersionName.parse(f"{OTHER}/versions/{header.name.version}"))
    with pytest.raises(REFUSED):
        cipher.decrypt(other.to_bytes() + envelope[len(header.to_bytes()) :])


def test_data_key_under_another_version_than_the_header_says_is_refused(local, cipher, monkeypatch):
    envelope = cipher.encrypt(TEXT)
    honest = local.run

    def run(name, request):
        made = honest(name, request)
        return Decrypted(f"{name}/versions/2", made.plaintext)

    monkeypatch.setattr(local, "run", run)
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(envelope)


def test_refusal_of_the_kms_is_raised_unless_it_is_that_of_decryption(local, cipher, monkeypatch):
    envelope = cipher.encrypt(TEXT)

    def run(name, request):
        raise failure

    monkeypatch.setattr(local, "run", run)
    for failure in (CallDenied("no"), CallInvalid("compromised", reason="INVALID_FIELD")):
        with pytest.raises(type(failure)):
            cipher.decrypt(envelope)


def test_data_key_is_wrapped_anew_and_the_rest_stays(local, cipher):
    envelope = cipher.encrypt(pattern(2 * CHUNK), b"aad")
    local.primary = 2
    sink = Trickle()
    local.asked.clear()
    cipher.rewrap(Trickle(envelope), sink)
    rewrapped = sink.getvalue()
    assert local.asked == [ReEncrypt]
    assert Header.read(io.BytesIO(rewrapped)).name.version == 2
    start = boundaries(envelope, 2 * CHUNK)[0]
    assert rewrapped[start - 64 :] == envelope[start - 64 :]
    assert cipher.decrypt(rewrapped, b"aad").reveal() == pattern(2 * CHUNK)
    moved = io.BytesIO()
    EnvelopeCipher(local, OTHER, accept=[KEY]).rewrap(io.BytesIO(rewrapped), moved)
    assert EnvelopeCipher(local, OTHER).decrypt(moved.getvalue(), b"aad").reveal() == pattern(2 * CHUNK)


def test_closed_cipher_has_no_keys_and_says_so(local):
    cipher = EnvelopeCipher(local, KEY)
    envelope = cipher.encrypt(TEXT)
    cipher.decrypt(envelope)
    cipher.close()
    for act in (lambda: cipher.encrypt(TEXT), lambda: cipher.decrypt(envelope)):
        with pytest.raises(ValueError, match="closed"):
            act()
    assert cipher._encrypting_key.take(0) is None
    assert cipher._decrypting_keys.get(Header.read(io.BytesIO(envelope)).wrapped) is None


@pytest.mark.parametrize("key", ["files", f"{KEY}/versions/1", ""])
def test_cipher_is_of_a_key(local, key):
    with pytest.raises(InvalidField):
        EnvelopeCipher(local, key)


@pytest.mark.parametrize(("kind", "of"), [("sync", EnvelopeCipher), ("async", AsyncEnvelopeCipher)])
def test_the_kms_decides_of_data_keys(kms, kind, of):
    kms.allow_keys(policy_id=f"keys-{kind}")
    key = kms.make_key(f"files-{kind}")
    with KINDS[kind](kms.target, kms.credentials("key-user")) as client:
        wait = getattr(client, "wait_for", lambda result: result)
        cipher = of(getattr(client, "inner", client), key)
        envelope = wait(cipher.encrypt(TEXT, b"aad"))
        assert wait(cipher.decrypt(envelope, b"aad")).reveal() == TEXT
        sink = io.BytesIO()
        with wait(cipher.encrypting(sink)) as writer:
            writer.write(pattern(100_000))
        with wait(cipher.decrypting(io.BytesIO(sink.getvalue()))) as reader:
            assert reader.read() == pattern(100_000)
        kms.as_("key-admin").call("KeyService", "RotateKey", {"name": key})
        moved = io.BytesIO()
        wait(cipher.rewrap(io.BytesIO(envelope), moved))
        assert Header.read(io.BytesIO(moved.getvalue())).name.version == 2
        assert wait(cipher.decrypt(moved.getvalue(), b"aad")).reveal() == TEXT
        with pytest.raises(CallDenied):
            wait(of(getattr(client, "inner", client), f"{key}-none").encrypt(TEXT))
        wait(cipher.close())
    wrapping = [event for event in kms.events() if event["action"].endswith("GenerateDataKey")]
    assert len([event for event in wrapping if event["decision"] == "ALLOW"]) >= 1
