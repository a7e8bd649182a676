"""Calls that may never return."""

import threading
from collections.abc import Iterator

import pytest

from packager.hands import Call, Hands

WAIT_S = 20.0


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Door:
    """What a call waits at."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self) -> str:
        self.reached.release()
        assert self.opened.wait(WAIT_S)
        return "through"


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.opened.set()


def make(count: int, time: Time) -> Hands[str]:
    return Hands(count, name="test", patience_s=1.0, monotonic_s=time)


def begun(hands: Hands[str], door: Door) -> Call[str]:
    call = hands.call(door)
    assert door.reached.acquire(timeout=WAIT_S)
    return call


def test_a_call_that_does_not_return_is_stuck_and_those_behind_it_are_not_while_a_hand_is_free(door: Door) -> None:
    time = Time()
    hands = make(2, time)
    call = begun(hands, door)
    assert not call.is_stuck(1.0)
    assert call.is_stuck(1.1)
    assert hands.call(lambda: "done").future.result(WAIT_S) == "done"
    door.opened.set()
    assert call.future.result(WAIT_S) == "through"
    assert not call.is_stuck(99.0)


def test_when_all_hands_are_stuck_so_is_what_waits_for_them(door: Door) -> None:
    time = Time()
    hands = make(2, time)
    begun(hands, door)
    time.now_s = 5.0
    begun(hands, door)
    waiting = hands.call(lambda: "never")
    assert not waiting.is_stuck(5.5), "the second hand may come back"
    assert waiting.is_stuck(6.1)
    waiting.future.cancel()
    door.opened.set()
    assert hands.call(lambda: "again").future.result(WAIT_S) == "again", "hands that come back work on"


def test_what_a_call_raises_is_raised_to_who_asks() -> None:
    def fails() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make(1, Time()).call(fails).future.result(WAIT_S)


def test_nobody_waits_for_hands_that_do_not_come_back(door: Door) -> None:
    hands = Hands[str](1, name="test", patience_s=1.0)
    call = begun(hands, door)
    waiting = hands.call(lambda: "never")
    hands.close(0.01)
    assert waiting.future.cancelled()
    assert not call.is_done
