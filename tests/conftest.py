"""What every test may ask for: a marker by folder, and a real Kafka for those that need one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from infra.kafka import LocalBroker, Runtime, prepare

ROOT = Path(__file__).parents[1]
MARKED_FOLDERS = ("broker", "chaos", "players", "sim")

# What is true of any input is not about speed: on a busy machine the usual limit of 200 ms an example says nothing of the code.
hypothesis.settings.register_profile("finecut", deadline=None)
hypothesis.settings.load_profile("finecut")


@pytest.hookimpl(tryfirst=True)
def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` writes what is made now into tests/golden, to be reviewed like code."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected outputs in tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text is what tests/golden has under this name."""

    def check(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{path} differs; if the change is meant, run with --update-golden"

    return check


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test in tests/broker is marked `broker`, and so on: legs are chosen with -m, by hand and in the Makefile."""
    for item in items:
        for folder in MARKED_FOLDERS:
            if item.path.is_relative_to(ROOT / "tests" / folder):
                item.add_marker(folder)


@pytest.fixture(scope="session")
def kafka_runtime() -> Runtime:
    """Jars and Java for those who start brokers of their own."""
    return prepare(ROOT / ".cache")


@pytest.fixture(scope="session")
def kafka(kafka_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """One real broker for the whole session: use topic names of your own. It dies with the tests, however they end."""
    with LocalBroker(tmp_path_factory.mktemp("kafka"), kafka_runtime) as broker:
        yield broker


@pytest.fixture
def own_kafka(kafka_runtime: Runtime, tmp_path: Path) -> Iterator[LocalBroker]:
    """A real broker for one test alone, empty: for those that use the project's topics, or stop and kill it."""
    with LocalBroker(tmp_path / "kafka", kafka_runtime) as broker:
        yield broker
