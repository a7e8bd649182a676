"""The one part that acts: it watches an origin as careful players of all kinds would, and tells every exchange."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from zlib import crc32

import httpx

from infra.validator import mpd, playlist
from infra.validator.checks.dash import end_ms
from infra.validator.evidence import Evidence
from infra.validator.recording import Exchange

CONNECT_S = 5.0
# A blocking reload may take three target durations, and those are not known before the first answer.
ANSWER_S = 60.0
FETCHES_MAX = 8
PLAIN_S = 0.5
AFTER_FAILURE_S = 0.5
MULTIVARIANT_S = 5.0
MPD_S_MIN, MPD_S_MAX = 0.5, 2.0
# Every so many reloads one is a delta update, one is without directives, one object is asked for again.
DELTA_EVERY, FULL_EVERY, AGAIN_EVERY = 3, 10, 8
AGAIN_AFTER_S = 5.0
BYTES_MAX = 64 * 2**20
CHANNELS = "api/channels"


class WatchError(Exception):
    """The origin, or what was asked for, cannot be watched; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """
    What to watch.

    Attributes:
        url: Multivariant playlist, media playlist, MPD, or the root of an origin.
        seconds: For how long.
        low_latency: Only low-latency presentations, only plain ones, or both.
    """

    url: str
    seconds: float
    low_latency: bool | None = None


async def watch(wanted: Wanted, tell: Callable[[Exchange], None]) -> list[str]:
    """
    Watch until the time is over.

    Args:
        wanted: What.
        tell: Called with every exchange, as soon as it is over.

    Returns:
        The manifests that were watched.

    Raises:
        WatchError: There is nothing to watch.
    """
    async with asyncio.timeout(None) as scope:
        watcher = Watcher(wanted, tell)
        try:
            urls = await watcher.begin()
            scope.reschedule(asyncio.get_running_loop().time() + wanted.seconds)
            await watcher.follow(urls)
        except TimeoutError:
            raise
        finally:
            await watcher.close()
    return urls


class Watcher:
    """One watch: what is known to exist, what was asked for, and the tasks that ask."""

    def __init__(self, wanted: Wanted, tell: Callable[[Exchange], None]) -> None:
        """
        Args:
            wanted: What to watch.
            tell: Called with every exchange.
        """
        self._wanted = wanted
        self._tell = tell
        self._evidence = Evidence()
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(
            http2=urlsplit(wanted.url).scheme == "https",
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            limits=limits,
            follow_redirects=True,
            headers={"user-agent": "finecut-validate", "accept-encoding": "gzip"},
        )
        self._slots = asyncio.Semaphore(FETCHES_MAX)
        self._asked: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()

    async def close(self) -> None:
        """End every request."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
