"""Threads that call what may never return, as a store can: one that does not come back in time is given up, and nobody waits for it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """A call that a hand makes, or will make."""

    __slots__ = ("began_s", "future", "hands", "work")

    def __init__(self, hands: "Hands[T]", work: Callable[[], T]) -> None:
        self.hands = hands
        self.work = work
        self.future: Future[T] = Future()
        self.began_s: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has a result, or failed."""
        return self.future.done()

    def is_stuck(self, now_s: float) -> bool:
        """Whether it lasts longer than the patience of its hands, or waits for hands of which none came back in time."""
        return not self.future.done() and self.hands.are_stuck(self.began_s, now_s)


class Hands(Generic[T]):
    """So many threads; those that are stuck end with the process, not the process with them."""

    def __init__(self, count: int, *, name: str, patience_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            count: Threads.
            name: Begins their names.
            patience_s: How long a call may take.
            monotonic_s: Seconds of a clock that only rises.
        """
        self._patience_s = patience_s
        self._monotonic_s = monotonic_s
        self._queue: SimpleQueue[Call[T] | None] = SimpleQueue()
        self._at: list[Call[T] | None] = [None] * count
        self._threads = [threading.Thread(target=self._work, args=(place,), name=f"{name}-{place}", daemon=True) for place in range(count)]
        for thread in self._threads:
            thread.start()

    def call(self, work: Callable[[], T]) -> Call[T]:
        """A call, made as soon as a hand is free; one whose future was cancelled before is not made."""
        call = Call(self, work)
        self._queue.put(call)
        return call

    def are_stuck(self, began_s: float | None, now_s: float) -> bool:
        """Whether a call that began then lasts too long; of one that has not begun: whether all hands are at calls that do."""
        if began_s is not None:
            return now_s - began_s > self._patience_s
        return all(call is not None and call.began_s is not None and now_s - call.began_s > self._patience_s for call in self._at)

    def close(self, timeout_s: float) -> None:
        """Begins no further call, and waits so long for those that are made."""
        with suppress(Empty):
            while call := self._queue.get_nowait():
                call.future.cancel()
        for _ in self._threads:
            self._queue.put(None)
        deadline = self._monotonic_s() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._monotonic_s()))

    def _work(self, place: int) -> None:
        while (call := self._queue.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            call.began_s, self._at[place] = self._monotonic_s(), call
            try:
                result = call.work()
            except BaseException as error:  # noqa: BLE001 - whoever asks for the result is told
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
            self._at[place] = call = None  # what it held is not needed any longer
