"""The examples of policy files and tables in docs/policies.md hold together."""

import re
from pathlib import Path

from click.testing import CliRunner

from cli import kms

PAGE = (Path(__file__).parents[2] / "docs/policies.md").read_text(encoding="utf-8")


def test_table_of_the_page_holds_for_the_policy_of_the_page(tmp_path: Path) -> None:
    policy, table = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "orders.yaml").write_text(policy)
    (tmp_path / "table.yaml").write_text(table)
    ended = CliRunner().invoke(kms.program, ["policy", "test", str(tmp_path / "table.yaml")])
    assert (ended.exit_code, ended.stderr) == (0, "3 requests are decided as expected\n"), ended.output
