"""An origin that is told to stop ends, whatever hangs."""

import asyncio
import subprocess
import sys
import threading

import pytest

from packager.origin.ending import by_hand, leave

WAIT_S = 30.0
HANGING = """
import asyncio, threading
from packager.origin.ending import by_hand, leave
from packager.origin.live import Live
from packager.origin.objects import Objects


class Store:
    def get(self, name):
        threading.Event().wait()


def hangs():
    threading.Event().wait()


async def main():
    objects = Objects(Store(), Live())
    reads = [asyncio.create_task(objects.read(f"c/0/v0/{number}.m4s")) for number in range(100)]
    await asyncio.sleep(0.1)
    await leave(within_s=0.1, one=by_hand(hangs), other=by_hand(lambda: print("well")))


asyncio.run(main())
"""


async def test_what_does_not_end_is_left_behind_and_what_ends_is_waited_for() -> None:
    opened, ended = threading.Event(), list[str]()
    await leave(within_s=0.2, stuck=by_hand(lambda: ended.append(str(opened.wait(WAIT_S)))), well=by_hand(lambda: ended.append("well")))
    assert ended == ["well"]
    opened.set()


async def test_what_a_step_raises_is_raised_once_all_have_ended() -> None:
    ended = asyncio.Event()

    async def fails() -> None:
        raise ZeroDivisionError

    async def ends() -> None:
        await asyncio.sleep(0)
        ended.set()

    with pytest.raises(ZeroDivisionError):
        await leave(first=fails(), second=ends())
    assert ended.is_set()


def test_a_process_with_a_store_that_hangs_ends() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert "well" in ran.stdout
