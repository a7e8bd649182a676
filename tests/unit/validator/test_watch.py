"""What the validator asks for, and what it says when there is nothing to ask for."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from infra.validator.checks import check
from infra.validator.evidence import Evidence
from infra.validator.recording import Exchange, load
from infra.validator.watch import Wanted, WatchError, watch

GOOD = Path(__file__).with_name("good.xz")
ROOT = "http://origin"
Answer = Callable[[httpx.Request], httpx.Response]


def watched(url: str, answer: Answer, *, seconds: float = 20) -> Evidence:
    evidence = Evidence()
    asyncio.run(watch(Wanted(url=url, seconds=seconds), evidence, transport=httpx.MockTransport(answer)))
    return evidence


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody listens", request=request)


def listing(*channels: dict[str, str]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=json.dumps({"channels": channels}))

    return answer


@pytest.mark.parametrize(
    ("url", "answer", "said"),
    [
        ("chess.m3u8", unreachable, "is no http or https URL"),
        (f"{ROOT}/a.m3u8", unreachable, "cannot be reached: nobody listens"),
        (f"{ROOT}/a.m3u8", lambda _: httpx.Response(404, text="no channel a\n"), "answers 404: no channel a"),
        (f"{ROOT}/a.html", lambda _: httpx.Response(200, text="<html>"), "is neither a playlist nor an MPD"),
        (f"{ROOT}/", lambda _: httpx.Response(200, text="<html>"), "is no finecut origin"),
        (f"{ROOT}/", listing({"state": "off", "hls": "/a/hls/multivariant.m3u8"}), "has no channel to watch that is not off, of 1"),
    ],
)
def test_there_is_nothing_to_watch(url: str, answer: Answer, said: str) -> None:
    with pytest.raises(WatchError, match=said):
        watched(url, answer)


@pytest.fixture(scope="module")
def over() -> dict[str, Exchange]:
    """The good channel after its end, by path: its plain playlists as they were last, and what they list."""
    ended = {}
    for exchange in load(GOOD):
        if exchange.status == 200 and exchange.method == "GET":
            ended[httpx.URL(exchange.place).path] = exchange
    return ended


def served(over: dict[str, Exchange]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        known = over.get(request.url.path)
        if known is None:
            return httpx.Response(404, headers={"cache-control": "no-store"})
        body = known.body + b"#EXT-X-ENDLIST\n" if "/hls/" in request.url.path and b"#EXTINF" in known.body else known.body
        headers = {name: value for name, value in known.headers.items() if name in {"content-type", "cache-control", "content-encoding"}}
        return httpx.Response(200, headers=headers, stream=Compressed(body, headers.get("content-encoding")))

    return answer


class Compressed(httpx.AsyncByteStream):
    """A body as it was sent."""

    def __init__(self, body: bytes, encoding: str | None) -> None:
        self._body = gzip.compress(body) if encoding == "gzip" else body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def test_what_has_ended_is_read_once_and_whole_and_nothing_is_found_in_it(over: dict[str, Exchange]) -> None:
    evidence = watched(f"{ROOT}/show/hls/multivariant.m3u8", served(over))
    assert check(evidence) == []
    assert {len(looks) for looks in evidence.playlists.values()} == {1}
    listed = {segment.url for looks in evidence.playlists.values() for segment in looks[0].content.segments}
    assert len(listed) > 50
    assert evidence.media.keys() == listed


def test_a_channel_that_goes_on_is_watched_until_the_time_is_over(over: dict[str, Exchange]) -> None:
    live = {path: exchange for path, exchange in over.items() if not path.startswith("/show/ll/")}
    evidence = watched(f"{ROOT}/show/dash/manifest.mpd", served(live), seconds=1.5)
    assert 2 <= len(evidence.mpds[f"{ROOT}/show/dash/manifest.mpd"]) <= 4


@pytest.mark.parametrize("answered", ["/show/hls/multivariant.m3u8", "nothing"])
def test_who_is_never_answered_ends_in_time(over: dict[str, Exchange], monkeypatch: pytest.MonkeyPatch, answered: str) -> None:
    monkeypatch.setattr("infra.validator.watch.FIRST_S", 0.3)

    async def hang(request: httpx.Request) -> httpx.Response:
        if request.url.path != answered:
            await asyncio.Event().wait()
        return served(over)(request)

    wanted = Wanted(url=f"{ROOT}/show/hls/multivariant.m3u8", seconds=0.3)
    watching = watch(wanted, Evidence(), transport=httpx.MockTransport(hang))
    if answered == "nothing":
        with pytest.raises(WatchError, match=r"did not answer within 0\.3 s"):
            asyncio.run(asyncio.wait_for(watching, 10))
    else:
        asyncio.run(asyncio.wait_for(watching, 10))
