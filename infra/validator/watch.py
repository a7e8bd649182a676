"""The one part that acts: it watches an origin as careful players of all kinds would, and takes down every exchange."""

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urljoin, urlsplit
from zlib import crc32

import httpx

from infra.validator import playlist
from infra.validator.checks.dash import end_ms
from infra.validator.evidence import Evidence
from infra.validator.fetch import Fetcher, Lag, now_ms
from infra.validator.recording import Exchange

CONNECT_S = 5.0
# A blocking reload may take three target durations, and those are not known before the first answer.
ANSWER_S = 60.0
# The first answer: longer than an origin keeps anybody waiting for a channel that begins.
FIRST_S = 15.0
FETCHES_MAX = 4
PLAIN_S = 0.5
AFTER_FAILURE_S = 0.5
MULTIVARIANT_S = 5.0
MPD_S_MIN, MPD_S_MAX = 0.5, 2.0
# Every so many reloads one is a delta update, one goes without directives, and one object is asked for again.
DELTA_EVERY, FULL_EVERY, AGAIN_EVERY, CLOCK_EVERY = 3, 10, 8, 5
AGAIN_AFTER_S = 5.0
CHANNELS = "/api/channels"
# Requests that must be refused (media rule 16): (query, {msn} being the open segment).
REFUSED = ("_HLS_part=0", "_HLS_msn={beyond}", "_HLS_msn={beyond}&_HLS_part=0", "_HLS_msn={msn}&_HLS_part=1000")
BEYOND = 100
NO_OBJECT = "no-such-object.m4s"


