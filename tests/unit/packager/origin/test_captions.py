"""WebVTT over HTTP, made of the chunks in the store."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from packager.origin.finish import Finisher
from packager.origin.live import Live
from packager.store import DirectoryStore
from schemas.settings import StoreSettings
from schemas.units import Ticks
from streams.ingest.cmaf import build_chunk
from streams.ingest.samples import Sample
from streams.ingest.text import cut_samples, make_cue
from tests import facts
from tests.unit.packager.manifest.test_captions import captioned
from tests.unit.packager.origin.test_http import Site

PERIOD = captioned()
HEAD = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(StoreSettings(directory=tmp_path / "store", free_bytes_min=1))


def chunks(start_s: int, end_s: int, cues: Sequence[tuple[float, float, str]]) -> bytes:
    """Chunks of a second each."""
    made = [(round(start * 25_000), round(end * 25_000), make_cue(Fraction(start), Fraction(end), text)) for start, end, text in cues]
    held = b""
    for second in range(start_s, end_s):
        cut = list(cut_samples([(a, b, cue.box) for a, b, cue in made if cue], second * 25_000, (second + 1) * 25_000))
        held += build_chunk(
            [Sample(Ticks(0), data, sync=True) for _, data in cut], track_id=1, index=second, start_ticks=Ticks(second * 25_000),
            frame_ticks=Ticks(1), durations=[duration for duration, _ in cut],
        )  # fmt: skip
    return held


async def test_segments_and_parts_of_text_are_answered_as_web_vtt(store: DirectoryStore) -> None:
    site = Site(store)
    site.live.fold([PERIOD])
    data = chunks(4, 8, [(3, 5.5, "goes on"), (6, 6.25, "Grüße")])
    for name in ("c1/0/t0/100000.m4s", "c1/0/t0/100000.part.m4s"):
        store.create_if_absent(name, [data])
        answer = await site.http.get(f"/{name.removesuffix('m4s')}vtt")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/vtt; charset=utf-8")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.text == (f"{HEAD}\n00:00:04.000 --> 00:00:05.500\ngoes on\n\n00:00:06.000 --> 00:00:06.250\nGrüße\n")
        assert (await site.http.get(f"/{name}")).content == data


async def test_a_segment_without_text_is_a_header(store: DirectoryStore) -> None:
    site = Site(store)
    site.live.fold([PERIOD])
    store.create_if_absent("c1/0/t0/0.m4s", [chunks(0, 4, [])])
    assert (await site.http.get("/c1/0/t0/0.vtt")).text == HEAD


async def test_an_origin_that_knows_no_such_channel_makes_the_same_of_the_store(store: DirectoryStore) -> None:
    store.create_if_absent("c1/0/t0/init.mp4", [PERIOD.tracks[-1].init])
    store.create_if_absent("c1/0/t0/0.m4s", [chunks(0, 4, [(1, 2, "kept")])])
    assert "kept" in (await Site(store).http.get("/c1/0/t0/0.vtt")).text


async def test_there_is_no_text_of_pictures_and_of_what_is_not_there(store: DirectoryStore) -> None:
    site = Site(store)
    site.live.fold([PERIOD])
    store.create_if_absent("c1/0/v0/0.m4s", [b"picture"])
    store.create_if_absent("c1/0/t0/25000.m4s", [b"broken"])
    for path in ("/c1/0/v0/0.vtt", "/c1/0/t0/0.vtt", "/c1/0/t0/25000.vtt", "/c1/0/nobody/0.vtt"):
        assert await site.status(path) == 404


async def test_a_channel_that_ended_keeps_its_text_for_any_server(store: DirectoryStore) -> None:
    live = Live()
    end = facts.period_end(PERIOD, gops=8, next_msn=2, channel_ended=True)
    live.fold([PERIOD, facts.start(), *facts.run(PERIOD, [4, 4]), end])
    for start in (0, 4):
        store.create_if_absent(f"c1/0/t0/{start * 25_000}.m4s", [chunks(start, start + 4, [(3, 5, "across")])])
    for _ in range(2):
        finisher = Finisher(live, store)
        finisher.look()
        await finisher.close()
        assert store.get("c1/0/t0/0.vtt").decode() == f"{HEAD}\n00:00:03.000 --> 00:00:04.000\nacross\n"
        assert store.get("c1/0/t0/100000.vtt").decode() == f"{HEAD}\n00:00:04.000 --> 00:00:05.000\nacross\n"
        assert store.get("c1/0/manifest.mpd")
