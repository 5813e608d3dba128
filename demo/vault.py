"""A password that lies in a vault, for a program that holds no token: `make demo-vault`.

The vault is the stand-in of the tests, or the server of TEST_VAULT_ADDR, TEST_VAULT_TOKEN and
TEST_VAULT_CACERT. The KMS keeps how it is reached and never connects to it.
"""

import json
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from vault.workshop import Answered, Workshop, workshop

from demo import search
from demo.furnishing import ADMIN, enrol, fetch_documents, initialise, policy, write_profiles
from demo.world import Failed, World, require, served, wait_for
from wingman.unix_http import UnixConnection

NAMESPACE = "tenants/acme/namespaces/prod"
ACCESS = f"{NAMESPACE}/secretManagementAccesses/vault"
DENIED = 3


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="blindfold-demo-") as directory:
        world = World(Path(directory))
        try:
            with workshop(world.directory) as vault:
                run(world, Shop(world, vault, vault.mount("kv", version="2")))
        except Failed as failure:
            print(f"demo-vault: FAILED: {failure}", file=sys.stderr)
            return 1
    print("demo-vault: ok")
    return 0


@dataclass
class Shop:
    """A vault with a password of a database at `mount`. `tokens` are all that were made to read it."""

    world: World
    vault: Workshop
    mount: str
    passwords: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def secret(self) -> dict[str, str]:
        """What a program asks its Wingman for."""
        return {"type": "vault", "access": ACCESS, "path": f"{self.mount}/db/web", "key": "password"}

    @property
    def flags(self) -> dict[str, bool]:
        """A real server for development may speak http on a loopback address."""
        return {"allow_plain_http": True} if self.vault.address.startswith("http:") else {}

    def change_password(self) -> None:
        self.passwords.append(secrets.token_urlsafe(32))
        self.vault.write(f"{self.mount}/data/db/web", data={"password": self.passwords[-1]})

    def seal_token(self) -> str:
        """The location of a new token, sealed for this vault under the policy."""
        allowed = self.vault.policy_of({f"{self.mount}/data/db/web": "read"})
        self.tokens.append(self.vault.make_token(allowed))
        sealed = self.world.run(
            "blindfold", "seal", "--location", "--name", self.vault.addressee, "--policy", "prod/web-tls",
            "--public-key", self.world.path("key.bundle"),
            "--policy-document", self.world.path("policy.bundle"),
            input_=self.tokens[-1].encode(),
        )  # fmt: skip
        return sealed.decode().strip()

    def write_access(self) -> Path:
        """The file of an access with a new token."""
        content = {
            "provider": "demo",
            "where": {"expressions": ["app=web"]},
            "endpoint": self.vault.address,
            "tls": {"ca_pem": self.vault.ca_pem},
            "authentication": {
                "type": "token",
                "token": {"type": "blindfold", "location": self.seal_token()},
            },
            "mounts": [{"path": self.mount, "engine": "KV_V2"}],
        }
        path = self.world.path("access.json")
        whole = {"kind": "SecretManagementAccess", "name": "prod/vault", "content": content}
        path.write_text(json.dumps(whole))
        return path


def run(world: World, shop: Shop) -> None:
    marker = f"marker-{secrets.token_hex(16)}"
    made = initialise(world, marker)
    if shop.flags:
        allow_http(world)
    record, log = world.path("messages"), world.path("kms.log")
    with ExitStack() as running:
        pid, ports = running.enter_context(served(world, world.path("kms"), record, log))
        write_profiles(world, ports, made["documents_root"])
        enrol(world)
        policy(world, marker)
        fetch_documents(world)
        fill_vault(world, shop)
        sockets = {
            name: running.enter_context(wingman(world, shop, name, ports["listen"]))
            for name in ("web", "batch")
        }
        world.say("two Wingmen are READY, each on a unix socket of its own: web's and batch's")
        get_password(world, shop, sockets["web"], ports["listen"])
        refuse_batch(world, shop, sockets["batch"])
        rotate(world, shop, sockets["web"])
        verify_audit(world, made["audit_key"])
        prove_absence(world, shop, marker, pid, [record, log])
    look_at_rest(world, shop, marker)


