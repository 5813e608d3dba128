"""What the pages of the specification have in common."""

import re
from collections.abc import Iterable

LINE_WIDTH = 96


def example(page: str) -> str:
    """Its one worked example."""
    [block] = re.findall(r"^```example\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(block)


def render(fields: Iterable[tuple[str, str]], name_width: int) -> str:
    """A worked example of names and values, broken into lines."""
    lines = []
    for name, value in fields:
        label = name
        for start in range(0, len(value), LINE_WIDTH):
            lines.append(f"{label:{name_width}}{value[start : start + LINE_WIDTH]}\n")
            label = ""
    return "".join(lines)


def limits(page: str) -> dict[str, str]:
    """Of its section "Limits", by what is limited."""
    section = page[page.index("## Limits") :]
    return dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE))


def assert_rules_are_numbered(page: str) -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)]
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))
