"""More connections than anybody needs: those who were there are served, and what was taken is given back."""

import os
import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attacker import PREFACE, SETTINGS, Attacker, frame
from house import House
from killed_house import PROD, create_key, open_house, worker

from kms.client.api import Api

KEY = f"{PROD}/keys/used"
IDLE = 10_000
# What an idle connection over TLS was seen to take is 45 KiB.
BYTES_EACH = 96 << 10
FEW = 300


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.init()
    return made


@contextmanager
def open_files(most: int) -> Iterator[None]:
    """A limit for this process, and for those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def count_files(process: "subprocess.Popen[bytes]") -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208


def resident(process: "subprocess.Popen[bytes]") -> int:
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def assert_serves(api: Api) -> None:
    assert api.call("CryptoService", "Encrypt", {"name": KEY, "plaintext": "aGVsbG8="})["ciphertext"]


def port_of(house: House) -> int:
    return int(house.addresses["listen"].rpartition(":")[2])


def test_open_files_that_strangers_use_up_are_not_missed_by_the_store(house: House) -> None:
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, {FEW})); "
        "from cli.kms import main; main()"
    )
    with house.served(script=script) as process, ExitStack() as strangers:
        open_house(house)
        with worker(house) as api:
            create_key(api, "used")
            for _ in range(2 * FEW):
                stranger = socket.create_connection(("127.0.0.1", port_of(house)), timeout=5)
                strangers.enter_context(stranger)
            assert_serves(api)
            # Written, with its checkpoint, while no file is left for anybody else.
            create_key(api, "made-meanwhile")
            assert FEW - 32 < count_files(process) <= FEW


@pytest.mark.slow
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < IDLE + 500, reason="too few open files are allowed here"
)
def test_ten_thousand_idle_connections(house: House) -> None:
    with open_files(IDLE + 400), house.served() as process, ExitStack() as idle:
        open_house(house)
        with worker(house) as api:
            create_key(api, "used")
            assert_serves(api)
            attacker = Attacker(port_of(house), house.path / "prod-worker")
            memory, files = resident(process), count_files(process)

            def connect(_: int) -> ssl.SSLSocket:
                connection = attacker.connect()
                connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
                return connection

            with ThreadPoolExecutor(16) as pool:
                for connection in pool.map(connect, range(IDLE)):
                    idle.enter_context(connection)
            # Who does not answer its pings is dropped by the server after 80 seconds.
            assert count_files(process) >= files + IDLE // 2
            assert_serves(api)
            assert (resident(process) - memory) / IDLE < BYTES_EACH
            with worker(house) as newcomer:
                assert_serves(newcomer)
            idle.close()
            while count_files(process) > files + 10:
                assert_serves(api)
            assert_serves(api)
