"""Bytes of segments, parts and init segments: recent ones from memory, the others from the store."""

import asyncio
from collections import OrderedDict

from packager.manifest.presentation import View
from packager.origin.live import Live
from packager.store import Store
from schemas.timeline import INIT_NAME, PART_SUFFIX

CACHE_BYTES_MAX = 64 * 2**20  # the newest parts and segments of some hundred tracks
READS_MAX = 64  # reads of the store under way at once


class Objects:
    """Read-through cache in front of the store. An object never changes, so what is held is right for ever."""

    def __init__(self, store: Store, live: Live, *, cache_bytes_max: int = CACHE_BYTES_MAX) -> None:
        """
        Args:
            store: Where they are.
            live: The presentations, for init segments and for parts that are about to come.
            cache_bytes_max: Memory for objects.
        """
        self._store = store
        self._live = live
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._held_bytes = 0
        self._cache_bytes_max = cache_bytes_max
        self._reading: dict[str, asyncio.Task[bytes | None]] = {}
        self._slots = asyncio.Semaphore(READS_MAX)

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

    async def read(self, name: str) -> bytes | None:
        """Bytes of an object by its name in the store; None if there is none."""
        held = self._held.get(name)
        if held is not None:
            self._held.move_to_end(name)
            return held
        task = self._reading.get(name)
        if task is None:
            # However many ask for the same object at once, the store is read once.
            task = self._reading[name] = asyncio.create_task(self._fetch(name))
            task.add_done_callback(lambda _: self._reading.pop(name, None))
        return await asyncio.shield(task)

    async def _fetch(self, name: str) -> bytes | None:
        async with self._slots:
            try:
                data = await asyncio.to_thread(self._store.get, name)
            except KeyError:
                return None
        if len(data) <= self._cache_bytes_max:
            self._held[name] = data
            self._held_bytes += len(data)
            while self._held_bytes > self._cache_bytes_max:
                _, dropped = self._held.popitem(last=False)
                self._held_bytes -= len(dropped)
        return data
