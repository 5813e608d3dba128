"""Who has a network and bad intentions: the server lives, grows little, and serves the others meanwhile."""

import gzip
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from attacker import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Attacker,
    frame,
    header,
    headers_of_call,
)
from house import House
from killed_house import PROD, create_key, open_house

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.errors import CallFailed

ENCRYPT = "/kms.v1.CryptoService/Encrypt"
KEY = f"{PROD}/keys/attacked"
GOOD = b"\x0a" + bytes([len(KEY)]) + KEY.encode() + b"\x12\x05hello"
GROWTH = 64 << 20


@dataclass(frozen=True)
class Victim:
    house: House
    pid: int
    api: Api
    attacker: Attacker

    @property
    def peak(self) -> int:
        """The most bytes that were resident since `forget_peak` (proc(5), clear_refs)."""
        [line] = [line for line in self._of("status").splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) << 10

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _of(self, what: str) -> str:
        return Path(f"/proc/{self.pid}/{what}").read_text()

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208

    def serves(self) -> bool:
        answer = self.api.call("CryptoService", "Encrypt", {"name": KEY, "plaintext": "aGVsbG8="})
        return bool(answer["ciphertext"])


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    house = House(tmp_path_factory.mktemp("attacked"))
    house.init()
    with house.served() as process:
        open_house(house)
        credentials = house.path / "prod-worker"
        with open_channel(house.addresses["listen"], credentials) as channel:
            api = Api(channel, timeout=20)
            create_key(api, "attacked")
            port = int(house.addresses["listen"].rpartition(":")[2])
            yield Victim(house, process.pid, api, Attacker(port, credentials))
        assert process.poll() is None


@pytest.fixture(autouse=True)
def others_are_served(victim: Victim) -> Iterator[None]:
    assert victim.serves()
    victim.forget_peak()
    memory, files = victim.peak, victim.files
    yield
    assert victim.serves()
    assert victim.peak - memory < GROWTH
    # Connections that were dropped are closed when the server next looks.
    assert victim.files - files < 20


def message(payload: bytes, compressed: int = 0, length: int | None = None) -> bytes:
    """A message with its prefix, as gRPC over HTTP/2 has it."""
    return bytes([compressed]) + struct.pack(">I", len(payload) if length is None else length) + payload


def call(body: bytes, *more: tuple[str, str], stream: int = 1, end: bool = True) -> bytes:
    begun = frame(HEADERS, END_HEADERS, stream, headers_of_call(ENCRYPT, *more))
    pieces = [body[start : start + 16384] for start in range(0, len(body), 16384)] or [b""]
    sent = [frame(DATA, 0, stream, piece) for piece in pieces[:-1]]
    return b"".join([begun, *sent, frame(DATA, END_STREAM if end else 0, stream, pieces[-1])])


def noise(size: int) -> bytes:
    """The same each time."""
    return hashlib.shake_256(b"noise").digest(size)


