"""What the server's own description promises, tried with what schemathesis makes of it."""

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from .serving import doubling, served  # noqa: E402

BOUNDS = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_as_described(mode: schemathesis.GenerationMode) -> None:
    """To requests that fit the description and to those that do not."""
    tried = set()
    with served(doubling(), latency=0.0) as client:
        described = schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")
        for found in described.get_all_operations():
            operation = found.ok()
            tried.add(operation.path)
            if mode == schemathesis.GenerationMode.NEGATIVE and not operation.body:
                continue  # there is nothing in it that could be wrong

            @BOUNDS
            @given(case=operation.as_strategy(generation_mode=mode))
            def holds(case: schemathesis.Case) -> None:
                case.call_and_validate()

            holds()
    assert tried == {"/predict", "/health", "/metrics"}