def allow_http(world: World) -> None:
    settings = world.path("kms") / "kms.toml"
    settings.write_text(settings.read_text().replace("allow_plain_http = false", "allow_plain_http = true"))


def fill_vault(world: World, shop: Shop) -> None:
    shop.change_password()
    what = "the stand-in" if shop.vault.server is not None else "a real server"
    world.say(f"a vault ({what}) on {shop.vault.address} has the password of a database")
    world.run("kms", "secret-access", "apply", "-f", shop.write_access(), identity=ADMIN)
    world.say("its token, which may read that alone, was sealed for this vault under web-tls, offline;")
    world.say("the access prod/vault has the sealed token and the address, and selects app=web")


@contextmanager
def wingman(world: World, shop: Shop, name: str, server: str) -> Iterator[Path]:
    """The socket of a Wingman that is that identity."""
    socket = world.path(f"{name}.sock")
    file = configure(world, shop, name, server, socket)
    with world.path(f"{name}-wingman.log").open("wb") as words:
        process = subprocess.Popen(
            ["wingman", "serve", "--config", str(file)],
            env=world.environment(name), stdout=subprocess.DEVNULL, stderr=words,
        )  # fmt: skip
    try:
        wait_for(lambda: status(socket) == "READY", f"the Wingman of {name}")
        yield socket
    finally:
        process.terminate()
        process.wait(30)


def configure(world: World, shop: Shop, name: str, server: str, socket: Path, **more: object) -> Path:
    """The file of a Wingman's configuration."""
    credentials = str(world.path("credentials") / name)
    told = {"server": server, "credentials": credentials, "socket": str(socket), **shop.flags, **more}
    file = socket.with_suffix(".json")
    file.write_text(json.dumps(told))
    return file


def status(socket: Path) -> str:
    with suppress(OSError):
        return request(socket, "GET", "/status")[1].decode()
    return ""


