from collections.abc import Iterator

import pytest

from tests.frameworks.bench import Bench


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()
