"""The page on monitoring lists what there is."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from kms.audit.alerts import AlertKind
from kms.main.configuration import Configuration
from kms.server.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()


def rows(heading: str) -> set[str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))


def test_every_kind_of_alert_is_there() -> None:
    assert rows("Alerts") == set(AlertKind)


def test_every_metric_is_there() -> None:
    page = Metrics(lambda: True, lambda: 0, lambda: datetime.now(UTC)).page().decode()
    ours = set(re.findall(r"^# TYPE (kms_\w+) ", page, re.MULTILINE))
    assert rows("Pages") == {name for name in ours if not name.endswith("_created")}


def test_settings_are_those_of_a_configuration() -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in tomllib.loads(block).items()
    }
    assert Configuration(
        directory=Path("/kms"),
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=Path("/c"),
        **settings,
    )
