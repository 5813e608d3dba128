"""The OpenAPI description is what is served: every page is in it, and does what it says of it."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sidecar import Sidecar

from wingman.http.description import describe
from wingman.http.key_pages import PAGES, KeyPages
from wingman.http.pages import Pages

# What a schema cannot say: that base64 is of a sealed secret, or that a key is there.
UNSAID = [positive_data_acceptance]


OPERATIONS = [(path, method) for path, item in describe()["paths"].items() for method in item]


@pytest.fixture(scope="module")
def schema(sidecar: Sidecar) -> Any:
    loaded = schemathesis.openapi.from_dict(json.loads(sidecar.get("/openapi.json").body))
    loaded.config.update(base_url=f"http://127.0.0.1:{sidecar.port}")
    return loaded


# There is nothing wrong that can be sent to a page without parameters.
CASES = [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS] + [
    (path, method, GenerationMode.NEGATIVE) for path, method in OPERATIONS if method == "post"
]


@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=lambda value: getattr(value, "name", value))
def test_pages_do_what_the_description_says(
    schema: Any, path: str, method: str, mode: GenerationMode
) -> None:
    @given(schema[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def call(case: Any) -> None:
        case.call_and_validate(excluded_checks=UNSAID)

    call()


def test_every_page_is_described() -> None:
    nobody: Any = None
    routes = [*Pages(nobody, nobody, nobody).routes(), *KeyPages(nobody, nobody).routes()]
    described = {(path, method.upper()) for path, method in OPERATIONS}
    served = {(route.path, method) for route in routes for method in route.methods if method != "HEAD"}
    assert described == served | {("/openapi.json", "GET")}
    assert len(PAGES) == 6
