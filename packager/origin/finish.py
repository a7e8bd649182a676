"""
Writes the finished manifests of channels that have ended into the store, so that they can be played without an origin.

Every origin does; equal bytes are a success, so it does not matter which is first (design law 3).
"""

import asyncio
from collections.abc import Iterable
from functools import partial

import structlog

from packager import webvtt
from packager.manifest import finished
from packager.manifest.view import View
from packager.origin import metrics
from packager.origin.ending import by_hand
from packager.origin.live import Live
from packager.store import Store
from schemas.errors import ConflictError, RejectedError, RetryableError

log = structlog.get_logger()

# What takes longer is told; nothing else is finished before it returns.
PATIENCE_S = 60.0


class Finisher:
    """Looks for channels that have ended, and finishes each once."""

    def __init__(self, live: Live, store: Store) -> None:
        """
        Args:
            live: The presentations.
            store: Where manifests go.
        """
        self._live = live
        self._store = store
        self._done: set[tuple[str, int]] = set()
        self._writing: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Starts to write what is due, unless something is being written; called again after a while."""
        if self._writing is None or self._writing.done():
            due = list(self._due())
            self._writing = asyncio.create_task(self.write(due)) if due else None

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._writing is not None:
            await self._writing

    def _due(self) -> Iterable[View]:
        names = self._live.presentations.channels
        self._done = {done for done in self._done if done[0] in names}
        for name in sorted(names):
            held = self._live.presentations.get(name)
            view = held.concluded() if held else None
            if view is not None and view.segments and (name, view.period.period) not in self._done:
                yield view

    async def write(self, views: Iterable[View]) -> None:
        """Writes what is to be kept of channels that have ended; what the store does not take now stays due."""
        for view in views:
            try:
                await self._by_hand(view)
            except RetryableError as error:
                log.warning("not_finished", channel=view.channel, error=str(error))
                metrics.FINISHED.labels("refused").inc()
                continue
            except ConflictError as error:
                # Somebody told of other segments: either a defect, or an origin that knew only part of the buffer.
                log.error("finished_otherwise", channel=view.channel, error=str(error))
                metrics.FINISHED.labels("conflict").inc()
            else:
                log.info("finished", channel=view.channel, period=view.period.period, segments=len(view.segments))
                metrics.FINISHED.labels("written").inc()
            self._done.add((view.channel, view.period.period))

    async def _by_hand(self, view: View) -> None:
        late = asyncio.get_running_loop().call_later(PATIENCE_S, _unanswered, view.channel)
        try:
            await by_hand(partial(self._write, view))
        finally:
            late.cancel()

    def _write(self, view: View) -> None:
        for name, source, init in finished.captions(view):
            try:
                text = webvtt.render(self._store.get(source), init)
            except (KeyError, RejectedError) as error:
                log.warning("no_text_kept", name=name, error=str(error))
                continue
            self._store.create_if_absent(name, [text])
        for name, data in finished.objects(view):
            self._store.create_if_absent(name, [data])


def _unanswered(channel: str) -> None:
    log.warning("store_does_not_answer", channel=channel)
    metrics.FINISHED.labels("unanswered").inc()
