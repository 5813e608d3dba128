"""Notices: where they may go, how they are signed, and how long they are tried."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from server.server_harness import Authority

from blindfold.secret import SecretBytes
from kms.errors import ConfigError
from kms.external import webhook
from kms.external.endpoint import Endpoint
from kms.external.webhook import Notice, Webhook, signature

KEY = bytes(range(32))
NOTICE = Notice("msg_1", 1767225600, b'{"type":"kms.alert.unlock"}')


@dataclass
class Receiver:
    """An HTTPS server that answers with the codes it is given, the last one again and again."""

    codes: list[int]
    endless: bool = False
    port: int = 0
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Receiver, ssl.SSLContext]]:
    told = Receiver([200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            code = told.codes.pop(0) if len(told.codes) > 1 else told.codes[0]
            if told.endless:
                with suppress(OSError):
                    while True:
                        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.send_response(code)
            self.send_header("location", "https://elsewhere.test/")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    authority = Authority("webhook")
    key, chain = authority.issue("receiver")
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "cert.pem").write_bytes(chain)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told, ssl.create_default_context(cadata=authority.pem.decode())
    server.shutdown()
    thread.join()
    server.server_close()


def deliver(told: Receiver, context: ssl.SSLContext, *notices: Notice, host: str = "localhost") -> list[str]:
    """The outcomes."""
    outcomes: list[str] = []

    async def run() -> None:
        hook = Webhook(
            Endpoint(host, told.port, "/in?x=1"),
            SecretBytes(KEY),
            context,
            outcomes.append,
            first_pause=0.01,
            seconds=0.3 if told.endless else webhook.TIMEOUT,
        )
        for notice in notices:
            hook.offer(notice)
        running = asyncio.create_task(hook.run())
        while len(outcomes) < len(notices):
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    return outcomes


def test_a_notice_arrives_signed(receiver: tuple[Receiver, ssl.SSLContext]) -> None:
    told, context = receiver
    assert deliver(told, context, NOTICE) == ["delivered"]
    [(path, headers, body)] = told.got
    signed = f"msg_1.{NOTICE.time}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert (path, body, headers["webhook-id"]) == ("/in?x=1", NOTICE.body, "msg_1")
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_a_failing_receiver_is_tried_again_with_the_same_notice(
    receiver: tuple[Receiver, ssl.SSLContext],
) -> None:
    told, context = receiver
    told.codes = [503, 500, 200]
    assert deliver(told, context, NOTICE) == ["delivered"]
    assert [headers["webhook-id"] for _, headers, _ in told.got] == ["msg_1"] * 3


def test_a_redirect_is_a_failure_and_the_next_notice_is_sent_all_the_same(
    receiver: tuple[Receiver, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "ATTEMPTS", 2)
    told, context = receiver
    told.codes = [307, 307, 204]
    second = Notice("msg_2", NOTICE.time, b"{}")
    assert deliver(told, context, NOTICE, second) == ["failed", "delivered"]


def test_a_receiver_that_nobody_vouches_for_gets_nothing(
    receiver: tuple[Receiver, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "ATTEMPTS", 1)
    told, _ = receiver
    assert deliver(told, ssl.create_default_context(), NOTICE) == ["failed"]
    assert told.got == []


def test_a_receiver_that_answers_without_end_is_given_up(
    receiver: tuple[Receiver, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the notices behind it, and the end of the process, would wait for it."""
    monkeypatch.setattr(webhook, "ATTEMPTS", 1)
    told, context = receiver
    told.endless = True
    assert deliver(told, context, NOTICE) == ["failed"]


def test_what_is_too_much_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "MAX_WAITING", 2)
    outcomes: list[str] = []
    hook = Webhook(Endpoint("a", 1, "/"), SecretBytes(KEY), ssl.create_default_context(), outcomes.append)
    for _ in range(3):
        hook.offer(NOTICE)
    assert outcomes == ["dropped"]


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="24 bytes"):
        Webhook(Endpoint("a", 1, "/"), SecretBytes(bytes(23)), ssl.create_default_context())


def test_signature_agrees_with_the_published_example() -> None:
    """Of the Standard Webhooks specification's reference libraries."""
    key = SecretBytes(base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    notice = Notice("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature(key, notice) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
