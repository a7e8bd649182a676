"""What ends a worker that lives but does not get on."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from schemas.errors import Exit
from streams import watchdog
from streams.metrics import Metrics
from streams.watchdog import LoopGuard, StuckError, beat, watch, watch_reading


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "WATCH_S", 0.001)
    monkeypatch.setattr(watchdog, "ENDS_S", 0.001)


def test_a_loop_that_stands_still_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    ended, statuses = threading.Event(), []

    def end(status: int) -> None:
        statuses.append(status)
        ended.set()

    with LoopGuard(20, end=end):
        assert ended.wait(5)
    assert statuses == [Exit.STUCK]
    assert "Thread" in capfd.readouterr().err, "the stacks tell where it stands"


async def test_a_loop_that_turns_is_left_alone_while_nothing_else_has_begun() -> None:
    ended = threading.Event()
    with LoopGuard(200, end=lambda _: ended.set()) as guard:
        beating = asyncio.create_task(beat(guard, Metrics()))
        assert not await asyncio.to_thread(ended.wait, 0.5)
        beating.cancel()
        assert await asyncio.to_thread(ended.wait, 5)


async def watched(*, handled: dict[Any, int], committed: dict[Any, int], left: object) -> None:
    await watch(metrics=Metrics(), handled=handled, committed=lambda: committed, busy_recovering=lambda: left, stuck_after_ms=20)


async def test_a_worker_that_folds_and_does_not_commit_is_stuck() -> None:
    with pytest.raises(StuckError, match="no commit"):
        await asyncio.wait_for(watched(handled={"gops": 5}, committed={"gops": 4}, left=None), 5)


async def test_a_recovery_of_tables_with_as_much_left_as_before_is_stuck() -> None:
    with pytest.raises(StuckError, match="recovery of tables makes no progress"):
        await asyncio.wait_for(watched(handled={}, committed={}, left=(1, (("changelog", 7),))), 5)


async def reading(
    positions: Callable[[], dict[Any, int]], ends: Callable[[], Awaitable[dict[Any, int]]], asked: list[dict[Any, int]]
) -> None:
    async def go_back(begin: dict[Any, int]) -> None:
        asked.append(begin)

    await watch_reading(positions=positions, ends=ends, go_back=go_back, metrics=Metrics(), stuck_after_ms=20)


class EndOfTestError(Exception):
    pass


async def test_a_consumer_that_is_not_given_what_there_is_is_stuck() -> None:
    async def ends() -> dict[Any, int]:
        return {"gops": 9, "demand": 3}

    asked: list[dict[Any, int]] = []
    with pytest.raises(StuckError, match="nothing was read"):
        await asyncio.wait_for(reading(lambda: {"gops": 5, "demand": 3}, ends, asked), 5)
    assert asked[0] == {"gops": 5}, "it is asked for again before that"


async def test_the_last_record_that_was_passed_over_is_read_when_it_is_asked_for_again() -> None:
    asked: list[dict[Any, int]] = []
    looks = iter(range(20))

    async def ends() -> dict[Any, int]:
        if next(looks, None) is None:
            raise EndOfTestError
        return {"gops": 9, "demand": 3}

    with pytest.raises(EndOfTestError):
        await reading(lambda: {"gops": 9 if asked else 8, "demand": 3}, ends, asked)
    assert asked == [{"gops": 8}]


async def test_a_worker_that_gets_on_or_has_read_all_is_left_alone() -> None:
    looks = iter(range(1_000))

    async def ends() -> dict[Any, int]:
        if (look := next(looks)) == 100:
            raise EndOfTestError
        return {"gops": 2 * look, "demand": 3}

    read, asked = iter(range(1_000)), list[dict[Any, int]]()
    with pytest.raises(EndOfTestError):
        await reading(lambda: {"gops": next(read), "demand": 3}, ends, asked)
    assert not asked
