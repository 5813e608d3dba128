"""docs/wingman.md: its examples run, and its tables are what is served."""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from h11._connection import DEFAULT_MAX_INCOMPLETE_EVENT_SIZE as MAX_HEADERS
from server.kms_harness import RunningKms, running_kms

from blindfold.envelope import MAGIC
from blindfold.forms import to_location
from kms.client.client import KmsClient
from kms.model.algorithms import USES_ELSEWHERE
from wingman import configuration, kept_secrets, programs
from wingman.condition import RULES
from wingman.files import plan
from wingman.http import bodies, listening, protocol
from wingman.http.description import describe
from wingman.http.pages import MAX_BATCH

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/wingman.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECRET = b"hunter2 hunter2"
SEALED = base64.b64encode(MAGIC + b"of a sealed file the beginning").decode()


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_states_are_the_rules() -> None:
    rows = re.findall(r"^\| `([A-Z]+)` \| (.+) \|$", section("States"), re.MULTILINE)
    assert rows == [(str(rule.state), rule.because) for rule in RULES]


def test_every_page_has_its_line() -> None:
    listed = set(re.findall(r"`(GET|POST) (/[a-z0-9/_.-]+)`", section("What it answers")))
    served = {(method.upper(), path) for path, item in describe()["paths"].items() for method in item}
    assert listed == served


def test_every_status_has_its_line() -> None:
    listed = set(re.findall(r"^\| (\d{3}) \|", section("What it answers"), re.MULTILINE))
    paths: Any = describe()["paths"].values()
    told = {status for item in paths for page in item.values() for status in page["responses"]}
    assert listed == (told - {"200"}) | {"405"}


@pytest.mark.parametrize(
    ("title", "form"),
    [
        ("Configuration", configuration.CONFIGURATION),
        ("Identity", configuration.ENROLMENT),
        ("Files", plan.FILES),
        ("Programs", programs.PROGRAM),
    ],
)
def test_every_member_has_its_line(title: str, form: Any) -> None:
    assert re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE) == [*form.schema["properties"]]


def test_examples_of_configurations_are_some() -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    whole, files, program = (yaml.safe_load(text.replace("...", SEALED)) for text in examples)
    assert configuration.parse_configuration(whole).socket == configuration.SOCKET
    assert configuration.parse_configuration(whole | files).files is not None
    assert configuration.parse_configuration(whole | program).program.descriptors


def test_modes_and_times_of_files_are_those_of_the_code() -> None:
    assert [*plan.MODES] == re.findall(r'`"(0\d+)"`', section("Files"))
    assert f"{plan.REFRESH_SECONDS} if left out" in section("Files")


@pytest.mark.parametrize(
    "stated",
    [
        f"up to {MAX_BATCH} secrets",
        f"Up to {kept_secrets.MAX_SECRETS:,} secrets are kept, and {kept_secrets.MAX_BYTES >> 20} MiB",
        f"of {USES_ELSEWHERE:,} encryptions",
        f"longer than {bodies.BODY_SECONDS:g} seconds",
        f"Headers have {protocol.HEADER_SECONDS:g} seconds and {MAX_HEADERS >> 10} KiB",
        f"{bodies.MAX_BODY >> 20} MiB; {listening.CONNECTIONS:,} connections",
        f"{configuration.MAX_KEEP // 86400} days if left out",
    ],
)
def test_limits_are_those_of_the_code(stated: str) -> None:
    assert stated in " ".join(PAGE.split())


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        started.add_key()
        rule = {"name": "everybody", "action": "ACTION_ALLOW"}
        started.add_policy(rules=[rule])
        started.allow_keys()
        started.make_key("box")
        started.loop.run(started.app.set_serving(True))
        yield started


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_examples_run(kms: RunningKms, tmp_path: Path) -> None:
    """In a shell, with a socket and a directory of their own."""
    path, credentials = tmp_path / "wingman.sock", kms.credentials("key-user")
    (tmp_path / "wingman.yaml").write_text(
        f"server: {kms.target}\ncredentials: {credentials}\nsocket: {path}\n"
    )
    (tmp_path / "secret.location").write_text(to_location(kms.seal(SECRET)))
    asking, using = (example.replace(configuration.SOCKET, str(path)) for example in EXAMPLES)
    waiting = f"until [ -S {path} ] && {asking.splitlines()[1]} | grep -q READY; do sleep 0.05; done; "
    script = f"trap 'kill %1; wait' EXIT; {asking.splitlines()[0]}\n{waiting}\n{using}"
    bin_directory = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-ec", f"PATH={bin_directory}:$PATH\n{script}"],
        cwd=tmp_path, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    announced, _, answered = done.stdout.partition(b"\n")
    assert announced == f"serving on {path}".encode()
    assert answered.startswith(SECRET)
    ciphertext = base64.b64decode(answered.removeprefix(SECRET))
    with KmsClient(kms.target, credentials) as client:
        key = "tenants/acme/namespaces/prod/keys/box"
        assert client.decrypt(key, ciphertext, b"order 17").plaintext.reveal() == b"hello"
