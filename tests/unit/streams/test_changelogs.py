"""What stands last in the changelogs, whoever wrote it, beside what tables hold."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas import topics
from schemas.records import Heartbeat, Load, PackagerState
from schemas.settings import ControlSettings, KafkaSettings, Settings
from schemas.units import Ms, UnixMs
from streams import tables as module
from streams.app import new_app
from streams.changelogs import Changelogs
from streams.core.state import State
from streams.log import Outgoing
from streams.metrics import Metrics
from streams.rows import Tables
from streams.tables import INCLUDES, encode_row

from .fake_log import FakeLog

BEAT = Heartbeat(packager_id="p1", life="l", state=PackagerState.READY, number=0, interval_ms=Ms(500), capacity=Load(), use=Load())
BEATS = topics.HEARTBEATS.title


def row(offset: int, packager: str = "p1") -> bytes:
    """A row as it stands in the changelog, of the record at an offset."""
    return encode_row(State(0).fold(BEATS, replace(BEAT, packager_id=packager, number=offset), offset=offset, at=UnixMs(1_000 + offset)))


@dataclass
class Worker:
    """The tables of one worker on a log that it shares with others: the changelog of one of them, as Faust and as a recovery see it."""

    log: FakeLog
    folder: Path
    is_ours: bool = True
    headers: dict[int, tuple[tuple[str, bytes], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"), control=ControlSettings(data_dir=self.folder))
        tables = Tables(new_app(settings), settings.kafka)
        self.rows = tables.by_title[BEATS]
        self.table = self.rows._table
        for rows in tables.by_title.values():
            rows._table.changelog_topic.send_soon = self._sends(rows.changelog)
        self.changelogs = Changelogs(0, tables=tables, log=self.log, is_ours=self._ask, metrics=Metrics())

    async def _ask(self, pool: int) -> bool:
        del pool
        return self.is_ours

    def _sends(self, name: str) -> Any:
        def send(*, key: bytes, value: bytes | None, partition: int, headers: Any = None, **_: Any) -> asyncio.Future[Any]:
            ack = self.log.put(Outgoing(topic=name, partition=partition, key=key, value=value, headers=tuple((headers or {}).items())))
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            done.set_result(SimpleNamespace(partition=partition, offset=ack.offset))
            return done

        return send

    def folds(self, packager: str, offset: int, *, is_late: bool = False) -> None:
        """It writes a row, in its table and the changelog; a late write is one of which the table was read long ago."""
        write = self.table.send if is_late else self.table.write
        write(0, f"0/{packager}".encode(), row(offset, packager), includes=offset)

    def prunes(self, packager: str, offset: int) -> None:
        """It deletes a row as the record at an offset says."""
        self.table.write(0, f"0/{packager}".encode(), None, includes=offset)

    def recovers(self, records: Iterable[Any] | None = None) -> None:
        """It reads the changelog, or what compaction left of it."""
        name = self.rows.changelog
        for stored in records if records is not None else self.log.partitions[name, 0]:
            message = SimpleNamespace(
                key=stored.key,
                value=stored.value,
                partition=0,
                offset=stored.offset,
                headers=self.log.headers.get((name, 0, stored.offset), ()),
            )
            self.table.apply_changelog_batch([SimpleNamespace(key=stored.key, value=stored.value, message=message)])

    def held(self) -> dict[str, int]:
        """Number of the heartbeat in each row."""
        return {key: held.pulses[-1].heartbeat.number for key, held in self.rows.of(0)}

    async def mend(self) -> tuple[str, ...]:
        await asyncio.sleep(0)  # acks of what was written before
        return await self.changelogs.mend()


def compacted(worker: Worker) -> list[Any]:
    """What is left of the changelog when all but the newest of each key is compacted away."""
    newest = {stored.key: stored for stored in worker.log.partitions[worker.rows.changelog, 0]}
    return sorted(newest.values(), key=lambda stored: stored.offset)


def successor(worker: Worker, folder: Path) -> dict[str, int]:
    """What the next worker knows that recovers after compaction."""
    then = Worker(worker.log, folder)
    then.recovers(compacted(worker))
    return then.held()


@pytest.fixture
def late(tmp_path: Path) -> Worker:
    return Worker(FakeLog(), tmp_path / "late")


@pytest.fixture
def owner(late: Worker, tmp_path: Path) -> Worker:
    return Worker(late.log, tmp_path / "owner")


async def test_a_row_that_a_worker_wrote_over_late_survives_compaction(late: Worker, owner: Worker, tmp_path: Path) -> None:
    owner.folds("p1", 9)
    owner.folds("p2", 10)
    assert await owner.mend() == ()
    late.folds("p1", 4)
    assert successor(owner, tmp_path / "before") == {"p1": 4, "p2": 10}
    assert await owner.mend() == ("0/p1",)
    assert successor(owner, tmp_path / "after") == {"p1": 9, "p2": 10}
    assert await owner.mend() == ()


async def test_a_row_that_lay_under_a_later_one_when_it_was_recovered_survives_compaction(
    late: Worker, owner: Worker, tmp_path: Path
) -> None:
    late.folds("p1", 9, is_late=True)
    late.folds("p1", 4, is_late=True)
    owner.recovers()
    assert await owner.mend() == ("0/p1",)
    assert successor(owner, tmp_path / "after") == {"p1": 9}


async def test_a_row_that_was_deleted_late_comes_back(late: Worker, owner: Worker, tmp_path: Path) -> None:
    owner.folds("p1", 9)
    late.prunes("p1", 4)
    assert await owner.mend() == ("0/p1",)
    assert successor(owner, tmp_path / "after") == {"p1": 9}


async def test_a_recovery_passes_over_a_late_deletion_and_obeys_one_in_time(late: Worker, owner: Worker) -> None:
    late.folds("p1", 9)
    late.prunes("p1", 4)
    late.folds("p2", 9)
    late.prunes("p2", 12)
    owner.recovers()
    assert owner.held() == {"p1": 9}


async def test_a_row_of_nobody_is_taken_back(late: Worker, owner: Worker, tmp_path: Path) -> None:
    late.folds("p7", 4)
    assert await owner.mend() == ("0/p7",)
    assert successor(owner, tmp_path / "after") == {}


async def test_what_the_owner_wrote_is_left_alone_by_one_that_woke_up(late: Worker, owner: Worker) -> None:
    late.folds("p1", 4)
    await late.mend()
    owner.recovers()
    owner.folds("p1", 9)
    late.is_ours = False
    late.folds("p2", 3)
    owner.folds("p2", 12)
    assert await late.mend() == ()
    assert owner.held() == {"p1": 9, "p2": 12}


async def test_a_row_folded_while_an_older_one_is_written_again_stands_last(late: Worker, owner: Worker, tmp_path: Path) -> None:
    owner.folds("p1", 9)
    late.folds("p1", 4)

    async def fold() -> None:
        owner.folds("p1", 11)

    owner.log.while_appending = fold
    assert await owner.mend() == ("0/p1",)
    assert successor(owner, tmp_path / "after") == {"p1": 11}
    assert await owner.mend() == ()


def test_a_tombstone_says_what_it_includes() -> None:
    assert [module.included(headers, 7) for headers in (None, [(INCLUDES, b"3")], {INCLUDES: b"3"}, [("other", b"3")])] == [7, 3, 3, 7]
