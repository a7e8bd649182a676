"""
Who watches while things go wrong, in a thread of its own: viewers of whole segments and of parts, who try the next origin when one
does not answer, and pollers who read every playlist of every origin and keep what it said.
"""

import asyncio
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import urljoin

import aiohttp

from tests.chaos.playhead import Playhead
from tests.invariants import Listed, read_playlist

POLL_S = 1.0
# Of two origins; of more each is asked as much less often.
POLLED_ORIGINS = 2
# Somebody asks one origin after the other, as behind a load balancer without a memory.
IN_TURN_S, IN_TURN = 0.25, "in turn"
# The audience looks at its own clock so often; what comes later than this by more than `LATE_S` shows that it did not run.
TICK_S, LATE_S = 0.1, 0.4
# A viewer asks again after this.
RELOAD_S = 0.4
ANSWER_S = 3.0
# A blocking request of a low-latency player is answered within a part; after this it tries elsewhere.
BLOCKED_S = 2.5
# Those who were asking somebody have had their answer by then, on a busy machine.
LEAVES_S = 20.0
OK = 200
TARGET_S = 4.0
PART_S = 0.52
# RFC 8216bis 4.4.3.8: three target durations, three parts.
PLAIN = (TARGET_S, 3 * TARGET_S, 1.5 * TARGET_S)
LOW_LATENCY = (2 * PART_S, 3 * PART_S, 4 * PART_S)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A playlist as somebody saw it, as `tests.promises` asks for it; kept small."""

    origin_id: str
    channel: str
    track: str
    low_latency: bool
    at_unix_ms: int
    packed: bytes
    run: int = 0
    missing: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What it said."""
        return zlib.decompress(self.packed).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stall:
    """A viewer stood still, in wall time."""

    channel: str
    viewer: str
    begin_unix_ms: int
    end_unix_ms: int


@dataclass(slots=True)
class Heard:
    """What everybody saw."""

    looks: list[Look] = field(default_factory=list)
    in_turn: list[Look] = field(default_factory=list)
    """What somebody saw who asked another origin each time."""
    stalls: list[Stall] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    played_s: dict[str, float] = field(default_factory=dict)
    fetched_bytes: int = 0
    asleep: list[tuple[int, int]] = field(default_factory=list)
    """When the audience itself did not run, in wall time: the machine was busy."""


