"""An HTTPS server on loopback, with the pages that a test gives it."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from server.server_harness import Authority


@dataclass
class Site:
    """`pages` maps paths to status and body; `asked` are the paths asked, `headers` those of the last."""

    context: ssl.SSLContext
    ca_pem: str
    port: int = 0
    pages: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextmanager
def https_site(directory: Path) -> Iterator[Site]:
    """`context` of the site trusts its certificate, which is for localhost."""
    authority = Authority("a site")
    pem = authority.pem.decode()
    site = Site(ssl.create_default_context(cadata=pem), pem)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = site.pages.get(self.path, (404, b""))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", f"{site.url}/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    key, chain = authority.issue("site")
    (directory / "site-key.pem").write_bytes(key)
    (directory / "site-cert.pem").write_bytes(chain)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "site-cert.pem", directory / "site-key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
