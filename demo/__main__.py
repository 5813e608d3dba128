"""Seal a real TLS key offline, open it through a KMS that never sees it, and prove it: `make demo`."""

import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported
from demo import search
from demo.furnishing import ADMIN, enrol, fetch_documents, initialise, policy, write_profiles
from demo.opening import Traces, open_and_trace
from demo.world import Failed, World, require, served

DENIED, DAMAGED = 3, 5


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="blindfold-demo-") as directory:
        try:
            run(World(Path(directory)))
        except Failed as failure:
            print(f"demo: FAILED: {failure}", file=sys.stderr)
            return 1
    print(f"demo: {time.monotonic() - started:.0f} s")
    print("demo: ok")
    return 0


def run(world: World) -> None:
    marker = f"marker-{secrets.token_hex(16)}"
    made = initialise(world, marker)
    record, log = world.path("messages"), world.path("kms.log")
    with served(world, world.path("kms"), record, log) as (pid, ports):
        world.say(f"kms serve: mutual TLS 1.3 on {ports['listen']}, enrolment on {ports['enrolment_listen']}")
        write_profiles(world, ports, made["documents_root"])
        enrol(world)
        policy(world, marker)
        fetch_documents(world)
        make_tls_key(world)
        seal(world)
        open_as_web(world)
        serve_https(world)
        refuse_batch(world)
        refuse_tampered(world)
        verify_audit(world, made["audit_key"])
        traces = open_and_trace(world.path("tls.key.sealed").read_bytes(), world.path("credentials") / "web",
                                ports["listen"])  # fmt: skip
        prove_absence(world, marker, traces, pid, [record, log])
    look_at_rest(world, marker, traces)


def make_tls_key(world: World) -> None:
    world.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
        "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", world.path("tls.key"), "-out", world.path("tls.crt"),
    )  # fmt: skip
    world.say("openssl made a TLS private key and its certificate")


def seal(world: World) -> None:
    isolated = ["unshare", "--net", "--map-root-user"]
    allowed = subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode == 0
    world.run(
        *(isolated if allowed else []), "blindfold", "seal", "--public-key", world.path("key.bundle"),
        "--policy-document", world.path("policy.bundle"), "--policy", "prod/web-tls", "--name", "tls.key",
        "--out", world.path("tls.key.sealed"), world.path("tls.key"),
    )  # fmt: skip
    where = (
        "in a network namespace without any network" if allowed else "offline (unshare is not allowed here)"
    )
    size = world.path("tls.key.sealed").stat().st_size
    world.say(f"sealed the TLS key {where}: {size} bytes")


def open_as_web(world: World) -> None:
    world.run(
        "blindfold", "open", "--expect-name", "tls.key", "--out", world.path("opened.key"),
        world.path("tls.key.sealed"), identity="web",
    )  # fmt: skip
    require(
        world.path("opened.key").read_bytes() == world.path("tls.key").read_bytes(), "the key opened differs"
    )
    require(world.path("opened.key").stat().st_mode & 0o777 == 0o600, "the opened key is readable by others")
    world.say("opened as web: the same bytes, mode 0600")


def serve_https(world: World) -> None:
    page = world.path("www")
    page.mkdir()
    (page / "index.html").write_text("served with a key that was sealed\n")
    command = [
        sys.executable,
        "-m",
        "demo.https",
        str(page),
        str(world.path("tls.crt")),
        str(world.path("opened.key")),
    ]
    environment = world.environment(PYTHONPATH=str(Path(__file__).parents[1]))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
        try:
            port = server.stdout.readline().decode().strip()  # type: ignore[union-attr]
            url = f"https://localhost:{port}/index.html"
            body = world.run("curl", "--silent", "--show-error", "--cacert", world.path("tls.crt"), url)
        finally:
            server.terminate()
    require(body == (page / "index.html").read_bytes(), "curl got something else")
    world.say("an HTTPS server runs with the opened key, and curl verifies its certificate")