class Audience:
    """
    Viewers and pollers, from `start` to `stop`.

    Args:
        origins: Address of each origin by its name.
        channels: Of each channel: how many viewers of whole segments, how many of parts.
        polled: Playlists that are polled at every origin.
    """

    def __init__(self, origins: dict[str, str], channels: dict[str, tuple[int, int]], polled: Sequence[str]) -> None:
        self.heard = Heard()
        self._origins = origins
        self._channels = channels
        self._polled = polled
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """
        Everybody leaves.

        Raises:
            AssertionError: Somebody did not, or had left before by an error; told once.
        """
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(LEAVES_S)
            assert not self._thread.is_alive(), f"the audience did not leave within {LEAVES_S:.0f} s"
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise AssertionError(f"the audience left: {failure!r}") from failure

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._attend())
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that asks
            self.failure = error
        finally:
            self._loop.close()

    async def _attend(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
            tasks = [asyncio.create_task(self._poll(http, name, path)) for name in self._origins for path in self._polled]
            tasks.append(asyncio.create_task(self._tick()))
            tasks += [asyncio.create_task(self._ask_in_turn(http, path)) for path in self._polled if path.endswith("/v0.m3u8")]
            addresses = list(self._origins.values())
            for channel, (plain, low_latency) in self._channels.items():
                for number in range(plain + low_latency):
                    kind = "hls" if number < plain else "ll"
                    turned = addresses[number % len(addresses) :] + addresses[: number % len(addresses)]
                    viewer = Viewer(f"{channel}-{kind}-{number}", channel, turned, http, self.heard, is_low_latency=kind == "ll")
                    tasks.append(asyncio.create_task(viewer.watch()))
            stopped = asyncio.create_task(self._stop.wait())
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
            assert stopped in done, "a viewer left by itself"

    async def _tick(self) -> None:
        while True:
            begun_ms, begun_s = now_ms(), time.monotonic()
            await asyncio.sleep(TICK_S)
            if time.monotonic() - begun_s > TICK_S + LATE_S:
                self.heard.asleep.append((begun_ms, now_ms()))

    async def _poll(self, http: aiohttp.ClientSession, name: str, path: str) -> None:
        channel, kind, file = path.strip("/").split("/")
        newest = ""
        while True:
            begun_s = time.monotonic()
            status, body = await fetch(http, urljoin(self._origins[name], path), timeout_s=ANSWER_S)
            self.heard.answers[f"poll {status}"] += 1
            text = body.decode() if status == OK else newest
            if text != newest:
                newest = text
                look = Look(
                    origin_id=name, channel=channel, track=file.removesuffix(".m3u8"), low_latency=kind == "ll", at_unix_ms=now_ms(),
                    packed=zlib.compress(body, 6),
                )  # fmt: skip
                self.heard.looks.append(look)
            every_s = POLL_S * max(1.0, len(self._origins) / POLLED_ORIGINS)
            await asyncio.sleep(max(0.05, every_s - (time.monotonic() - begun_s)))

    async def _ask_in_turn(self, http: aiohttp.ClientSession, path: str) -> None:
        channel, kind, file = path.strip("/").split("/")
        for number, address in enumerate(cycle(self._origins.values())):
            begun_s, at_unix_ms = time.monotonic(), now_ms()
            status, body = await fetch(http, urljoin(address, path), timeout_s=IN_TURN_S, agent=IN_TURN)
            self.heard.answers[f"{IN_TURN} {status}"] += 1
            if status == OK:
                self.heard.in_turn.append(
                    Look(
                        origin_id=IN_TURN, channel=channel, track=file.removesuffix(".m3u8"), low_latency=kind == "ll",
                        at_unix_ms=at_unix_ms, packed=zlib.compress(body, 6), run=number,
                    )
                )  # fmt: skip
            await asyncio.sleep(max(0.05, IN_TURN_S - (time.monotonic() - begun_s)))


Unit = tuple[tuple[int, int], float, str]
"""Something to be bought: its place (media sequence number, part; -1: the whole), seconds, address as listed; empty: a gap."""


class Viewer:
    """One player of the video of a channel."""

    def __init__(
        self, name: str, channel: str, origins: list[str], http: aiohttp.ClientSession, heard: Heard, *, is_low_latency: bool
    ) -> None:
        self._name = name
        self._channel = channel
        self._origins = origins
        self._http = http
        self._heard = heard
        self._is_low_latency = is_low_latency
        self._head = Playhead(*(LOW_LATENCY if is_low_latency else PLAIN))
        self._at: tuple[int, int] | None = None
        self._query = ""

    async def watch(self) -> None:
        """Play until cancelled."""
        try:
            while True:
                listed = await self._reload()
                units = self._wanted(listed) if listed else []
                for place, seconds, address in units:
                    if await self._buy(address):
                        self._head.append(seconds, now_s=time.time())
                    self._at = place
                if not units or not self._is_low_latency:
                    await asyncio.sleep(RELOAD_S)
        finally:
            self._head.leave(now_s=time.time())
            self._heard.played_s[self._name] = round(self._head.played_s, 1)
            self._heard.stalls += [
                Stall(channel=self._channel, viewer=self._name, begin_unix_ms=round(begin * 1_000), end_unix_ms=round(end * 1_000))
                for begin, end in self._head.stalls
            ]

    async def _reload(self) -> Listed | None:
        path = f"/{self._channel}/{'ll' if self._is_low_latency else 'hls'}/v0.m3u8"
        status, body = await self._ask(f"{path}?CMCD={self._report()}{self._query}", BLOCKED_S if self._query else ANSWER_S)
        if status != OK:
            self._query = ""
            return None
        listed = read_playlist(body.decode())
        if self._is_low_latency and listed.segments:
            # What comes next: the answer waits until it is there.
            self._query = f"&_HLS_msn={listed.first + len(listed.segments)}&_HLS_part={len(listed.parts[-1])}"
        return listed

    def _wanted(self, listed: Listed) -> list[Unit]:
        """What is listed and was not bought; at first what lies a hold back before the end."""
        units = list(self._units(listed))
        if self._at is not None:
            # Of a segment that was begun in parts and is now listed whole, the rest is gone.
            at = self._at
            return [unit for unit in units if unit[0] > at and (unit[0][1] >= 0 or unit[0][0] > at[0])]
        behind_s, first = 0.0, len(units)
        while first and behind_s < self._head.hold_back_s:
            first -= 1
            behind_s += units[first][1]
        return units[first:]

    def _units(self, listed: Listed) -> list[Unit]:
        found: list[Unit] = []
        for number, parts in enumerate(listed.parts):
            msn = listed.first + number
            if parts and self._is_low_latency:
                for index, line in enumerate(parts):
                    words = dict(word.split("=", 1) for word in line.partition(":")[2].split(",") if "=" in word)
                    found.append(((msn, index), float(words["DURATION"]), "" if "GAP" in words else words["URI"].strip('"')))
            elif number < len(listed.segments):
                tags = listed.segments[number]
                seconds = next(float(tag.partition(":")[2].partition(",")[0]) for tag in tags if tag.startswith("#EXTINF"))
                found.append(((msn, -1), seconds, "" if "#EXT-X-GAP" in tags else tags[-1]))
        return found

    async def _buy(self, address: str) -> bool:
        """Whether a piece of media came; what is listed must be there, at whichever origin answers."""
        if not address:
            self._heard.answers["gap"] += 1
            return False
        path = urljoin(f"/{self._channel}/{'ll' if self._is_low_latency else 'hls'}/", address)
        status, body = await self._ask(path, ANSWER_S)
        if status == 404:
            self._heard.missing.append(f"{path} listed for {self._name}")
        self._heard.fetched_bytes += len(body)
        return status == OK

    async def _ask(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        """The answer of the first origin that gives one."""
        status, body = 0, b""
        for _ in self._origins:
            status, body = await fetch(self._http, urljoin(self._origins[0], path), timeout_s=timeout_s, agent=self._name)
            self._heard.answers[str(status)] += 1
            if 0 < status < 500:
                break
            self._origins.append(self._origins.pop(0))
        return status, body

    def _report(self) -> str:
        buffer_ms = round(self._head.buffer_s(now_s=time.time()) * 10) * 100
        return f"bl%3D{buffer_ms}%2Cot%3Dm%2Csf%3Dh%2Csid%3D%22{self._name}%22%2Cst%3Dl"


async def fetch(http: aiohttp.ClientSession, url: str, *, timeout_s: float, agent: str = "poller") -> tuple[int, bytes]:
    """Status and body of an answer; status 0 if there was none."""
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with http.get(url, timeout=timeout, headers={"User-Agent": f"chaos {agent}"}, allow_redirects=False) as answer:
            return answer.status, await answer.read()
    return 0, b""


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000
