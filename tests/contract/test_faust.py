"""What of Faust is not used, since it loses records there, and with what settings the rest is."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from faust.types.enums import ProcessingGuarantee
from mode.supervisors import CrashingSupervisor

from schemas import topics
from schemas.settings import ControlSettings, KafkaSettings, Settings
from streams.app import Control, build
from streams.log import KafkaLog

STREAMS = Path(__file__).parents[2] / "streams"
SHELL = [*STREAMS.glob("*.py"), *(STREAMS / "agents").glob("*.py")]
# `take` acknowledges a batch whose handling crashed; with `concurrency` offsets are committed past a record in hand; `group_by` and `join`
# repartition; windows, sets and global tables lose rows over rebalances.
FORBIDDEN_CALLS = {"take", "group_by", "tumbling", "hopping", "SetTable", "GlobalTable", "SetGlobalTable"}
FORBIDDEN_WORDS = {"concurrency", "processing_guarantee", "isolated_partitions"}


def used(source: str) -> Iterator[str]:
    """Forbidden calls and named arguments in a source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield from {called} & FORBIDDEN_CALLS
            yield from {word.arg for word in node.keywords if word.arg} & FORBIDDEN_WORDS


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    made = build(Settings(kafka=kafka, control=ControlSettings(data_dir=tmp_path)), journal_log=KafkaLog(kafka))
    yield made
    made.app.consumer._thread.thread_loop.close()  # type: ignore[attr-defined]  # Faust closes it with its thread, which never starts


def test_a_forbidden_call_is_found() -> None:
    assert set(used("async for batch in stream.take(9, within=1): pass\napp.agent(concurrency=2)")) == {"take", "concurrency"}


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.relative_to(STREAMS).as_posix())
def test_nothing_of_faust_is_used_that_loses_records(path: Path) -> None:
    assert list(used(path.read_text())) == []


async def test_agents_handle_one_record_after_the_other_and_crash_the_worker_if_they_crash(control: Control) -> None:
    agents = list(control.app.agents.values())
    assert len(agents) == 6
    assert {agent.concurrency for agent in agents} == {1}
    assert {agent.supervisor_strategy or control.app.conf.agent_supervisor for agent in agents} == {CrashingSupervisor}


async def test_faust_promises_no_more_than_it_keeps(control: Control) -> None:
    conf = control.app.conf
    assert str(conf.processing_guarantee) == str(ProcessingGuarantee.AT_LEAST_ONCE)
    assert (conf.table_standby_replicas, conf.topic_allow_declare, conf.stream_wait_empty) == (0, False, False)
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.consumer_group_instance_id


async def test_pools_are_made_anew_from_recovered_tables_before_any_source_is_read_on(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    app, consumer, source = control.app, control.consumer, TP(topics.HEARTBEATS.name(control.settings.kafka), 3)

    class SoughtError(Exception):
        """Far enough."""

    async def seek() -> None:
        raise SoughtError

    monkeypatch.setattr(consumer, "assignment", lambda: {source})
    monkeypatch.setattr(consumer, "resume_partitions", done.append)
    monkeypatch.setattr(consumer, "perform_seek", seek)
    monkeypatch.setattr(control.pools, "recovered", done.append)
    recovery: Any = app.tables.recovery  # type: ignore[attr-defined]
    with pytest.raises(SoughtError):
        await recovery.on_recovery_completed(app.consumer_generation_id)
    assert done == [{3}, {source}]
