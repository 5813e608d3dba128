"""A real nginx ends mutual TLS before the KMS, directly and with an inspection hop in between."""

import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from proxy.conftest import NGINX_HEADER, SPIFFE_EDGE, Addresses, Site, last_event, served
from proxy.test_proxy_listener import list_keys

from kms.client.errors import CallFailed
from kms.main.configuration import Configuration

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")

WHOLE = """
daemon off; pid {work}/nginx.pid; error_log {work}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
  {servers}
}}
"""
SERVERS = """
  grpc_set_header x-forwarded-for $proxy_add_x_forwarded_for;
  # Ends the clients' TLS. What they send under these names is replaced.
  server {{
    listen [::1]:{outer} ssl http2; ssl_protocols TLSv1.3;
    ssl_certificate {site}/server.pem; ssl_certificate_key {site}/server.key;
    ssl_client_certificate {site}/clients.pem; ssl_verify_client on; ssl_verify_depth 3;
    location / {{
      grpc_set_header {header} {certificate};
      grpc_set_header x-forwarded-for $remote_addr;
      grpc_pass {next};
    }}
  }}
  # Inspects what passes, in clear.
  server {{ listen 127.0.0.1:{inspection} http2; location / {{ grpc_pass grpc://127.0.0.1:{inner}; }} }}
  # Speaks to the KMS as itself, for whom the outer one saw.
  server {{ listen 127.0.0.1:{inner} http2; location / {{ {upstream} grpc_pass grpcs://{kms}; }} }}
"""
UPSTREAM = """
      grpc_ssl_certificate {people}/edge/cert.pem; grpc_ssl_certificate_key {people}/edge/key.pem;
      grpc_ssl_trusted_certificate {people}/edge/ca.pem; grpc_ssl_verify on; grpc_ssl_verify_depth 3;
      grpc_ssl_name localhost; grpc_ssl_server_name on; grpc_ssl_protocols TLSv1.3;
"""
ESCAPED_PEM = (NGINX_HEADER, "$ssl_client_escaped_cert")
ENVOY_FORM = ("x-forwarded-client-cert", """'Hash=00;Cert="$ssl_client_escaped_cert"'""")


def free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as free:
        return int(free.getsockname()[1])


@contextmanager
def nginx(site: Site, kms: Addresses, work: Path, form: tuple[str, str], *, with_hop: bool) -> Iterator[str]:
    """The address that clients connect to."""
    outer, inspection, inner = free_port("::1"), free_port("127.0.0.1"), free_port("127.0.0.1")
    header, certificate = form
    servers = SERVERS.format(
        outer=outer,
        inspection=inspection,
        inner=inner,
        site=site.directory,
        header=header,
        certificate=certificate,
        next=f"grpc://127.0.0.1:{inspection if with_hop else inner}",
        upstream=UPSTREAM.format(people=site.directory / "people"),
        kms=kms.proxy,
    )
    with running(servers, work, outer):
        yield f"[::1]:{outer}"


@contextmanager
def running(servers: str, work: Path, port: int) -> Iterator[None]:
    """nginx with these servers, one of which listens on the port at ::1."""
    user = "user root;" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(WHOLE.format(work=work, user=user, servers=servers))
    command = [str(NGINX), "-p", str(work), "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")]
    with subprocess.Popen(command) as process:
        try:
            wait_for(port, process, work / "error.log")
            yield
        finally:
            process.terminate()
            process.wait(20)


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("::1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("with_hop", [False, True], ids=["proxy", "proxy, inspection hop, proxy"])
@pytest.mark.parametrize("form", [ESCAPED_PEM, ENVOY_FORM], ids=["escaped PEM", "Envoy's form"])
def test_the_client_s_identity_survives(
    site: Site, tmp_path: Path, form: tuple[str, str], with_hop: bool
) -> None:
    with (
        served(site, proxy_certificate_header=form[0]) as kms,
        nginx(site, kms, tmp_path, form, with_hop=with_hop) as target,
    ):
        spoofed = [(form[0], "junk"), ("x-forwarded-for", "198.51.100.1")]
        for metadata in ([], spoofed):
            list_keys(site, target, "web", metadata)
            event = last_event(kms.main, site, "ListKeys")
            assert event["caller"].endswith("/sa/web")
            assert event["details"] == {"address": "::1", "via": SPIFFE_EDGE}
        with pytest.raises(CallFailed) as caught:
            list_keys(site, target, "auditor")
        assert caught.value.reason == "DENIED"


def test_monitors_ask_over_http(site: Site) -> None:
    """curl plays the monitor."""
    with served(site) as kms:
        for path, code in (("healthz", "200"), ("readyz", "200"), ("livez", "200"), ("other", "404")):
            url = f"http://{kms.monitoring}/{path}"
            asked = subprocess.run(
                ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url],
                capture_output=True,
                check=True,
                timeout=20,
            )
            assert asked.stdout.decode() == code


def test_a_monitor_reads_the_metrics(site: Site) -> None:
    with served(site) as kms:
        list_keys(site, kms.main, "web")
        page = subprocess.run(
            ["curl", "-sf", f"http://{kms.monitoring}/metrics"], capture_output=True, check=True, timeout=20
        )
    text = page.stdout.decode()
    assert 'kms_calls_total{code="OK",method="/kms.v1.KeyService/ListKeys"} 1.0' in text
    assert "acme" not in text


def test_the_documented_server_serves(site: Site, tmp_path: Path) -> None:
    [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [settings] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    documented = tomllib.loads(settings)
    assert Configuration(**vars_of(site) | documented).proxy_rules.header == NGINX_HEADER
    port = free_port("::1")
    with served(site) as kms:
        placed = {
            "0.0.0.0:443": f"[::1]:{port}",
            "kms.example:7445": kms.proxy,
            " edge/": f" {site.credentials('edge')}/",
            " server.": f" {site.directory}/server.",
            " clients.pem": f" {site.directory}/clients.pem",
        }
        for written, actual in placed.items():
            assert written in block
            block = block.replace(written, actual)
        with running(block, tmp_path, port):
            list_keys(site, f"[::1]:{port}", "web")
            assert last_event(kms.main, site, "ListKeys")["details"] == {"address": "::1", "via": SPIFFE_EDGE}


def vars_of(site: Site) -> dict[str, Any]:
    return {item.name: getattr(site.configuration, item.name) for item in fields(Configuration)}