def request(socket: Path, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = UnixConnection(str(socket), 30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get_password(world: World, shop: Shop, socket: Path, server: str) -> None:
    body = world.path("request.json")
    body.write_text(json.dumps(shop.secret))
    password = world.run(
        "curl", "--silent", "--show-error", "--fail", "--unix-socket", socket,
        "http://localhost/secret/unseal?raw", "--data", f"@{body}",
    )  # fmt: skip
    require(password == shop.passwords[-1].encode(), "the program got another password")
    world.say("a program (curl) got the password from its Wingman, which opened the token blindly")
    start_with_password(world, shop, server)
    path = shop.secret["path"]
    get = ("blindfold", "external", "get", *http_flag(shop), "--key", "password", "prod/vault", path)
    require(world.run(*get, identity="web") == password, "blindfold external get has another password")
    world.say("blindfold external get has it too, as the same identity and without a Wingman")


def start_with_password(world: World, shop: Shop, server: str) -> None:
    file = configure(
        world, shop, "web", server, world.path("exec.sock"),
        secrets={"password": shop.secret}, program={"descriptors": {"PASSWORD_FILE": "password"}},
    )  # fmt: skip
    program = ("sh", "-c", 'cat "$PASSWORD_FILE"')
    got = world.run("wingman", "exec", "--config", file, "--", *program, identity="web")
    require(got == shop.passwords[-1].encode(), "the program was started with another password")
    world.say("wingman exec started another one with the password in an open file, in memory alone")


def http_flag(shop: Shop) -> list[str]:
    return ["--allow-http"] if shop.flags else []


def refuse_batch(world: World, shop: Shop, socket: Path) -> None:
    code, text = request(socket, "POST", "/secret/unseal", shop.secret)
    require((code, b"denied" in text) == (403, True), f"batch's Wingman answers {code}")
    get = ("blindfold", "external", "get", *http_flag(shop), "prod/vault", shop.secret["path"])
    world.run(*get, identity="batch", expect=DENIED)
    world.say("the first door: the KMS does not hand the access to batch (403, exit code 3)")
    copy = ("--access-file", world.path("access.json"))
    world.run(*get[:3], *copy, *get[3:], identity="batch", expect=DENIED)
    world.say("nor, with a stolen copy of the access, does it help to open the token (exit code 3)")
    own = shop.vault.make_token(shop.vault.policy_of({f"{shop.mount}/data/batch": "read"}))
    for token in (own, "hvs.guessed"):
        try:
            shop.vault.call("GET", f"{shop.mount}/data/db/web", token=token)
        except Answered as answer:
            require(answer.status == 403, f"the vault answers {answer.status}")
        else:
            raise Failed("the vault gave the password to batch")
    world.say("the second door: to a token of batch's own, and to a guessed one, the vault answers 403")


@dataclass
class Watch:
    """A program that asks again and again, and what it got."""

    socket: Path
    secret: dict[str, str]
    stop: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    def ask(self) -> None:
        while not self.stop.is_set():
            self.answers.append(request(self.socket, "POST", "/secret/unseal?raw", self.secret))

    def wait_for_more(self) -> None:
        """Until answers came to what was asked from now on."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) > before + 1, "an answer")


def rotate(world: World, shop: Shop, socket: Path) -> None:
    watch = Watch(socket, shop.secret)
    asking = threading.Thread(target=watch.ask)
    asking.start()
    try:
        watch.wait_for_more()
        world.run("kms", "secret-access", "apply", "-f", shop.write_access(), identity=ADMIN)
        watch.wait_for_more()
        shop.vault.write("auth/token/revoke", token=shop.tokens[-2])
        watch.wait_for_more()
        shop.change_password()
        watch.wait_for_more()
    finally:
        watch.stop.set()
        asking.join()
    failed = [answer for answer in watch.answers if answer[0] != 200]
    require(not failed, f"{len(failed)} of {len(watch.answers)} requests failed: {failed[:1]}")
    got = {password.decode() for _, password in watch.answers}
    require(got == set(shop.passwords), "the program got other passwords than those that were set")
    require(watch.answers[-1][1].decode() == shop.passwords[-1], "the program has the old password")
    world.say(
        f"the token was replaced and the old one revoked, then the password changed: {len(watch.answers)}"
    )
    world.say("requests of a program meanwhile, none failed, and it has the new password")


def verify_audit(world: World, key: str) -> None:
    export = world.path("audit.jsonl")
    world.run("kms", "audit", "export", "--out", export, identity=ADMIN)
    report = world.json("kms", "audit", "verify", export, "--audit-key", key)
    text = export.read_text()
    require("FetchSecretManagementAccess" in text and "NOT_SELECTED" in text, "the audit chain lacks fetches")
    world.say(f"the audit chain verifies to event {report['signed_through']}, fetches and refusals in it")


def needles(shop: Shop) -> list[search.Needle]:
    held = {"password": shop.passwords, "token": shop.tokens}
    return [search.needle(name, value.encode()) for name, values in held.items() for value in values]


def prove_absence(world: World, shop: Shop, marker: str, pid: int, kept: list[Path]) -> None:
    planted = [search.needle("marker", marker.encode())]
    require(bool(search.found(needles(shop), [shop.passwords[0].encode()])), "the search finds nothing")
    require(bool(search.found(planted, search.files(kept[:1]))), "the marker is not in the messages")
    require(bool(search.found(planted, search.memory(pid))), "the marker is not in the memory of the KMS")
    for name, blocks in (("messages or log", search.files(kept)), ("memory", search.memory(pid))):
        there = search.found(needles(shop), blocks)
        require(not there, f"the {name} of the KMS hold {', '.join(sorted(there))}")
    world.say("passwords and tokens: not in messages, log or memory of the KMS, where a marker was found")


def look_at_rest(world: World, shop: Shop, marker: str) -> None:
    """The store, once the server has closed it."""
    places = [world.path("kms"), world.path("kms-checkpoint")]
    planted = [search.needle("marker", marker.encode())]
    require(bool(search.found(planted, search.files(places))), "the marker is not in the store")
    there = search.found(needles(shop), search.files(places))
    require(not there, f"the store holds {', '.join(sorted(there))}")
    world.say("nor in the store, in which the marker was found")


if __name__ == "__main__":
    sys.exit(main())