def refuse_batch(world: World) -> None:
    world.run(
        "blindfold", "open", "--out", world.path("stolen.key"), world.path("tls.key.sealed"),
        identity="batch", expect=DENIED,
    )  # fmt: skip
    require(not world.path("stolen.key").exists(), "a refused opening left a file")
    world.say(f"refused as batch: exit code {DENIED}, nothing written")


def refuse_tampered(world: World) -> None:
    data = bytearray(world.path("tls.key.sealed").read_bytes())
    data[-20] ^= 1
    world.path("tampered.sealed").write_bytes(data)
    world.run(
        "blindfold", "open", "--out", world.path("tampered.key"), world.path("tampered.sealed"),
        identity="web", expect=DAMAGED,
    )  # fmt: skip
    require(not world.path("tampered.key").exists(), "a tampered file left a plaintext")
    world.say(f"a tampered file is refused: exit code {DAMAGED}, nothing written")


def verify_audit(world: World, key: str) -> None:
    export = world.path("audit.jsonl")
    world.run("kms", "audit", "export", "--out", export, identity=ADMIN)
    report = world.json("kms", "audit", "verify", export, "--audit-key", key)
    text = export.read_text()
    require('"EvaluateBlinded"' in text and '"NO_RULE_MATCHED"' in text, "the audit chain lacks the openings")
    world.say(f"the audit chain verifies to event {report['signed_through']}, openings and refusals in it")


def needles(world: World, traces: Traces) -> list[search.Needle]:
    """The secret as text and as a number, x, the derived keys, the file's parts.

    The text's beginning is left out: it is that of every P-256 key, and the KMS has one of its own.
    """
    text = "".join(world.path("tls.key").read_text().splitlines()[1:-1])
    return [
        search.needle("secret", text[48:].encode()),
        search.needle("secret's scalar", traces.scalar),
        search.needle("x", traces.x),
        search.needle("header key", traces.header_key),
        search.needle("payload key", traces.payload_key),
        search.needle("mac", traces.mac),
        search.needle("payload", traces.payload),
        search.needle("element C", traces.element),
    ]


def prove_absence(world: World, marker: str, traces: Traces, pid: int, kept: list[Path]) -> None:
    """What was asked is searched for everywhere, and a planted marker is found first."""
    secret = needles(world, traces)
    planted = [search.needle("marker", marker.encode())]
    messages, log = kept
    require(
        bool(search.found(planted, search.files([messages]))), "the marker is not in the recorded messages"
    )
    require(bool(search.found(planted, search.memory(pid))), "the marker is not in the memory of the KMS")
    require(
        bool(search.found([search.Needle("log", frozenset({b"kms.main"}))], search.files([log]))),
        "the log is empty",
    )
    require(search.found(secret, [world.path("tls.key").read_bytes()]) != set(), "the search finds nothing")
    for name, blocks in (
        ("recorded messages", search.files([messages])),
        ("log", search.files([log])),
        ("memory", search.memory(pid)),
    ):
        there = search.found(secret, blocks)
        require(not there, f"the {name} of the KMS hold {', '.join(sorted(there))}")
    size = messages.stat().st_size
    world.say(f"secret, x, derived keys, mac, payload, C: not in {size:,} bytes of messages, log or memory;")
    world.say("a planted marker was found in messages and memory before")


def look_at_rest(world: World, marker: str, traces: Traces) -> None:
    """The store, once the server has closed it."""
    places = [world.path("kms"), world.path("kms-checkpoint")]
    planted = [search.needle("marker", marker.encode())]
    require(bool(search.found(planted, search.files(places))), "the marker is not in the store")
    there = search.found(needles(world, traces), search.files(places))
    require(not there, f"the store holds {', '.join(sorted(there))}")
    world.say("nor in the store, in which the marker was found")


if __name__ == "__main__":
    sys.exit(main())
