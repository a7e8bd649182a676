"""Bytes of segments, parts and init segments: recent ones from memory, the others from the store."""

import asyncio
import time
import weakref
from collections import OrderedDict
from functools import partial
from typing import NamedTuple

from packager.hands import Call, Hands
from packager.manifest.presentation import View
from packager.origin import metrics
from packager.origin.live import RETRY_AFTER_MS, WAITING_MAX, Live
from packager.store import Store
from schemas.errors import RetryableError
from schemas.timeline import INIT_NAME, PART_SUFFIX

CACHE_BYTES_MAX = 64 * 2**20  # the newest parts and segments of some hundred tracks
# Reads of the store under way at once: more than a few objects that hang, and what a store behind a network needs to be kept busy.
READS_MAX = 32
READ_S = 10.0  # a store that has not answered by then does not answer: who asks may ask another origin
LAST_READ_S = 1.0  # the same while the origin ends: shorter than the server waits for what is under way


class _Read(NamedTuple):
    """A read under way, for all who ask for the object, and until when they wait for it."""

    call: Call[bytes]
    done: asyncio.Future[bytes]
    until_s: float


class Objects:
    """
    Read-through cache in front of the store. An object never changes, so what is held is right for ever.

    A read that hangs keeps its thread, which none of the server's other work needs; who asks for that object meanwhile is refused.
    """

    def __init__(
        self,
        store: Store,
        live: Live,
        *,
        cache_bytes_max: int = CACHE_BYTES_MAX,
        waiting_max: int = WAITING_MAX,
        reads_max: int = READS_MAX,
        read_s: float = READ_S,
    ) -> None:
        """
        Args:
            store: Where they are.
            live: The presentations, for init segments and for parts that are about to come.
            cache_bytes_max: Memory for objects.
            waiting_max: Requests that may wait for the store at once.
            reads_max: Reads of the store at once.
            read_s: How long the store is waited for.
        """
        self._store = store
        self._live = live
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._held_bytes = 0
        self._cache_bytes_max = cache_bytes_max
        self._reading: dict[str, _Read] = {}
        self.waiting = 0
        self._waiting_max = waiting_max
        self._read_s = read_s
        self._hands = Hands[bytes](reads_max, name="read", patience_s=read_s)
        weakref.finalize(self, self._hands.close, 0.0).atexit = False

    async def get(self, channel: str, period: int, track: str, file: str, *, timeout_ms: int) -> bytes | None:
        """
        Bytes of an object. A part that a preload hint names is waited for (media rule 14); it is answered whole.

        Returns:
            None if there is no such object, or the hint came to nothing.
        """
        name = f"{channel}/{period}/{track}/{file}"
        if file == INIT_NAME:
            return self._init(channel, period, track) or await self.read(name)
        data = await self.read(name)
        if data is not None or not file.endswith(PART_SUFFIX):
            return data

        def hint_is_gone(view: View | None) -> bool | None:
            return None if view is not None and name in view.hints.values() else True

        if await self._live.until(channel, hint_is_gone, timeout_ms) is None:
            return None
        return await self.read(name)

    def _init(self, channel: str, period: int, track: str) -> bytes | None:
        held = self._live.presentations.get(channel)
        tracks = held.periods[period].tracks if held and period in held.periods else ()
        return next((t.init for t in tracks if t.track == track), None)

    def close(self) -> None:
        """The origin ends: who waits for the store is answered while there is somebody to answer."""
        self._read_s = min(self._read_s, LAST_READ_S)
        for reading in self._reading.values():
            reading.done.get_loop().call_later(self._read_s, reading.done.cancel)

    async def read(self, name: str) -> bytes | None:
        """
        Bytes of an object by its name in the store; None if there is none.

        Raises:
            RetryableError: The store does not answer, or cannot be read now, or too many wait for it.
        """
        held = self._held.get(name)
        if held is not None:
            self._held.move_to_end(name)
            return held
        if self.waiting >= self._waiting_max:
            raise RetryableError(f"{self.waiting} requests wait for the store already", retry_after_ms=RETRY_AFTER_MS)
        # However many ask for the same object at once, the store is read once.
        reading = self._reading.get(name) or self._begin(name)
        left_s = reading.until_s - time.monotonic()
        self.waiting += 1
        try:
            if left_s > 0:
                await asyncio.wait({reading.done}, timeout=left_s)
        finally:
            self.waiting -= 1
        if not reading.done.done():
            reading.call.future.cancel()  # if it has not begun: nobody asks for it any longer
        if not reading.done.done() or reading.done.cancelled():
            raise _unanswered(name)
        try:
            return reading.done.result()
        except KeyError:
            return None

    def _begin(self, name: str) -> _Read:
        now_s = time.monotonic()
        if self._hands.are_stuck(None, now_s):
            raise _unanswered(name)
        call = self._hands.call(partial(self._store.get, name))
        reading = self._reading[name] = _Read(call, asyncio.wrap_future(call.future), now_s + self._read_s)
        reading.done.add_done_callback(partial(self._keep, name))
        return reading

    def _keep(self, name: str, done: asyncio.Future[bytes]) -> None:
        del self._reading[name]
        if done.cancelled() or done.exception() is not None:
            return
        data = done.result()
        if len(data) <= self._cache_bytes_max:
            self._held[name] = data
            self._held_bytes += len(data)
            while self._held_bytes > self._cache_bytes_max:
                _, dropped = self._held.popitem(last=False)
                self._held_bytes -= len(dropped)


def _unanswered(name: str) -> RetryableError:
    metrics.STORE_UNANSWERED.inc()
    return RetryableError(f"the store does not answer for {name}", retry_after_ms=RETRY_AFTER_MS)
