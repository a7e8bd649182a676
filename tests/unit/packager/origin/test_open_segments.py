"""The open segment is sent while it grows, and is what the store has in the end."""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import pytest

from packager.manifest.view import View
from packager.origin.live import Live
from packager.origin.objects import Objects
from packager.origin.open_segments import Gone, OpenSegments, Wanted, growth
from packager.store import DirectoryStore
from schemas.errors import RetryableError
from schemas.records import Part, Parts
from schemas.settings import StoreSettings
from schemas.timeline import PART_SUFFIX, object_name
from tests import facts

PERIOD = facts.period(time_shift_ms=60_000)
V0 = PERIOD.tracks[0]
OPEN = Wanted("c1", 0, "v0", 51_200)


class Site:
    """One listed segment of 4 s; the next, of 2 s, grows part by part."""

    def __init__(self, store: DirectoryStore) -> None:
        self.live = Live()
        self.store = store
        self.segments = OpenSegments(self.live, Objects(store, self.live), timeout_ms=60_000)
        self.live.fold([PERIOD, facts.start(), *facts.run(PERIOD, [4])])
        self._told = list(facts.run(PERIOD, [2], first_gop=4, first_msn=1))

    def grow(self, parts: int = 1) -> None:
        """Publishes so many instants more, or the report after the last."""
        for record in self._told[:parts]:
            if isinstance(record, Parts):
                for part in record.parts:
                    self.store.create_if_absent(name(part), [content(part)])
            else:
                self.store.create_if_absent(OPEN.name, [content(part) for part in self.all_parts])
            self.live.fold([record])
        del self._told[:parts]

    @property
    def all_parts(self) -> list[Part]:
        return [facts.part(PERIOD, V0, 1, 4, 2, index) for index in range(4)]

    def view(self) -> View | None:
        return self.live.view("c1")


def name(part: Part) -> str:
    return object_name("c1", part.period, part.track, part.start_ticks, PART_SUFFIX)


def content(part: Part) -> bytes:
    return f"{part.track}/{part.start_ticks};".encode()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(DirectoryStore(StoreSettings(directory=tmp_path, free_bytes_min=1)))


async def read(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


async def test_parts_are_sent_as_they_come_and_are_the_finished_segment(site: Site) -> None:
    site.grow()
    assert await site.segments.begun(OPEN)
    stream = site.segments.read(OPEN)
    pieces = [await anext(stream)]
    for _ in range(3):
        following = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert not following.done()
        site.grow()
        pieces.append(await following)
    assert pieces == [content(part) for part in site.all_parts]
    # The last part is known by the stamped length: nobody waits for the report.
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    site.grow()
    assert b"".join(pieces) == site.store.get(OPEN.name)


async def test_the_next_segment_is_waited_for(site: Site) -> None:
    begun = asyncio.ensure_future(site.segments.begun(OPEN))
    while not site.live.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0)
    site.grow()
    assert await begun


@pytest.mark.parametrize("wanted", [Wanted("c1", 0, "v0", 51_201), Wanted("c1", 0, "v9", 51_200), Wanted("c1", 1, "v0", 51_200)])
async def test_what_is_neither_listed_nor_next_is_not_there(site: Site, wanted: Wanted) -> None:
    assert not await site.segments.begun(wanted)
    site.grow()
    assert not await site.segments.begun(wanted)


async def test_once_the_next_has_begun_the_one_after_it_is_not_waited_for(site: Site) -> None:
    site.grow()
    assert not await site.segments.begun(Wanted("c1", 0, "v0", 76_800))


async def test_a_stream_that_comes_after_the_report_gets_it_all(site: Site) -> None:
    site.grow(5)
    assert await read(site.segments.read(OPEN)) == site.store.get(OPEN.name)


async def test_what_is_left_after_parts_were_forgotten_comes_from_the_segment(site: Site) -> None:
    site.grow()
    stream = site.segments.read(OPEN)
    sent = await anext(stream)
    reports = [facts.report(PERIOD, track, 1, 4, 2) for track in PERIOD.tracks]
    far = [facts.report(PERIOD, track, 3, 30, 4) for track in PERIOD.tracks]  # so that its parts are not waited for any longer
    site.store.create_if_absent(OPEN.name, [sent, b"the rest"])
    site.live.fold([facts.tell(PERIOD, [*reports, *far])])
    assert await read(stream) == b"the rest"


async def test_a_segment_that_ends_early_with_its_period_ends_the_stream(site: Site) -> None:
    site.grow(2)
    stream = site.segments.read(OPEN)
    sent = [await anext(stream), await anext(stream)]
    second = facts.period(number=1, start_ms=5_000, first_msn=2)
    site.live.fold([facts.tell(PERIOD, [facts.report(PERIOD, track, 1, 4, 1) for track in PERIOD.tracks]), second])
    assert sent == [content(part) for part in site.all_parts[:2]]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_segment_declared_lost_breaks_the_stream_off(site: Site) -> None:
    site.grow()
    stream = site.segments.read(OPEN)
    await anext(stream)
    site.live.fold([facts.void(PERIOD, track, 1, 4, 2) for track in PERIOD.tracks])
    with pytest.raises(RetryableError):
        await anext(stream)


async def test_a_segment_that_does_not_go_on_breaks_the_stream_off(site: Site) -> None:
    site.grow()
    hasty = OpenSegments(site.live, Objects(site.store, site.live), timeout_ms=1)
    stream = hasty.read(OPEN)
    await anext(stream)
    with pytest.raises(RetryableError):
        await anext(stream)


def test_nothing_is_open_of_a_channel_that_is_off(site: Site) -> None:
    site.live.fold([facts.stop()])
    with pytest.raises(Gone):
        growth(site.view(), OPEN)


async def test_of_the_open_segment_no_more_is_sent_than_all_tracks_have(site: Site) -> None:
    ahead = list(islice((facts.part(PERIOD, V0, 1, 4, 2, index) for index in range(4)), 4))
    site.live.fold([facts.announce(PERIOD, ahead)])
    found = growth(site.view(), OPEN)
    assert found is None
