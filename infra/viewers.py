"""An audience in one process: plain HLS players that check what they are given and report CMCD v2."""

import asyncio
import itertools
import json
import random
import signal
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
import structlog
from yarl import URL

from infra.playclock import PlayClock
from infra.playlists import BadPlaylistError, Playlist, Segment, Variant, contradictions, parse_media, parse_multivariant
from infra.processes import FAULTS_SEEN
from infra.ramp import present, recorded

log = structlog.get_logger()

# Of ten viewers so many watch the lowest, the middle and the highest rendition: most of a crowd is on phones.
RENDITIONS = (0, 0, 0, 0, 0, 0, 0, 1, 1, 2)
PROBLEMS_MAX = 50
RETRY_S = 0.5
TIMEOUT_S = 20.0
STEP_S = 0.25
OK = 200


@dataclass(slots=True)
class Seen:
    """What an audience saw, all viewers together."""

    sessions: int = 0
    present: int = 0
    present_max: int = 0
    stalls: int = 0
    stalled_s: float = 0.0
    startup_s: list[float] = field(default_factory=list)
    requests: int = 0
    segments: int = 0
    received_bytes: int = 0
    gaps: int = 0
    discontinuities: int = 0
    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    def blame(self, problem: str) -> None:
        """Note something that must not happen."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


class Viewer:
    """
    One player of whole segments.

    Args:
        number: Decides its rendition.
        url: Multivariant playlist.
        http: Shared by all viewers.
        seen: Where it notes what it saw.
    """

    def __init__(self, number: int, url: str, http: aiohttp.ClientSession, seen: Seen) -> None:
        self.session_id = str(uuid.UUID(int=random.getrandbits(128), version=4))  # names a session, guards nothing
        self._number = number
        # One machine plays many devices: origins tell clients without a session id apart by address and agent.
        self._agent = {"User-Agent": f"finecut-audience viewer/{number}"}
        self._url = url
        self._http = http
        self._seen = seen
        self._clock = PlayClock()
        self._channel = urlsplit(url).path.strip("/").split("/")[0]
        self._sequence = itertools.count()
        self._known: dict[str, Playlist] = {}
        self._variant: Variant | None = None
        self._stalls_told = 0
        self._starving: asyncio.TimerHandle | None = None
        self._reports: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Play until cancelled, or until the channel ends."""
        began_s = time.monotonic()
        try:
            self._variant = await self._join()
            await self._report("ps", sta="s")
            next_msn: int | None = None
            ended = False
            while not ended:
                loaded_s = time.monotonic()
                wanted, ended, target_s = await self._reload(self._variant, next_msn)
                for pair in wanted:
                    await self._buy(pair, began_s)
                    next_msn = pair[0].msn + 1
                # As hls.js: after news wait one segment, else half a target duration.
                pause_s = min(wanted[-1][0].duration_s, target_s) if wanted else target_s / 2
                await asyncio.sleep(max(0.1, pause_s - (time.monotonic() - loaded_s)))
        finally:
            if self._starving:
                self._starving.cancel()
            stalls, stalled_s = self._clock.stalls, self._clock.stalled_s
            self._clock.leave(now_s=time.monotonic())
            self._count_stalls(stalls, stalled_s)

    async def leave(self) -> None:
        """Report that the session is over."""
        await self._report("ps", sta="q")

    async def _join(self) -> Variant:
        while True:
            text = await self._get(self._url, "m")
            if text is not None:
                variants = parse_multivariant(text.decode(), self._url)
                return variants[min(RENDITIONS[self._number % len(RENDITIONS)], len(variants) - 1)]
            await asyncio.sleep(RETRY_S)

    async def _reload(self, variant: Variant, next_msn: int | None) -> tuple[list[tuple[Segment, ...]], bool, float]:
        """Segments to fetch now, one tuple of all tracks per media sequence number; whether the channel ended; target duration."""
        urls = [variant.url, *([variant.audio_url] if variant.audio_url else [])]
        lists = await asyncio.gather(*(self._playlist(url) for url in urls))
        if any(found is None or not found.segments for found in lists):
            return [], False, 2 * RETRY_S
        playlists = [found for found in lists if found is not None]
        video = playlists[0]
        by_msn = [{segment.msn: segment for segment in playlist.segments} for playlist in playlists]
        common = sorted(set.intersection(*(set(listed) for listed in by_msn)))
        first = _start(video) if next_msn is None else next_msn
        if next_msn is not None and common and common[0] > next_msn:
            self._seen.blame(f"segment {next_msn} left the playlist before it could be fetched")
        wanted = [tuple(listed[msn] for listed in by_msn) for msn in common if msn >= first]
        return wanted, video.ended, video.target_s

    async def _playlist(self, url: str) -> Playlist | None:
        text = await self._get(url, "m")
        if text is None:
            return None
        try:
            playlist = parse_media(text.decode(), url)
        except BadPlaylistError as error:
            self._seen.blame(str(error))
            return None
        before = self._known.get(url)
        if before is not None:
            for problem in contradictions(before, playlist):
                self._seen.blame(f"{url}: {problem}")
            if before.segments and playlist.segments:
                self._seen.discontinuities += max(0, playlist.segments[-1].discontinuity - before.segments[-1].discontinuity)
        self._known[url] = playlist
        return playlist

    async def _buy(self, pair: tuple[Segment, ...], began_s: float) -> None:
        kinds = ("v", "a")
        bodies = await asyncio.gather(*(self._segment(segment, kind) for segment, kind in zip(pair, kinds, strict=False)))
        self._seen.segments += len(bodies)
        now_s = time.monotonic()
        was_starved = self._clock.is_starved(now_s=now_s)
        stalls, stalled_s = self._clock.stalls, self._clock.stalled_s
        begins = self._clock.append(pair[0].duration_s, now_s=now_s)
        self._count_stalls(stalls, stalled_s)
        if begins:
            self._seen.startup_s.append(round(now_s - began_s, 3))
        if begins or was_starved:
            self._tell("ps", sta="p")
        if self._clock.is_started:
            if self._starving:
                self._starving.cancel()
            self._starving = asyncio.get_running_loop().call_later(self._clock.buffer_s(now_s=now_s), self._starve)

    def _count_stalls(self, before: int, before_s: float) -> None:
        self._seen.stalls += self._clock.stalls - before
        self._seen.stalled_s += self._clock.stalled_s - before_s

    def _starve(self) -> None:
        log.info("viewer_stalled", session_id=self.session_id, channel=self._channel)
        self._tell("ps", sta="r")

    async def _segment(self, segment: Segment, kind: str) -> None:
        if segment.url is None:
            self._seen.gaps += 1
            return
        if await self._get(segment.url, kind, segment.duration_s) is None:
            self._seen.blame(f"{segment.url} is listed and cannot be fetched")

    async def _get(self, url: str, kind: str, duration_s: float = 0.0) -> bytes | None:
        """Body of an answer, None if it is not one with a body."""
        self._seen.requests += 1
        query = quote(self._cmcd(kind, duration_s), safe="")
        try:
            async with self._http.get(URL(f"{url}{'&' if '?' in url else '?'}CMCD={query}", encoded=True), headers=self._agent) as answer:
                self._seen.statuses[str(answer.status)] += 1
                if answer.status != OK:
                    return None
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._seen.statuses[type(error).__name__] += 1
            return None
        self._seen.received_bytes += len(body)
        return body or None

    def _cmcd(self, kind: str, duration_s: float) -> str:
        now_s = time.monotonic()
        buffer_ms = round(self._clock.buffer_s(now_s=now_s) * 10) * 100
        session = {"cid": f'"{self._channel}"', "sf": "h", "sid": f'"{self.session_id}"', "st": "l", "v": 2}
        keys = {**session, "ot": kind, "sn": next(self._sequence)}
        if kind in "va":
            keys |= {"d": round(duration_s * 1_000), "bl": f"({buffer_ms})"}
            if kind == "v" and self._variant:
                keys["br"] = f"({self._variant.bandwidth_bps // 1_000})"
        if not self._clock.is_started:
            keys["su"] = ""
        if self._clock.stalls > self._stalls_told:
            self._stalls_told = self._clock.stalls
            keys["bs"] = ""
        return ",".join(name if value == "" else f"{name}={value}" for name, value in sorted(keys.items()))

    def _tell(self, event: str, *, sta: str) -> None:
        report = asyncio.get_running_loop().create_task(self._report(event, sta=sta))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _report(self, event: str, *, sta: str) -> None:
        at_ms = time.time_ns() // 1_000_000
        line = f'cid="{self._channel}",e={event},sf=h,sid="{self.session_id}",sn={next(self._sequence)},st=l,sta={sta},ts={at_ms},v=2\n'
        try:
            headers = {**self._agent, "Content-Type": "application/cmcd"}
            async with self._http.post(urljoin(self._url, "/cmcd"), data=line, headers=headers) as answer:
                self._seen.statuses[f"cmcd {answer.status}"] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self._seen.statuses[f"cmcd {type(error).__name__}"] += 1


