"""A chaos run from its first fault to the end of all work: the plan is played while the log is heard and an audience watches."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException

from schemas.errors import FinecutError
from tests.chaos import screens
from tests.chaos.acts import Act, Wait, begin
from tests.chaos.audience import Heard, now_ms
from tests.chaos.cast import HOT, PLAIN, PROBLEM_CHARS, Cast
from tests.chaos.plan import APART_S, QUIET_LAST_S, Fault
from tests.line import Ended
from tests.players.stage import Stage

Say = Callable[[str], None]
# Faults that last when the story ends are made good, and this long is waited for that.
HEALS_S = 180.0


@dataclass(slots=True)
class Done:
    """
    A fault as it happened, in wall time.

    Attributes:
        fault: As planned.
        target: Whom it happened to; empty: there was nobody left.
        begin_unix_ms: When it began.
        healed_unix_ms: When all was made good that was done.
        revived_unix_ms: When what had ended was started again and waited for; 0: nothing was.
    """

    fault: Fault
    target: str
    begin_unix_ms: int
    healed_unix_ms: int = 0
    revived_unix_ms: int = 0


@dataclass(slots=True)
class Played:
    """What a run leaves beside the log and the store."""

    begin_unix_ms: int
    done: list[Done] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)
    ended: list[Ended] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    end_unix_ms: int = 0


@dataclass(slots=True)
class _Running:
    done: Done
    act: Act
    wait: Wait
    until_s: float


def play(cast: Cast, plan: Sequence[Fault], *, seconds: float, say: Say, stage: Stage | None = None) -> Played:
    """Play a plan; returns when all that was encoded is packaged, or why it is not stands among the problems."""
    audience = cast.audience()
    audience.start()
    played = Played(begin_unix_ms=now_ms(), heard=audience.heard, problems=cast.problems)
    running = list[_Running]()
    try:
        with problems_told(played):
            _play_on(cast, plan, played, running, seconds=seconds, say=say)
            say("the audience stays until everything goes on")
            cast.line.goes_on(HOT, PLAIN, segments=2)
            audience.stop()
            if stage:
                _look_at(stage, played, say)
            say("the channels end")
            cast.end()
    finally:
        for one in running:
            one.act.close()
        cast.wake()
        with problems_told(played):
            audience.stop()
        played.ended = cast.line.ended
        played.end_unix_ms = now_ms()
        played.usage = {name: {"cpu_s": used.cpu_s, "rss_mb": used.rss_mb} for name, used in cast.line.run.usage().items()}
    return played


def _play_on(cast: Cast, plan: Sequence[Fault], played: Played, running: list[_Running], *, seconds: float, say: Say) -> None:
    """Play the faults of a plan, in time, until all that was done is good again."""
    began_s, waiting, late_s, rests_s = time.monotonic(), list(plan), 0.0, -APART_S[0]
    while running or time.monotonic() - began_s < seconds:
        now_s = time.monotonic() - began_s
        rests_s = now_s if running else rests_s
        is_next = bool(waiting) and waiting[0].at_s + late_s <= now_s < seconds - QUIET_LAST_S
        if is_next and (waiting[0].overlaps or now_s >= rests_s + APART_S[0]):
            # What takes longer than planned, on a busy machine or by itself, moves all that comes next.
            late_s = now_s - waiting[0].at_s
            _begin(cast, waiting.pop(0), played, running, say)
        running[:] = [one for one in running if not _go_on(one, say)]
        cast.hear()
        if now_s > seconds + HEALS_S:
            played.problems.append(f"not made good: {', '.join(one.done.fault.kind for one in running)}")
            return


def _look_at(stage: Stage, played: Played, say: Say) -> None:
    """What the pages saw; a browser that does not tell is a problem, and the channels end all the same."""
    say("the pages are looked at")
    with problems_told(played):
        played.pages = screens.end(stage, played.heard)


@contextmanager
def problems_told(played: Played) -> Iterator[None]:
    """What goes wrong in the context is a problem of the run, of which there is a verdict all the same."""
    try:
        yield
    except (AssertionError, FinecutError, KafkaException) as error:
        played.problems.append(f"{type(error).__name__}: {error}"[:PROBLEM_CHARS])


def _begin(cast: Cast, fault: Fault, played: Played, running: list[_Running], say: Say) -> None:
    begun = begin(cast, fault)
    if begun is None:
        say(f"{fault.number:3} {fault.kind}: nobody to harm now")
        return
    target, act = begun
    done = Done(fault=fault, target=target, begin_unix_ms=now_ms())
    played.done.append(done)
    say(f"{fault.number:3} {fault.kind} {target} for {fault.lasts_s:.0f} s")
    wait = next(act)
    running.append(_Running(done=done, act=act, wait=wait, until_s=time.monotonic() + wait.most_s))


def _go_on(one: _Running, say: Say) -> bool:
    """Whether the act is over."""
    is_met = one.wait.until()
    if not is_met and time.monotonic() < one.until_s:
        return False
    if not is_met:
        say(f"{one.done.fault.number:3} {one.done.fault.kind} {one.done.target}: waited for in vain")
    try:
        one.wait = next(one.act)
        if one.wait.is_return:
            one.done.revived_unix_ms = one.done.revived_unix_ms or now_ms()
        one.until_s = time.monotonic() + one.wait.most_s
    except StopIteration:
        one.done.healed_unix_ms = now_ms()
        return True
    return False
