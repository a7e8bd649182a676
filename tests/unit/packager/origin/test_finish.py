"""Finished manifests come into the store once, whoever writes them."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from packager.origin import finish
from packager.origin.ending import leave
from packager.origin.finish import Finisher
from packager.origin.live import Live
from packager.store import DirectoryStore, Publication
from schemas.errors import RetryableError
from schemas.records import Reason
from schemas.settings import StoreSettings
from tests import facts

PERIOD = facts.period()
MANIFESTS = {"c1/0/a0.m3u8", "c1/0/manifest.mpd", "c1/0/multivariant.m3u8", "c1/0/v0.m3u8", "c1/0/v1.m3u8"}


class FullStore(DirectoryStore):
    """A store that takes nothing while it is full."""

    is_full = True

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> Publication:
        if self.is_full:
            raise RetryableError("full", retry_after_ms=1)
        return super().create_if_absent(name, pieces)


@pytest.fixture
def store(tmp_path: Path) -> FullStore:
    made = FullStore(StoreSettings(directory=tmp_path / "store", free_bytes_min=1))
    made.is_full = False
    return made


def ended() -> list[object]:
    return [facts.period_end(PERIOD, gops=12, next_msn=3, channel_ended=True), facts.stop(from_msn=3, reason=Reason.CHANNEL_ENDED)]


def live(records: Sequence[object]) -> Live:
    made = Live()
    made.fold([PERIOD, facts.start(), *facts.run(PERIOD, [4, 4, 4]), *records])
    return made


async def look(finisher: Finisher) -> None:
    finisher.look()
    await finisher.close()


async def test_a_channel_that_goes_on_is_not_finished(store: FullStore) -> None:
    await look(Finisher(live([]), store))
    assert list(store.list()) == []


async def test_any_origin_finishes_a_channel_and_equal_bytes_change_nothing(store: FullStore) -> None:
    for _ in range(2):
        await look(Finisher(live(ended()), store))
        assert {name for name in store.list() if not name.endswith("init.mp4")} == MANIFESTS


async def test_what_the_store_refuses_is_tried_again(store: FullStore) -> None:
    store.is_full = True
    finisher = Finisher(live(ended()), store)
    await look(finisher)
    assert list(store.list()) == []
    store.is_full = False
    await look(finisher)
    assert set(store.list()) >= MANIFESTS


async def test_a_store_that_hangs_is_told_and_nobody_waits_for_it_at_the_end(store: FullStore, monkeypatch: pytest.MonkeyPatch) -> None:
    comes_back, told = threading.Event(), asyncio.Event()
    monkeypatch.setattr(finish, "PATIENCE_S", 0.01)
    monkeypatch.setattr(finish, "_unanswered", lambda channel: told.set())
    monkeypatch.setattr(store, "create_if_absent", lambda name, pieces: comes_back.wait(20))
    finisher = Finisher(live(ended()), store)
    finisher.look()
    async with asyncio.timeout(10):
        await told.wait()
        await leave(within_s=0.01, finisher=finisher.close())
    comes_back.set()


async def test_other_bytes_stay_and_are_not_tried_again(store: FullStore) -> None:
    store.create_if_absent("c1/0/v0.m3u8", [b"other"])
    finisher = Finisher(live(ended()), store)
    await look(finisher)
    await look(finisher)
    assert store.get("c1/0/v0.m3u8") == b"other"


async def test_a_channel_that_comes_back_before_its_last_report_is_finished_as_it_ended(store: FullStore) -> None:
    again = facts.period(number=1, start_ms=20_000, first_msn=3)
    *heard, last = facts.run(PERIOD, [4, 4, 4])
    came_back = Live()
    came_back.fold([PERIOD, facts.start(), *heard, ended()[0], again, last, *facts.run(again, [4, 4])])
    await look(Finisher(came_back, store))
    kept = {name: store.get(name) for name in store.list()}
    assert set(kept) >= MANIFESTS
    # As any origin writes it that knew the end before it knew of the return.
    for name in kept:
        store.delete(name)
    await look(Finisher(live(ended()), store))
    assert {name: store.get(name) for name in store.list()} == kept
