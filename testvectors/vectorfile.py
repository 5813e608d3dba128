"""The common shape of all vector files (see testvectors/README.md)."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class VectorFile:
    """One file: cases are numbered in the order in which they are added."""

    algorithm: str
    schema: str
    notes: dict[str, str]
    tests: list[dict[str, Any]] = field(default_factory=list)
    common: dict[str, Any] = field(default_factory=dict)

    def valid(self, comment: str, flag: str, **fields: Any) -> None:
        self._add(comment, flag, fields | {"result": "valid"})

    def invalid(self, comment: str, flag: str, error: str, **fields: Any) -> None:
        """A case that must be refused; `error` names the class of blindfold.errors."""
        self._add(comment, flag, fields | {"result": "invalid", "error": error})

    def _add(self, comment: str, flag: str, fields: dict[str, Any]) -> None:
        if flag not in self.notes:
            raise ValueError(f"flag {flag} has no note")
        self.tests.append({"tcId": len(self.tests) + 1, "comment": comment, "flags": [flag]} | fields)

    def text(self) -> str:
        invalid = sum(test["result"] == "invalid" for test in self.tests)
        if 2 * invalid <= len(self.tests):
            raise ValueError(f"{self.algorithm}: {invalid} of {len(self.tests)} cases are invalid")
        head = {
            "algorithm": self.algorithm,
            "schema": self.schema,
            "numberOfTests": len(self.tests),
            "notes": self.notes,
        }
        return json.dumps(head | self.common | {"tests": self.tests}, indent=1, ensure_ascii=True) + "\n"