FRAMES: dict[str, bytes] = {
    "noise": noise(1 << 16),
    "a frame of 16 MiB": frame(DATA, 0, 1, noise(100), length=(1 << 24) - 1),
    "settings of a wrong size": frame(SETTINGS, 0, 0, b"12345"),
    "settings on a stream": frame(SETTINGS, 0, 3, b""),
    "an acknowledgement with settings": frame(SETTINGS, 1, 0, bytes(6)),
    "headers on stream 0": frame(HEADERS, END_HEADERS, 0, headers_of_call(ENCRYPT)),
    "headers on an even stream": frame(HEADERS, END_HEADERS, 2, headers_of_call(ENCRYPT)),
    "data before headers": frame(DATA, 0, 5, message(b"x")),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, headers_of_call(ENCRYPT)),
    "headers that are no HPACK": frame(HEADERS, END_HEADERS, 1, b"\xff" * 200),
    "an index that is not there": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\x0f"),
    "a table of 2 GiB": frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\xff\xff\xff\x07"),
    "a ping of a wrong size": frame(PING, 0, 0, b"1"),
    "a window of more than 2^31": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    "a window of nothing": frame(WINDOW_UPDATE, 0, 0, bytes(4)),
    "a farewell": frame(GOAWAY, 0, 0, bytes(8)),
    "an unknown kind of frame": frame(0xFA, 0xFF, 1, noise(1000)),
    "a call without a message": call(b""),
    "less than the prefix of a message": call(b"\x00\x00"),
    "a message cut short": call(message(b"x" * 10, length=1000)),
    "a stream reset before it was": frame(RST_STREAM, 0, 9, bytes(4)),
    "padding longer than the frame": frame(DATA, 8, 1, b"\xff"),
    "a call without a method": frame(HEADERS, END_HEADERS | END_STREAM, 1, header(":method", "POST")),
    "two paths": frame(
        HEADERS, END_HEADERS | END_STREAM, 1, headers_of_call(ENCRYPT, (":path", "/kms.v1.Other/Other"))
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_malformed_frames(victim: Victim, name: str) -> None:
    for _ in range(3):
        victim.attacker.send(FRAMES[name])
    assert victim.serves()


FLOODS: dict[str, Callable[[], bytes]] = {
    # CVE-2023-44487
    "streams begun and reset": lambda: b"".join(
        frame(HEADERS, END_HEADERS, stream, headers_of_call(ENCRYPT)) + frame(RST_STREAM, 0, stream, bytes(4))
        for stream in range(1, 20_001, 2)
    ),
    # CVE-2024-27316
    "headers without an end": lambda: (
        frame(HEADERS, 0, 1, headers_of_call(ENCRYPT))
        + b"".join(frame(CONTINUATION, 0, 1, header(f"x-{number}", "y" * 4000)) for number in range(4000))
    ),
    "one header of a megabyte": lambda: (
        frame(HEADERS, 0, 1, headers_of_call(ENCRYPT))
        + frame(CONTINUATION, END_HEADERS, 1, header("x", "y" * (1 << 20)))[:16_000]
    ),
    # CVE-2019-9512, CVE-2019-9515
    "pings": lambda: frame(PING, 0, 0, bytes(8)) * 20_000,
    "settings": lambda: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 20_000,
    # CVE-2019-9518
    "frames of nothing": lambda: call(b"", end=False) + frame(DATA, 0, 1) * 20_000,
    "more streams than are allowed": lambda: b"".join(
        frame(HEADERS, END_HEADERS, stream, headers_of_call(ENCRYPT)) for stream in range(1, 4001, 2)
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(victim: Victim, name: str) -> None:
    victim.attacker.send(FLOODS[name]())
    assert victim.serves()


MESSAGES: dict[str, bytes] = {
    "a message of 4 GiB announced": call(message(b"x", length=0xFFFFFFFF)),
    "a message of 9 MiB": call(message(bytes(9 << 20))),
    "a flag that is none": call(message(b"x", compressed=7)),
    "compressed without saying how": call(message(gzip.compress(b"x"), compressed=1)),
    "noise as a message": call(message(noise(5000))),
    "groups in groups": call(message(b"\x0b" * 100_000)),
    "a field of 2^64 bytes": call(message(b"\x0a" + b"\xff" * 9 + b"\x01")),
    "a timeout that is none": call(message(b""), ("grpc-timeout", "9" * 200)),
    "metadata that is no base64": call(message(b""), ("x-bin", "%%%")),
    "a content type of the web": call(message(b""), ("content-type", "text/html")),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_malformed_messages(victim: Victim, name: str) -> None:
    victim.attacker.call(MESSAGES[name])
    assert victim.serves()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", "snappy"])
def test_bomb_is_not_unpacked(victim: Victim, encoding: str) -> None:
    bomb = gzip.compress(bytes(4 * GROWTH))
    assert len(bomb) < 2 << 20
    victim.attacker.call(call(message(bomb, compressed=1), ("grpc-encoding", encoding)))


def test_compression_is_not_offered(victim: Victim) -> None:
    with (
        open_channel(victim.house.addresses["listen"], victim.attacker.credentials) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(ENCRYPT)(GOOD * 10, compression=grpc.Compression.Gzip, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_connection_without_tls_is_closed(victim: Victim) -> None:
    with victim.attacker.plain() as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        assert PREFACE not in connection.recv(1000)
        assert connection.recv(1000) == b""


@pytest.mark.parametrize("alpn", [None, "http/1.1", "h3", "grpc-exp"])
def test_other_protocols_get_no_answer(victim: Victim, alpn: str | None) -> None:
    try:
        with victim.attacker.connect(alpn) as connection:
            connection.sendall(b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in connection.recv(1000)
    except OSError:
        # Refused in the handshake.
        return


@pytest.mark.parametrize("more", [b"", b"\xfa\x7f\x03abc"], ids=["what it should be", "an unknown field"])
def test_call_by_hand_is_answered_also_if_its_client_is_newer(victim: Victim, more: bytes) -> None:
    assert f"{KEY}/versions/1".encode() in victim.attacker.call(call(message(GOOD + more)))


def test_text_that_is_no_utf_8_is_refused_as_a_request(victim: Victim) -> None:
    with (
        open_channel(victim.house.addresses["listen"], victim.attacker.credentials) as channel,
        pytest.raises(Exception, match="is not a message of this method") as caught,
    ):
        channel.unary_unary(ENCRYPT)(b"\x0a\x02\xff\xfe", timeout=10)
    assert "INVALID_ARGUMENT" in str(caught.value)


def test_message_above_the_transports_limit_is_refused(victim: Victim) -> None:
    request = {"name": KEY, "plaintext": "A" * (12 << 20)}
    with pytest.raises(CallFailed):
        victim.api.call("CryptoService", "Encrypt", request)


def test_slow_clients_hold_nobody_up(victim: Victim) -> None:
    """Half a handshake, half a preface, half a frame, and then nothing."""
    opened = [victim.attacker.plain() for _ in range(100)]
    try:
        for number, connection in enumerate(opened):
            connection.sendall(b"\x16\x03\x01\x02\x00\x01"[: 1 + number % 6])
        assert victim.serves()
        with victim.attacker.connect() as half:
            half.sendall(PREFACE[:10])
            with victim.attacker.connect() as other:
                other.sendall(
                    PREFACE + frame(SETTINGS, 0, 0) + call(message(b"x", length=1000), end=False)[:-3]
                )
                assert victim.serves()
    finally:
        for connection in opened:
            connection.close()
