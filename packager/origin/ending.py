"""
What may never return, called so that the process ends all the same.

The loop waits for the threads of `asyncio.to_thread` before it closes, and they are few: a store that hangs would hold them all.
"""

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from packager.hands import Hands

log = structlog.get_logger()

# How long what ends is waited for at the end of an origin. Then it ends without it.
LEAVE_S = 4.0


async def by_hand(work: Callable[[], None]) -> None:
    """Calls something in a thread of its own, which ends with the process if the call does not return."""
    hands = Hands[None](1, name="by-hand", patience_s=LEAVE_S)
    try:
        await asyncio.wrap_future(hands.call(work).future)
    finally:
        hands.close(0.0)


async def leave(*, within_s: float = LEAVE_S, **steps: Coroutine[None, None, None]) -> None:
    """
    Ends what is to be ended, all at once; what takes longer than the time given is left behind.

    Raises:
        Exception: What a step raised, after all the others.
    """
    tasks = [asyncio.create_task(step, name=name) for name, step in steps.items()]
    done, stuck = await asyncio.wait(tasks, timeout=within_s)
    for task in stuck:
        log.warning("left_behind", what=task.get_name())
        task.cancel()
    for task in done:
        task.result()