def _start(playlist: Playlist) -> int:
    """Where a viewer begins: the last segment that lies a whole hold back before the end, else the first."""
    behind_s = 0.0
    for segment in reversed(playlist.segments):
        behind_s += segment.duration_s
        if behind_s >= playlist.hold_back_s:
            return segment.msn
    return playlist.segments[0].msn


async def _attend(url: str, *, viewers: int, seconds: float, result: Path | None) -> Seen:
    seen, stop = Seen(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    series, began_s, numbers = recorded(), time.monotonic(), itertools.count()
    inside: dict[asyncio.Task[None], Viewer] = {}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        while not stop.is_set() and (share := (time.monotonic() - began_s) / seconds) < 1:
            for task in [task for task in inside if task.done()]:
                del inside[task]
                task.result()
            wanted = present(series, share, peak=viewers)
            while len(inside) < wanted:
                viewer = Viewer(next(numbers), url, http, seen)
                inside[loop.create_task(viewer.watch())] = viewer
                seen.sessions += 1
            await _dismiss({task: inside.pop(task) for task in list(inside)[: len(inside) - wanted]})
            seen.present, seen.present_max = len(inside), max(seen.present_max, len(inside))
            _write(seen, result)
            try:
                await asyncio.wait_for(stop.wait(), STEP_S)
            except TimeoutError:
                continue
        await _dismiss(inside)
    seen.present = 0
    _write(seen, result)
    return seen


async def _dismiss(leaving: dict[asyncio.Task[None], Viewer]) -> None:
    for task in leaving:
        task.cancel()
    for outcome in await asyncio.gather(*leaving, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    await asyncio.gather(*(viewer.leave() for viewer in leaving.values()))


def _plain(seen: Seen) -> dict[str, Any]:
    return {**{f.name: getattr(seen, f.name) for f in fields(seen)}, "statuses": dict(seen.statuses), "stalled_s": round(seen.stalled_s, 3)}


def _write(seen: Seen, result: Path | None) -> None:
    if result is not None:
        part = result.with_suffix(".part")
        part.write_text(json.dumps(_plain(seen)))
        part.replace(result)


def run(url: str, *, viewers: int, seconds: float, result: Path | None) -> int:
    """Exit status of an audience: 0 when nothing they were given was wrong, else `FAULTS_SEEN`."""
    import uvloop

    seen = uvloop.run(_attend(url, viewers=viewers, seconds=seconds, result=result))
    log.info("audience_left", **{name: value for name, value in _plain(seen).items() if name not in {"startup_s", "present"}})
    return FAULTS_SEEN if seen.problem_count else 0
