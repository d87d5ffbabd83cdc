"""Hundreds of wrong and odd requests, made from the document: none may end in a 5xx, and every answer has the documented shape."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from litestar import Litestar
from litestar.testing import TestClient
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from daogou.request import Answer
from daogou.scenario import Project, Serving
from daogou.serve.app import create_app
from daogou.serve.wire import Problem

CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
CASES = 14  # a route
SETTINGS: dict[str, Any] = {
    "max_examples": CASES,
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def document(template: Path, tmp_path_factory: pytest.TempPathFactory, loopback: Callable[[Litestar], AbstractContextManager[int]]) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(template, directory, dirs_exist_ok=True)
    app = create_app(Project(directory=directory, serving=Serving(max_body_bytes=200_000)), open_access=True)
    with loopback(app) as port:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/v1/openapi.json")


@pytest.mark.promise("S1")
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_ends_in_a_server_error(document: Any, mode: GenerationMode) -> None:
    """Right requests and deliberately wrong ones, `CASES` of each for each route."""
    sent, without_input = 0, set()

    operations = [result.ok() for result in document.get_all_operations()]
    for operation in operations:

        def check(case: schemathesis.Case) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(checks=CHECKS, timeout=30)

        try:
            settings(**SETTINGS)(given(case=operation.as_strategy(generation_mode=mode))(check))()
        except Unsatisfiable:  # a route that takes nothing cannot be asked wrongly
            without_input.add(operation.label)
    assert len(operations) >= 22
    assert sent > 270
    assert without_input <= {"GET /healthz", "GET /readyz"}


IDS = st.one_of(st.sampled_from([f"i{n}" for n in range(40)]), st.text(max_size=8))
SEEN = st.fixed_dictionaries({"item_id": IDS, "event": st.sampled_from(["view", "purchase", "refund", "odd"])}, optional={"time": st.integers(-(2**70), 2**70)})
FILTERS = st.lists(
    st.sampled_from(
        [
            "price",
            "brand",
            "created",
            "$cart",
            "$user.age",
            "$item.price",
            "<=",
            "=",
            "in",
            "not",
            "and",
            "(",
            ")",
            "[",
            "]",
            ",",
            "1e9",
            '"x"',
            "available",
            "null",
        ]
    ),
    max_size=9,
).map(" ".join)
QUESTIONS = st.fixed_dictionaries(
    {"placement": st.sampled_from(["home.for_you", "home.discover", "home.guest", "product.similar", "product.bought_together", "cart.complete"])},
    optional={
        "user_id": st.one_of(st.sampled_from(["u1", "u2"]), st.text(max_size=8)),
        "session": st.lists(SEEN, max_size=4),
        "items": st.lists(IDS, max_size=4),
        "exclude": st.lists(IDS, max_size=4),
        "filter": st.one_of(st.just("price <= 20 and available"), FILTERS, st.text(max_size=20)),
        "k": st.integers(-1, 101),
        "explain": st.booleans(),
        "locale": st.sampled_from(["zh", "en", "xx"]),
        "details": st.booleans(),
    },
)


@pytest.mark.promise("S1")
@given(body=QUESTIONS)
@settings(max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_questions_of_real_placements_are_answered_or_refused(reading: TestClient[Litestar], body: dict[str, Any]) -> None:
    """The document does not know which placements exist, so most of its requests end early; these go all the way."""
    response = reading.post("/v1/recommendations", content=msgspec.json.encode(body))
    assert response.status_code in (200, 400), response.text
    if response.status_code == 200:
        answer = msgspec.json.decode(response.content, type=Answer)
        assert len({item.item_id for item in answer.items}) == len(answer.items) <= body.get("k", 12)
        assert not {item.item_id for item in answer.items} & {*body.get("exclude", []), *body.get("items", [])}
        assert not answer.degraded
    else:
        assert msgspec.json.decode(response.content, type=Problem).extra[0].field
