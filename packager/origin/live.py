"""The presentations as they stand, whoever waits for them to change, and what was rendered of them."""

import asyncio
import gzip
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

from starlette.types import Receive

from packager.manifest.known import ALL, Reading
from packager.manifest.presentation import View
from packager.manifest.presentations import Presentations
from schemas.errors import RetryableError

Found = TypeVar("Found")
RETRY_AFTER_MS = 1_000
WAITING_MAX = 20_000
GZIP_LEVEL = 5  # manifests are repetitive; more effort gains nothing


# How the request being answered hears that its client has left; none where somebody else listens.
CLIENT: ContextVar[Receive | None] = ContextVar("client", default=None)


class ClientLeftError(Exception):
    """Nobody waits for the answer any longer."""


class Text(NamedTuple):
    """One rendered manifest."""

    plain: bytes
    zipped: bytes


class Live:
    """Folds batches of records on the event loop and wakes those who wait; nothing here polls."""

    def __init__(self, *, waiting_max: int = WAITING_MAX, reading: Reading = ALL) -> None:
        """
        Args:
            waiting_max: Requests that may wait at once.
            reading: What of the topics is read.
        """
        self.presentations = Presentations(reading)
        self._changed: dict[str, asyncio.Event] = {}
        self._rendered: dict[tuple[str, str], tuple[View, Text]] = {}
        self.waiting = 0
        self._waiting_max = waiting_max
        self._is_closed = False

    def close(self) -> None:
        """Nobody waits any longer."""
        self._is_closed = True
        self.wake(list(self._changed))

    def fold(self, records: Iterable[object]) -> set[str]:
        """
        Folds records in the order of their topics.

        Returns:
            Channels that changed.
        """
        changed: set[str] = set()
        for record in records:
            changed |= self.presentations.apply(record)
        self.wake(changed)
        return changed

    def wake(self, channels: Iterable[str]) -> None:
        """Lets everyone who waits for one of these channels look again."""
        for channel in channels:
            event = self._changed.pop(channel, None)
            if event is not None:
                event.set()

    def view(self, channel: str) -> View | None:
        """What a channel shows now."""
        held = self.presentations.get(channel)
        return held.view() if held else None

    async def until(self, channel: str, look: Callable[[View | None], Found | None], timeout_ms: int) -> Found | None:
        """
        What ``look`` finds in the channel's view, as soon as it finds anything.

        Returns:
            None if it found nothing in time.

        Raises:
            RetryableError: Too many wait, or this origin ends.
            ClientLeftError: The client of the request has left.
        """
        found = look(self.view(channel))
        if found is not None:
            return found
        self._check_open()
        if self.waiting >= self._waiting_max:
            raise RetryableError(f"{self.waiting} requests wait already", retry_after_ms=RETRY_AFTER_MS)
        self.waiting += 1
        limit, receive = asyncio.timeout(timeout_ms / 1_000), CLIENT.get()
        leaving = asyncio.create_task(_end_when_left(receive, limit)) if receive else None
        try:
            async with limit:
                while found is None:
                    await self._changed.setdefault(channel, asyncio.Event()).wait()
                    self._check_open()
                    found = look(self.view(channel))
        except TimeoutError:
            if leaving and leaving.done():
                raise ClientLeftError from None
            return None
        finally:
            self.waiting -= 1
            if leaving:
                leaving.cancel()
        return found

    def _check_open(self) -> None:
        if self._is_closed:
            raise RetryableError("this origin ends", retry_after_ms=RETRY_AFTER_MS)

    def text(self, view: View, what: str, render: Callable[[], str]) -> Text:
        """A manifest of a view, rendered once however many ask for it."""
        key = (view.channel, what)
        held = self._rendered.get(key)
        if held is None or held[0] is not view:
            plain = render().encode()
            held = (view, Text(plain, gzip.compress(plain, GZIP_LEVEL, mtime=0)))
            self._rendered[key] = held
        return held[1]

    def forget(self, channel: str, period: int, *, is_end: bool) -> None:
        """A record of ``channels`` was deleted."""
        changed = self.presentations.forget(channel, period, is_end=is_end)
        if self.presentations.get(channel) is None:
            for key in [key for key in self._rendered if key[0] == channel]:
                del self._rendered[key]
        self.wake(changed)


async def _end_when_left(receive: Receive, limit: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    limit.reschedule(0)
