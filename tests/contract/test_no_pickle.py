"""Nothing that would run what somebody wrote is ever read: no pickle, nowhere, also not through Faust."""

import ast
from pathlib import Path

import pytest
from faust.serializers import codecs

from schemas.settings import ControlSettings, Settings
from streams.app import build
from streams.log import KafkaLog

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("schemas", "streams", "packager", "infra") for path in (ROOT / folder).rglob("*.py"))
# They load code with data, or hand objects to other processes in that form.
UNSAFE = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "multiprocessing"})


def imported(path: Path) -> set[str]:
    """Top names of what a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {(node.module or "").split(".")[0]}
    return names


def test_no_module_of_ours_imports_what_reads_pickles() -> None:
    assert len(SOURCES) > 100
    assert {str(path): found for path in SOURCES if (found := imported(path) & UNSAFE)} == {}


@pytest.mark.parametrize("name", ["pickle", "pickle_restricted", "json|pickle"])
def test_faust_refuses_to_be_asked_for_pickles(name: str) -> None:
    assert not [known for known in codecs.codecs if "pickle" in known]
    with pytest.raises(KeyError, match="pickle"):
        codecs.get_codec(name).loads(b"")


def test_topics_and_tables_of_the_control_plane_are_given_as_bytes(tmp_path: Path) -> None:
    settings = Settings(control=ControlSettings(data_dir=tmp_path))
    app = build(settings, journal_log=KafkaLog(settings.kafka)).app
    serializers = {(topic.key_serializer, topic.value_serializer) for agent in app.agents.values() for topic in [agent.channel]}
    serializers |= {(table.key_serializer, table.value_serializer) for table in app.tables.values()}
    assert serializers == {("raw", "raw")}
