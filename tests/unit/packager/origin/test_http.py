"""The origin over HTTP, without Kafka and without a network."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Scope

from packager.origin import app
from packager.origin.app import Origin
from packager.origin.demand import Audience
from packager.origin.latency import Latency
from packager.origin.live import Live
from packager.origin.objects import READ_S, Objects
from packager.origin.replies import PIECE_BYTES, WHOLE_BYTES_MAX
from packager.store import DirectoryStore
from schemas.records import Level, Reason
from schemas.settings import StoreSettings
from schemas.timeline import PART_SUFFIX, object_name
from schemas.units import Ms, UnixMs
from tests import facts


class Site:
    """An origin whose facts, clock and store a test holds in its hand."""

    def __init__(self, store: DirectoryStore, *, blocked_ms_max: int = 12_000, live: Live | None = None, read_s: float = READ_S) -> None:
        self.live = live or Live()
        self.store = store
        self.audience = Audience(session_timeout_ms=10_000, sessions_max=100)
        self.asked: list[tuple[str, bool]] = []
        self.ready = True
        self.now_ms = facts.ZERO + 16_000
        origin = Origin(
            live=self.live,
            objects=Objects(store, self.live, read_s=read_s),
            audience=self.audience,
            latency=Latency(random.Random(1)),
            ask=self.ask,
            is_ready=lambda: self.ready,
            now=lambda: UnixMs(self.now_ms),
            blocked_ms_max=Ms(blocked_ms_max),
        )
        self.app = origin.app()
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://origin")

    def ask(self, channel: str, *, low_latency: bool) -> None:
        self.asked.append((channel, low_latency))

    async def status(self, path: str) -> int:
        return (await self.http.get(path)).status_code

    async def waiting(self) -> None:
        """Returns once a request waits for something to be published."""
        while not self.live.waiting:  # noqa: ASYNC110 - one turn of the loop at a time, no real time passes
            await asyncio.sleep(0)


PERIOD = facts.period(time_shift_ms=60_000)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(StoreSettings(directory=tmp_path / "store", free_bytes_min=1))


@pytest.fixture
async def site(store: DirectoryStore) -> AsyncIterator[Site]:
    """Channel c1 with segments 0 to 4 and two parts of the fifth; channel c2 is off."""
    made = Site(store)
    made.live.fold([PERIOD, facts.period("c2"), facts.start(), *islice(facts.run(PERIOD, [4, 4, 2, 2, 2, 4]), 35)])
    async with made.http:
        yield made


def more(gop: int, msn: int, length: int, count: int) -> list[object]:
    """The first records of one more segment."""
    return list(islice(facts.run(PERIOD, [length], first_gop=gop, first_msn=msn), count))


async def test_every_playlist_of_a_channel_is_there(site: Site) -> None:
    hls = ("hls/multivariant.m3u8", "hls/v0.m3u8", "hls/a0.m3u8", "ll/multivariant.m3u8", "ll/v1.m3u8")
    for path in (*hls, "dash/manifest.mpd", "ll/manifest.mpd"):
        answer = await site.http.get(f"/c1/{path}")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "max-age" in answer.headers["cache-control"]


async def test_playlists_are_compressed_for_those_who_take_it(site: Site) -> None:
    zipped = await site.http.get("/c1/hls/v0.m3u8", headers={"accept-encoding": "gzip"})
    plain = await site.http.get("/c1/hls/v0.m3u8", headers={"accept-encoding": "identity"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert zipped.text == plain.text
    assert int(zipped.headers["content-length"]) == len(gzip.compress(plain.content, 5, mtime=0))


@pytest.mark.parametrize(
    "path",
    [
        "/c9/hls/v0.m3u8", "/c1/hls/v9.m3u8", "/c1/0/v0/7.m4s", "/c1/0/v9/init.mp4", "/c1/7/v0/init.mp4", "/c1/0/v0/00.m4s",
        "/c1/00/v0/0.m4s", "/c1/0/v0/..%2f..%2fx.m4s", "/c1/0/..%2Fv0/0.m4s", "/C1/hls/v0.m3u8", "/c1/0/v0/.tmp-1", "/c1/0/v0/",
        "/%2e%2e/etc/passwd", "/console/../app.py", "/console/%2e%2e/app.py", "/console/..%2f..%2fstore.py",
        "/c1/0/v0/99999999999999999999999.m4s", "/c1%00/hls/v0.m3u8",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_404_and_not_stored(site: Site, path: str) -> None:
    answer = await site.http.get(path)
    assert answer.status_code == 404
    if not path.startswith("/console"):
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("_HLS_part=1", 400), ("_HLS_msn=x", 400), ("_HLS_msn=-1", 400), ("_HLS_msn=9999999999999999999999", 400), ("_HLS_msn=7", 400),
        ("_HLS_msn=5&_HLS_part=8", 400), ("_HLS_msn=4", 200), ("_HLS_msn=5&_HLS_part=1", 200), ("_HLS_msn=4&_HLS_part=4", 200),
        ("_HLS_msn=0&_HLS_part=99", 200), ("_HLS_skip=YES", 200), ("", 200),
    ],
)  # fmt: skip
async def test_delivery_directives_are_checked_in_order(site: Site, query: str, status: int) -> None:
    assert await site.status(f"/c1/ll/v0.m3u8?{query}") == status


async def test_a_blocking_reload_is_answered_by_the_part_it_waits_for(site: Site) -> None:
    asked = asyncio.create_task(site.http.get("/c1/ll/v0.m3u8?_HLS_msn=5&_HLS_part=2"))
    await site.waiting()
    site.live.fold(more(14, 5, 4, 3)[2:])
    answer = await asked
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=24"
    assert f"../0/v0/{facts.part(PERIOD, PERIOD.tracks[0], 5, 14, 4, 2).start_ticks}.part.m4s" in answer.text


async def test_a_part_beyond_a_segment_that_ends_early_is_the_next_ones_first(site: Site) -> None:
    site.live.fold([r for r in more(14, 5, 4, 9) if r])
    asked = asyncio.create_task(site.http.get("/c1/ll/v0.m3u8?_HLS_msn=5&_HLS_part=8"))
    await site.waiting()
    site.live.fold(more(18, 6, 1, 1))
    assert (await asked).status_code == 200


async def test_the_part_after_all_of_the_longest_segment_is_waited_for_before_the_segment_is_listed(site: Site) -> None:
    site.live.fold(more(14, 5, 4, 8)[2:])
    asked = asyncio.create_task(site.http.get("/c1/ll/v0.m3u8?_HLS_msn=5&_HLS_part=8"))
    await site.waiting()
    assert await site.status("/c1/ll/v0.m3u8?_HLS_msn=5&_HLS_part=9") == 400
    site.live.fold(more(14, 5, 4, 9)[8:])
    site.live.fold(more(18, 6, 1, 1))
    assert (await asked).status_code == 200


async def test_a_reload_that_waits_too_long_is_503(store: DirectoryStore) -> None:
    site = Site(store, blocked_ms_max=1)
    site.live.fold([PERIOD, facts.start(), *facts.run(PERIOD, [2, 2])])
    answer = await site.http.get("/c1/ll/v0.m3u8?_HLS_msn=2&_HLS_part=0")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_directives_are_ignored_once_the_channel_has_ended(site: Site) -> None:
    ended = facts.period_end(PERIOD, gops=18, next_msn=6, channel_ended=True)
    site.live.fold([*more(14, 5, 4, 9), ended, facts.stop(from_msn=6, reason=Reason.CHANNEL_ENDED)])
    answer = await site.http.get("/c1/ll/v0.m3u8?_HLS_msn=900&_HLS_part=0")
    assert answer.status_code == 200
    assert "#EXT-X-ENDLIST" in answer.text


async def test_an_open_segment_is_sent_to_its_end_and_its_reader_is_told_of_as_one(site: Site) -> None:
    records = more(14, 5, 4, 9)
    parts = [part for record in records[:8] for part in getattr(record, "parts", ()) if part.track == "v0"]
    for part in parts[:3]:
        site.store.create_if_absent(object_name("c1", 0, "v0", part.start_ticks, PART_SUFFIX), [b"%d;" % part.index])
    site.live.fold(records[2:3])
    opened = f"/{object_name('c1', 0, 'v0', parts[0].segment_start_ticks)}"
    head = await site.http.head(opened)
    assert (head.status_code, head.content) == (200, b"")
    assert "content-length" not in head.headers
    asked = asyncio.create_task(site.http.get(opened))
    await site.waiting()
    for part in parts[3:]:
        site.store.create_if_absent(object_name("c1", 0, "v0", part.start_ticks, PART_SUFFIX), [b"%d;" % part.index])
    site.live.fold(records[3:])
    answer = await asked
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"0;1;2;3;4;5;6;7;", "video/mp4")
    told = site.audience.close(site.now_ms)["c1"]
    assert (told.chunked_sessions, told.whole_sessions, told.sent_bytes) == (1, 0, 16)


async def test_a_hinted_part_is_waited_for_and_delivered_whole(site: Site) -> None:
    part = facts.part(PERIOD, PERIOD.tracks[0], 5, 14, 4, 2)
    name = object_name("c1", 0, "v0", part.start_ticks, PART_SUFFIX)
    asked = asyncio.create_task(site.http.get(f"/{name}"))
    await site.waiting()
    site.store.create_if_absent(name, [b"moof", b"mdat"])
    site.live.fold(more(14, 5, 4, 3)[2:])
    answer = await asked
    assert (answer.status_code, answer.content) == (200, b"moofmdat")


async def test_a_hint_that_comes_to_nothing_is_404(site: Site) -> None:
    part = facts.part(PERIOD, PERIOD.tracks[0], 5, 14, 4, 2)
    asked = asyncio.create_task(site.http.get(f"/{object_name('c1', 0, 'v0', part.start_ticks, PART_SUFFIX)}"))
    await site.waiting()
    site.live.fold([facts.stop()])
    assert (await asked).status_code == 404


async def test_objects_are_delivered_whole_or_in_ranges(site: Site) -> None:
    site.store.create_if_absent("c1/0/v0/0.m4s", [b"0123456789"])
    whole = await site.http.get("/c1/0/v0/0.m4s")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, b"0123456789", "video/mp4")
    assert "immutable" in whole.headers["cache-control"]
    piece = await site.http.get("/c1/0/v0/0.m4s", headers={"range": "bytes=2-4"})
    assert (piece.status_code, piece.content, piece.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    beyond = await site.http.get("/c1/0/v0/0.m4s", headers={"range": "bytes=10-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */10")
    head = await site.http.head("/c1/0/v0/0.m4s")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")


async def test_what_is_kept_of_a_channel_that_ended_is_served_from_the_store(site: Site) -> None:
    site.store.create_if_absent("old/7/multivariant.m3u8", [b"#EXTM3U"])
    site.store.create_if_absent("old/7/v0/init.mp4", [b"init"])
    kept = await site.http.get("/old/7/multivariant.m3u8")
    assert (kept.status_code, kept.content, kept.headers["content-type"]) == (200, b"#EXTM3U", "application/vnd.apple.mpegurl")
    assert (await site.http.get("/old/7/v0/init.mp4")).content == b"init"
    assert await site.status("/old/7/manifest.mpd") == await site.status("/old/7/.tmp-x.m3u8") == 404


async def test_too_many_requests_that_wait_are_told_to_come_back(store: DirectoryStore) -> None:
    site = Site(store, live=Live(waiting_max=1))
    site.live.fold([PERIOD, facts.start(), *facts.run(PERIOD, [2, 2])])
    waits = asyncio.create_task(site.http.get("/c1/ll/v0.m3u8?_HLS_msn=2&_HLS_part=0"))
    await site.waiting()
    refused = await site.http.get("/c1/ll/v1.m3u8?_HLS_msn=2&_HLS_part=0")
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["cache-control"]) == (503, "1", "no-store")
    site.live.close()
    assert (await waits).status_code == 503


async def test_init_segments_come_from_the_period(site: Site) -> None:
    assert (await site.http.get("/c1/0/v0/init.mp4")).content == b"init-v0"


async def test_a_channel_that_is_off_is_asked_for_and_answered_when_it_is_there(site: Site) -> None:
    period = facts.period("c2")
    asked = asyncio.create_task(site.http.get("/c2/hls/multivariant.m3u8"))
    await site.waiting()
    assert site.asked == [("c2", False)]
    site.live.fold([facts.start("c2", decision=3), *facts.run(period, [4, 4, 4])])
    assert (await asked).status_code == 200


async def test_a_channel_being_started_is_shown_once_it_has_caught_up(site: Site) -> None:
    site.now_ms = facts.ZERO + 40_000
    asked = asyncio.create_task(site.http.get("/c2/ll/v0.m3u8"))
    await site.waiting()
    site.live.fold([facts.start("c2", decision=3), *(records := list(facts.run(facts.period("c2"), [4] * 10)))[:9]])
    await asyncio.sleep(0)
    assert not asked.done()
    site.live.fold(records[9:])
    assert 'TYPE=PART,URI="../0/v0/512000.part.m4s"' in (await asked).text


async def test_a_channel_that_is_not_started_in_time_is_503(store: DirectoryStore) -> None:
    site = Site(store, blocked_ms_max=1)
    site.live.fold([PERIOD])
    assert (await site.http.get("/c1/hls/v0.m3u8")).headers["retry-after"] == "1"


async def test_whoever_wants_low_latency_of_a_channel_without_parts_asks_for_parts(site: Site) -> None:
    whole = facts.period("c3")
    site.live.fold([whole, facts.start("c3", level=Level.SEGMENTS), *facts.run(whole, [4, 4, 4])])
    assert await site.status("/c3/hls/v0.m3u8") == await site.status("/c3/dash/manifest.mpd") == 200
    assert site.asked == []
    asked = [asyncio.create_task(site.http.get(f"/c3/ll/{name}")) for name in ("multivariant.m3u8", "v0.m3u8", "manifest.mpd")]
    while site.live.waiting < 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert site.asked == [("c3", True)] * 3
    raised = facts.start("c3", 3, decision=4)
    site.live.fold([raised, *facts.run(whole, [4], first_gop=12, first_msn=3)])
    assert [(await answer).status_code for answer in asked] == [200] * 3


async def test_a_channel_whose_gops_vary_has_no_low_latency_manifests(site: Site) -> None:
    site.live.fold([replace(facts.period("c4"), part_target_ms=Ms(0))])
    assert await site.status("/c4/ll/manifest.mpd") == await site.status("/c4/ll/multivariant.m3u8") == 404


async def test_until_the_topics_are_read_manifests_are_503(site: Site) -> None:
    site.ready = False
    assert await site.status("/c1/hls/v0.m3u8") == 503


async def test_players_events_reach_the_session_they_belong_to(site: Site) -> None:
    await site.http.get("/c1/hls/v0.m3u8?CMCD=sid%3D%22s%22%2Csta%3Dp%2Cv%3D2")
    body = 'e=ps,sta=k,sid="s",ts=1,v=2\n'
    answer = await site.http.post("/cmcd", content=body, headers={"content-type": "application/cmcd"})
    assert answer.status_code == 204
    told = site.audience.close(site.now_ms)["c1"]
    assert (told.whole_sessions, told.seeks, told.requests) == (1, 1, 1)


async def test_a_report_too_large_is_refused(site: Site) -> None:
    assert (await site.http.post("/cmcd", content=b"x" * 300_000)).status_code == 413


async def endless(site: Site) -> int:
    """Status of the answer to a report that begins and never ends."""
    sent, pieces = list[Message](), iter([b"sid"])

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        for piece in pieces:
            return {"type": "http.request", "body": piece, "more_body": True}
        await asyncio.Event().wait()
        return {}

    await site.app({**asked("/cmcd"), "method": "POST"}, receive, send)
    return int(sent[0]["status"])


async def test_a_report_that_never_ends_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "REPORT_S", 0.01)
    async with asyncio.timeout(5):
        assert await endless(site) == 408


async def test_no_more_reports_are_on_their_way_than_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "REPORT_S", 0.2)
    monkeypatch.setattr(app, "REPORTS_MAX", 3)
    coming = [asyncio.create_task(endless(site)) for _ in range(3)]
    await asyncio.sleep(0)
    refused = await site.http.post("/cmcd", content="e=ps")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    async with asyncio.timeout(5):
        assert await asyncio.gather(*coming) == [408] * 3
    assert (await site.http.post("/cmcd", content="e=ps")).status_code == 204


async def test_a_browser_may_ask_from_another_site(site: Site) -> None:
    answer = await site.http.options("/c1/hls/v0.m3u8", headers={"origin": "http://x", "access-control-request-method": "GET"})
    assert answer.status_code == 204
    assert "CMCD-Object" in answer.headers["access-control-allow-headers"]


async def test_state_clock_measures_and_page_are_there(site: Site) -> None:
    channels = (await site.http.get("/api/channels")).json()["channels"]
    assert [(c["channel"], c["state"], c["segment_s"]) for c in channels] == [("c1", "live", 2.0), ("c2", "off", None)]
    assert (await site.http.get("/time")).text == "2023-11-14T22:13:36.000Z"
    assert b"finecut_origin_requests" in (await site.http.get("/metrics")).content
    assert (await site.http.get("/api/latency")).json()["count"] == 0
    assert "finecut" in (await site.http.get("/")).text


async def test_answers_are_what_they_say_and_the_page_runs_nothing_from_elsewhere(site: Site) -> None:
    for path in ("/c1/hls/v0.m3u8", "/c1/0/v0/init.mp4", "/c1/0/v0/7.m4s", "/time", "/api/channels", "/"):
        assert (await site.http.get(path)).headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in (await site.http.get("/")).headers["content-security-policy"]


async def test_other_methods_are_refused(site: Site) -> None:
    assert (await site.http.delete("/c1/0/v0/0.m4s")).status_code == 405
    assert (await site.http.put("/c1/0/v0/0.m4s", content=b"x")).status_code == 405


def asked(path: str) -> Scope:
    """A request as a server hands it over."""
    path, _, query = path.partition("?")
    return {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": [],
        "http_version": "1.1", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 80),
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip


async def test_of_a_large_object_no_more_is_handed_over_than_a_piece_until_that_is_taken(site: Site, store: DirectoryStore) -> None:
    data, count_all = random.Random(1).randbytes(WHOLE_BYTES_MAX + 7), -(-(WHOLE_BYTES_MAX + 7) // PIECE_BYTES)
    store.create_if_absent("c1/0/v0/0.m4s", [data])
    sent, taken = list[Message](), asyncio.Semaphore(0)

    async def stays() -> Message:
        await asyncio.Event().wait()
        return {}

    async def send(message: Message) -> None:
        sent.append(message)
        await taken.acquire()

    answer = asyncio.ensure_future(site.app(asked("/c1/0/v0/0.m4s"), stays, send))
    for count in range(1, count_all + 2):
        while len(sent) < count:  # noqa: ASYNC110 - one turn of the loop at a time, no real time passes
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(sent) == count, "the next piece waits until this one was taken"
        taken.release()
    await answer
    assert [len(message["body"]) for message in sent[1:]] == [PIECE_BYTES] * (count_all - 1) + [7]
    assert b"".join(message["body"] for message in sent[1:]) == data
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(data)
    assert (await site.http.get("/c1/0/v0/0.m4s", headers={"range": "bytes=5-99999"})).content == data[5:100_000]


@pytest.mark.parametrize("path", ["/c1/ll/v0.m3u8?_HLS_msn=6", "/c2/hls/multivariant.m3u8"])
async def test_a_request_whose_client_has_left_waits_no_longer(site: Site, path: str) -> None:
    left, sent = asyncio.Event(), list[Message]()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    answer = asyncio.ensure_future(site.app(asked(path), receive, send))
    await site.waiting()
    left.set()
    async with asyncio.timeout(5):
        await answer
    assert site.live.waiting == 0
    assert sent[0]["status"] == 499


async def test_a_store_that_cannot_be_read_is_an_answer_to_come_again_and_recovers(
    site: Site, store: DirectoryStore, tmp_path: Path
) -> None:
    store.create_if_absent("c1/0/v0/0.m4s", [b"bytes"])
    (tmp_path / "store").rename(tmp_path / "away")
    for path in ("/c1/0/v0/0.m4s", "/c1/0/manifest.mpd"):
        answer = await site.http.get(path)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["cache-control"]) == (503, "1", "no-store")
    assert await site.status("/c1/hls/v0.m3u8") == 200, "playlists come from the topics"
    (tmp_path / "away").rename(tmp_path / "store")
    assert (await site.http.get("/c1/0/v0/0.m4s")).content == b"bytes"


@pytest.mark.parametrize("path", ["/", "/console/index.html", "/metrics", "/api/channels", "/time", "/c1/hls/v0.m3u8", "/nothing"])
async def test_no_answer_is_to_be_guessed_at(site: Site, path: str) -> None:
    headers = (await site.http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert ("content-security-policy" in headers) == (path in {"/", "/console/index.html"})


async def test_an_origin_that_is_behind_refuses_nothing_that_another_may_have_shown(site: Site) -> None:
    assert await site.status("/c1/ll/v0.m3u8?_HLS_msn=9") == 400
    site.now_ms += 20_000
    answer = await site.http.get("/c1/ll/v0.m3u8?_HLS_msn=9")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
