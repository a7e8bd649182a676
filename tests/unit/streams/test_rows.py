"""Rows that change are written by rounds, and who waits for them is told when they are with the broker."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas import topics
from schemas.records import Heartbeat, Load, PackagerState
from schemas.settings import ControlSettings, KafkaSettings, Settings
from schemas.units import Ms, UnixMs
from streams.app import new_app
from streams.core.state import State
from streams.rows import TURN_ROWS, Rows
from streams.tables import offset_of

BEAT = Heartbeat(packager_id="p1", life="l", state=PackagerState.READY, number=0, interval_ms=Ms(500), capacity=Load(), use=Load())
BEATS = topics.HEARTBEATS.title
NOBODY: list[str] = []


class Changed:
    """Rows of packagers whose changelog is a list; the broker acknowledges when it is told to."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"), control=ControlSettings(data_dir=folder))
        self.rows = Rows(new_app(settings), topics.HEARTBEATS, settings.kafka)
        self.rows._table.changelog_topic.send_soon = self._send
        self.state, self.told = State(0), list[str]()
        self.sent: list[tuple[bytes, int, asyncio.Future[Any]]] = []

    def _send(self, *, key: bytes, value: bytes | None, **_: Any) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((key, offset_of(value), done))
        return done

    def fold(self, packager: str, offset: int) -> None:
        """A heartbeat is folded, and waits."""
        row = self.state.fold(BEATS, replace(BEAT, packager_id=packager, number=offset), offset=offset, at=UnixMs(1_000 + offset))
        self.rows.put(0, packager, row)
        self.rows.when_durable(0, lambda: self.told.append(f"{packager} {offset}"))

    async def begin(self) -> asyncio.Task[None]:
        """A round, until it waits for the broker."""
        round_ = asyncio.create_task(self.rows.write(0))
        while not self.sent:  # noqa: ASYNC110 - the round goes on by turns
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return round_

    def acknowledge(self, *failed: int) -> list[tuple[bytes, int]]:
        """The broker has, or refuses, what was sent; what that was."""
        sent, self.sent = self.sent, []
        for number, (_, _, done) in enumerate(sent):
            if number in failed:
                done.set_exception(OSError("no leader"))
            else:
                done.set_result(SimpleNamespace(partition=0, offset=number))
        return [(key, offset) for key, offset, _ in sent]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    return Changed(tmp_path)


async def test_a_row_is_written_once_in_a_round_however_often_it_changed_and_who_waits_is_told_in_order(changed: Changed) -> None:
    for offset in range(4):
        changed.fold(f"p{offset % 2}", offset)
    round_ = await changed.begin()
    assert changed.told == NOBODY, "killed now, a worker would have lost these records if they were committed"
    assert changed.acknowledge() == [(b"0/p0", 2), (b"0/p1", 3)]
    await round_
    assert changed.told == ["p0 0", "p1 1", "p0 2", "p1 3"]


async def test_what_changes_during_a_round_is_written_and_told_in_the_next(changed: Changed) -> None:
    changed.fold("p0", 0)
    round_ = await changed.begin()
    changed.fold("p0", 1)
    assert changed.acknowledge() == [(b"0/p0", 0)]
    await round_
    assert changed.told == ["p0 0"]
    round_ = await changed.begin()
    assert changed.acknowledge() == [(b"0/p0", 1)]
    await round_
    assert changed.told == ["p0 0", "p0 1"]


async def test_if_any_row_of_a_round_is_refused_nobody_is_told(changed: Changed) -> None:
    changed.fold("p0", 0)
    changed.fold("p1", 1)
    round_ = await changed.begin()
    changed.acknowledge(0)
    with pytest.raises(OSError, match="no leader"):
        await round_
    assert changed.told == NOBODY


async def test_a_round_that_is_cut_short_leaves_the_rest_to_the_next(changed: Changed) -> None:
    changed.fold("p0", 0)
    round_ = await changed.begin()
    round_.cancel()
    changed.fold("p1", 1)
    changed.acknowledge()
    round_ = await changed.begin()
    assert changed.acknowledge() == [(b"0/p1", 1)]
    await round_
    assert changed.told == ["p0 0", "p1 1"]


async def test_of_a_pool_that_may_be_anothers_nothing_is_written_or_told_any_more(changed: Changed) -> None:
    for offset in range(2 * TURN_ROWS):
        changed.fold(f"p{offset}", offset)
    round_ = asyncio.create_task(changed.rows.write(0))
    await asyncio.sleep(0)
    changed.rows.drop(0)
    changed.fold("p0", 99)
    assert len(changed.acknowledge()) == TURN_ROWS, "what had its turn before"
    await round_
    assert changed.told == NOBODY


async def test_a_deletion_takes_the_place_of_the_row(changed: Changed) -> None:
    changed.fold("p0", 0)
    changed.rows.remove(0, "p0", 5)
    round_ = await changed.begin()
    assert changed.acknowledge() == [(b"0/p0", -1)]
    await round_
    assert dict(changed.rows.of(0)) == {}