class WatchError(Exception):
    """There is nothing to watch; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """
    What to watch.

    Attributes:
        url: Multivariant or media playlist, MPD, or the root of an origin.
        seconds: For how long.
        low_latency: Only low-latency presentations, only plain ones, or both.
    """

    url: str
    seconds: float
    low_latency: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """
    What was watched.

    Attributes:
        urls: The manifests.
        lag_ms: Longest time that we were kept from running: so much of a delay may be our own, and that of a busy machine.
    """

    urls: tuple[str, ...]
    lag_ms: float


async def watch(
    wanted: Wanted,
    evidence: Evidence,
    note: Callable[[Exchange], None] = lambda _: None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    trust: ssl.SSLContext | None = None,
) -> Watched:
    """
    Watch until the time is over, or until all that is watched has ended.

    Args:
        wanted: What.
        evidence: Learns from every exchange.
        note: Called with every exchange.
        transport: What carries requests; else the network.
        trust: Whose certificates are believed; else those that everybody believes.

    Raises:
        WatchError: There is nothing to watch.
    """
    if urlsplit(wanted.url).scheme not in {"http", "https"} or not urlsplit(wanted.url).hostname:
        raise WatchError(f"{wanted.url} is no http or https URL")
    async with httpx.AsyncClient(
        transport=transport,
        verify=trust or True,
        http2=urlsplit(wanted.url).scheme == "https",
        timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        headers={"user-agent": "finecut-validate", "accept-encoding": "gzip"},
    ) as client:
        fetcher = Fetcher(client, evidence, note)
        try:
            async with asyncio.timeout(FIRST_S):
                urls = await _manifests(fetcher, wanted)
        except TimeoutError as error:
            raise WatchError(f"{wanted.url} did not answer within {FIRST_S:g} s") from error
        scope, lag = asyncio.timeout(wanted.seconds), Lag()
        try:
            async with scope, asyncio.TaskGroup() as group:
                measuring = group.create_task(lag.measure())
                async with asyncio.TaskGroup() as watching:
                    watcher = Watcher(fetcher, watching, waits=wanted.low_latency is not False)
                    for url in urls:
                        watcher.follow(url)
                measuring.cancel()
        except TimeoutError:
            if not scope.expired():
                raise
    return Watched(urls=tuple(urls), lag_ms=lag.worst_ms)


async def _manifests(fetcher: Fetcher, wanted: Wanted) -> list[str]:
    """What there is to watch at a URL."""
    first = await fetcher.get(wanted.url)
    if not first.status:
        raise WatchError(f"{wanted.url} cannot be reached: {first.error}")
    if urlsplit(wanted.url).path in {"", "/"}:
        return await _channels(fetcher, wanted)
    if first.status != 200:
        said = first.body[:200].decode("utf-8", "replace").strip().partition("\n")[0]
        raise WatchError(f"{wanted.url} answers {first.status}{': ' + said if said else ''}")
    if not first.body.startswith(b"#EXTM3U") and b"<MPD" not in first.body[:2_000]:
        raise WatchError(f"{wanted.url} is neither a playlist nor an MPD, nor the root of an origin")
    return [first.place]


async def _channels(fetcher: Fetcher, wanted: Wanted) -> list[str]:
    listing = await fetcher.get(urljoin(wanted.url, CHANNELS))
    try:
        channels: list[dict[str, Any]] = json.loads(listing.body)["channels"]
    except (ValueError, KeyError, TypeError) as error:
        raise WatchError(f"{wanted.url} is no finecut origin: {CHANNELS} answers {listing.status}; name a playlist or an MPD") from error
    found = []
    for channel in channels:
        # What nobody watches stays as it is: looking at it would change what is packaged.
        if channel.get("state") == "off":
            continue
        for name, value in channel.items():
            is_manifest = isinstance(value, str) and value.endswith((".m3u8", ".mpd"))
            if is_manifest and wanted.low_latency in {None, name.startswith("ll")}:
                found.append(urljoin(wanted.url, value))
    if not found:
        raise WatchError(f"{wanted.url} has no channel to watch that is not off, of {len(channels)}; name a playlist to start one")
    return found


class Watcher:
    """What is followed, and what was asked for already."""

    def __init__(self, fetcher: Fetcher, group: asyncio.TaskGroup, *, waits: bool) -> None:
        """
        Args:
            fetcher: Asks.
            group: Holds every task.
            waits: Whether blocking reloads and hints are used where they are offered.
        """
        self._fetcher = fetcher
        self._evidence = fetcher.evidence
        self._group = group
        self._waits = waits
        self._slots = asyncio.Semaphore(FETCHES_MAX)
        self._asked: set[str] = set()
        self._ended: set[str] = set()

    def follow(self, url: str) -> None:
        """Watch a manifest that was read once."""
        if url in self._evidence.mpds:
            self._group.create_task(self._mpd(url))
        elif url in self._evidence.multivariants:
            self._group.create_task(self._multivariant(url))
        elif url in self._evidence.playlists:
            self._group.create_task(self._media(url))
        else:
            self._group.create_task(self._first(url))

    async def _first(self, url: str) -> None:
        if (await self._fetcher.get(url)).status != 200:
            await asyncio.sleep(AFTER_FAILURE_S)
        self.follow(url)  # here again, if it was not answered

    # ------------------------------------------------------------ HLS

    async def _multivariant(self, url: str) -> None:
        while True:
            playlists = self._evidence.multivariants[url][-1].content.playlists
            for one in playlists:
                if one not in self._asked:
                    self._asked.add(one)
                    self._group.create_task(self._media(one))
            for image in self._evidence.multivariants[url][-1].content.images:
                if image.url not in self._asked:
                    self._asked.add(image.url)
                    self._group.create_task(self._images(image.url))
            if self._ended.issuperset(playlists):
                return
            await asyncio.sleep(MULTIVARIANT_S)
            await self._fetcher.get(url)

    async def _media(self, url: str) -> None:
        before: playlist.Media | None = None
        for turn in count(1):
            exchange = await self._fetcher.get(self._next(url, before, turn))
            looks = self._evidence.playlists.get(url)
            if exchange.status != 200 or not looks:
                before = None
                await asyncio.sleep(AFTER_FAILURE_S)
                continue
            found = looks[-1].content
            self._objects(found, before)
            if before is None:
                self._group.create_task(self._refused(found))
            if found.is_ended:
                self._ended.add(url)
                return
            if not self._can_wait(found):
                await asyncio.sleep(PLAIN_S)
            before = found

    async def _images(self, url: str) -> None:
        while True:
            await self._fetcher.get(url)
            looks = self._evidence.image_playlists.get(url)
            for segment in looks[-1].content.segments if looks else ():
                if not segment.is_gap:
                    self._ask(segment.url)
            if not looks or looks[-1].content.is_ended:
                return
            await asyncio.sleep(MPD_S_MAX)

    def _can_wait(self, found: playlist.Media) -> bool:
        return self._waits and found.is_low_latency and found.control.get("CAN-BLOCK-RELOAD") == "YES"

    def _next(self, url: str, found: playlist.Media | None, turn: int) -> str:
        if found is None or not self._can_wait(found) or turn % FULL_EVERY == 0:
            return url
        msn, part = found.edge
        skip = "&_HLS_skip=YES" if turn % DELTA_EVERY == 0 and "CAN-SKIP-UNTIL" in found.control else ""
        return f"{url}?_HLS_msn={msn}&_HLS_part={part}{skip}"

    def _objects(self, found: playlist.Media, before: playlist.Media | None) -> None:
        """Ask once for everything that is listed, and whether what is listed no more is still there."""
        now = _names(found)
        for url in now:
            self._ask(url)
        if self._can_wait(found):
            for hint in found.hints:
                if hint.get("TYPE") == "PART" and hint["URI"] not in self._asked:
                    self._asked.add(hint["URI"])
                    self._group.create_task(self._hint(hint["URI"]))
        for url in _names(before) if before is not None else ():
            if url not in now:
                self._group.create_task(self._still(url))

    def _ask(self, url: str, *, at_ms: float = 0.0, is_open: bool = False) -> None:
        if url not in self._asked:
            self._asked.add(url)
            self._group.create_task(self._object(url, at_ms=at_ms, is_open=is_open))

    async def _object(self, url: str, *, at_ms: float, is_open: bool) -> None:
        await asyncio.sleep(max(0.0, (at_ms - now_ms()) / 1_000))
        if is_open:  # answered while it is made: it must keep nobody waiting
            await self._fetcher.get(url)
            return
        async with self._slots:
            await self._fetcher.get(url)
        if crc32(url.encode()) % AGAIN_EVERY == 0:
            await asyncio.sleep(AGAIN_AFTER_S)
            async with self._slots:
                await self._fetcher.get(url)

    async def _hint(self, url: str) -> None:
        if (await self._fetcher.get(url)).status != 200:
            self._asked.discard(url)  # if it is listed after all, it is asked for again

    async def _still(self, url: str) -> None:
        async with self._slots:
            await self._fetcher.get(url, method="HEAD")

    async def _refused(self, found: playlist.Media) -> None:
        await self._fetcher.get(urljoin(found.segments[0].url if found.segments else found.url, NO_OBJECT))
        if self._can_wait(found) and not found.is_ended:
            for query in REFUSED:
                await self._fetcher.get(f"{found.url}?{query.format(msn=found.edge[0], beyond=found.edge[0] + BEYOND)}")

    # ------------------------------------------------------------ DASH

    async def _mpd(self, url: str) -> None:
        for turn in count():
            found = self._evidence.mpds[url][-1].content
            for period in found.periods:
                for r in period.representations:
                    if r.init_url:
                        self._ask(r.init_url)
                    for entry in r.entries:
                        ends = end_ms(found, period, r, entry) or 0.0
                        self._ask(entry.url, at_ms=ends - 1_000 * (r.availability_offset_s or 0.0), is_open=ends > now_ms())
                for pictures in period.pictures:
                    for entry in pictures.entries:
                        self._ask(entry.url)
            for scheme, where in found.timings:
                if ":http-" in scheme and turn % CLOCK_EVERY == 0:
                    await self._fetcher.get(where)
            if found.is_ended:
                return
            wait_s = found.seconds("minimumUpdatePeriod") or MPD_S_MAX
            await asyncio.sleep(min(MPD_S_MAX, max(MPD_S_MIN, wait_s)))
            await self._fetcher.get(url)


def _names(found: playlist.Media) -> dict[str, None]:
    """Objects of a playlist, init segments first, in order."""
    maps = [s.map_url for s in found.segments] + [found.open_map_url]
    names = [url for url in maps if url is not None]
    for segment in found.segments:
        names += [part.url for part in segment.parts if not part.is_gap]
        names += [] if segment.is_gap else [segment.url]
    return dict.fromkeys([*names, *(part.url for part in found.open_parts if not part.is_gap)])
