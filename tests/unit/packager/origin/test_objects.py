"""Reads of a store that may hang: who asks is refused in time, and nobody else waits."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.origin.live import Live
from packager.origin.objects import Objects
from packager.store import DirectoryStore
from schemas.errors import RetryableError
from schemas.settings import StoreSettings
from tests.unit.packager.origin.test_http import Site

WAIT_S = 20.0


class HungStore(DirectoryStore):
    """A store whose objects of channel ``hung`` are read by nobody before it comes back."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self.reached = threading.Semaphore(0)
        self.comes_back = threading.Event()

    def get(self, name: str) -> bytes:
        if name.startswith("hung/"):
            self.reached.release()
            assert self.comes_back.wait(WAIT_S)
        return super().get(name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HungStore]:
    made = HungStore(StoreSettings(directory=tmp_path / "store", free_bytes_min=1))
    for channel in ("hung", "well"):
        for number in range(9):
            made.create_if_absent(f"{channel}/0/v0/{number}.m4s", [b"%d" % number])
    yield made
    made.comes_back.set()


def objects(store: HungStore, *, waiting_max: int = 100, read_s: float = 0.05) -> Objects:
    return Objects(store, Live(), waiting_max=waiting_max, reads_max=3, read_s=read_s)


def hung(number: int) -> str:
    return f"hung/0/v0/{number}.m4s"


async def begun(store: HungStore, reads: Objects, number: int) -> "asyncio.Task[bytes | None]":
    asked = asyncio.create_task(reads.read(hung(number)))
    assert await asyncio.to_thread(store.reached.acquire, timeout=WAIT_S)
    return asked


async def until_read(reads: Objects) -> None:
    async with asyncio.timeout(WAIT_S):
        while reads._reading:  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.001)


async def test_a_read_that_hangs_is_given_up_and_the_others_are_answered_meanwhile(store: HungStore) -> None:
    reads = objects(store)
    asked = [await begun(store, reads, number) for number in range(2)]
    assert [await reads.read(f"well/0/v0/{number}.m4s") for number in range(9)] == [b"%d" % number for number in range(9)]
    for each in asked:
        with pytest.raises(RetryableError, match="does not answer for hung/0/v0"):
            await each
    assert reads.waiting == 0


async def test_an_object_that_hangs_takes_one_thread_however_often_it_is_asked_for(store: HungStore) -> None:
    reads = objects(store)
    with pytest.raises(RetryableError):
        await reads.read(hung(0))
    for _ in range(9):
        with pytest.raises(RetryableError):
            await reads.read(hung(0))
    assert await reads.read("well/0/v0/1.m4s") == b"1"
    store.comes_back.set()
    await until_read(reads)
    assert await reads.read(hung(0)) == b"0"


async def test_when_all_reads_hang_nobody_waits_behind_them_and_a_store_that_comes_back_is_read(store: HungStore) -> None:
    reads = objects(store)
    asked = [await begun(store, reads, number) for number in range(3)]
    refusals = await asyncio.gather(*asked, reads.read("well/0/v0/4.m4s"), return_exceptions=True)
    assert [type(refusal) for refusal in refusals] == [RetryableError] * 4
    with pytest.raises(RetryableError):
        await reads.read("well/0/v0/5.m4s")
    assert "well/0/v0/5.m4s" not in reads._reading, "it was not even asked for"
    store.comes_back.set()
    await until_read(reads)
    assert await reads.read("well/0/v0/5.m4s") == b"5"


async def test_no_more_wait_for_the_store_than_may(store: HungStore) -> None:
    reads = objects(store, waiting_max=2, read_s=WAIT_S)
    asked = [await begun(store, reads, number) for number in range(2)]
    assert reads.waiting == 2
    with pytest.raises(RetryableError, match="2 requests wait"):
        await reads.read(hung(2))
    store.comes_back.set()
    assert await asyncio.gather(*asked) == [b"0", b"1"]
    assert await reads.read(hung(2)) == b"2"


async def test_when_the_origin_ends_nobody_waits_for_a_store_that_hangs(store: HungStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.origin.objects.LAST_READ_S", 0.05)
    reads = objects(store, read_s=WAIT_S)
    asked = await begun(store, reads, 0)
    reads.close()
    async with asyncio.timeout(WAIT_S / 2):
        assert await reads.read("well/0/v0/1.m4s") == b"1", "what is under way is brought to its end"
        for refused in (asked, reads.read(hung(1))):
            with pytest.raises(RetryableError):
                await refused


async def test_whoever_asks_a_store_that_hangs_is_told_to_come_back(store: HungStore) -> None:
    site = Site(store, read_s=0.05)
    asked = [asyncio.create_task(site.http.get(f"/hung/0/v0/{number}.m4s")) for number in range(8)]
    assert (await site.http.get("/well/0/v0/8.m4s")).content == b"8"
    for each in asked:
        answer = await each
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["cache-control"]) == (503, "1", "no-store")
