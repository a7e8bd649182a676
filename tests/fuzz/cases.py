"""One case and many: made from a seed and a number alone, bounded in CPU time and memory, each accounted for."""

import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS, Target

# What one case may cost: a thousand times what a good input of that size does.
CPU_S_MAX = 2.0
GROWTH_BYTES_MAX = 128 * 2**20
NICE = 19
MEMORY_BYTES_MAX = 4 * 2**30
REASON_LENGTH = 44
HEAD_KEPT_SHARE = 0.95


class TooMuchError(Exception):
    """A case took more time or memory than any input may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """
    What went wrong with an input.

    Attributes:
        target: Where it went in.
        number: Of the case.
        data: The input.
        error: The last lines of the traceback.
    """

    target: str
    number: int
    data: bytes
    error: str


@dataclass(kw_only=True, slots=True)
class Tally:
    """What became of the cases of a target."""

    taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    crashes: list[Crash] = field(default_factory=list)
    crashed: int = 0
    slowest_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def rejected(self) -> int:
        """Cases turned down, each with a reason."""
        return self.reasons.total()

    @property
    def count(self) -> int:
        """All cases."""
        return self.taken + self.rejected + self.crashed

    def add(self, other: "Tally") -> None:
        """Those of another process."""
        self.taken += other.taken
        self.reasons += other.reasons
        self.crashes += other.crashes
        self.crashed += other.crashed
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.cpu_s += other.cpu_s


@cache
def _seeds(name: str) -> tuple[bytes, ...]:
    return tuple(TARGETS[name].seeds())


def make(seed: int, name: str, number: int) -> tuple[bytes, Random]:
    """The input of a case, and the generator for what its target draws."""
    rng, seeds, target = Random(f"{seed}/{name}/{number}"), _seeds(name), TARGETS[name]
    good, kept = rng.choice(seeds), target.head_bytes if rng.random() < HEAD_KEPT_SHARE else 0
    return good[:kept] + mutate(rng, good[kept:], seeds, has_boxes=target.has_boxes), rng


def attempt(target: Target, data: bytes, rng: Random) -> str | None:
    """
    The reason why an input is rejected, None if it is taken.

    Raises:
        Exception: Anything that is not declared; TooMuchError for time and memory.
    """
    before = _peak_bytes()
    try:
        with _bounded():
            target.run(data, rng)
    except target.errors as error:
        reason = str(error)
        if not reason:
            raise TooMuchError(f"a {type(error).__name__} without a reason") from error
        return reason
    finally:
        grown = _peak_bytes() - before
        if grown > GROWTH_BYTES_MAX:
            raise TooMuchError(f"{grown >> 20} MiB for an input of {len(data)} bytes")
    return None


def run(seed: int, name: str, numbers: Iterable[int], *, crashes_max: int = 20) -> Tally:
    """All of some cases."""
    tally, target = Tally(), TARGETS[name]
    _seeds(name)
    for number in numbers:
        data, rng = make(seed, name, number)
        began = time.process_time()
        try:
            reason = attempt(target, data, rng)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 that nothing else comes out is what is tested
            tally.crashed += 1
            if len(tally.crashes) < crashes_max:
                where = "".join(traceback.format_exception(error, limit=-3)[-4:])
                tally.crashes.append(Crash(target=name, number=number, data=data, error=where))
        else:
            if reason is None:
                tally.taken += 1
            else:
                tally.reasons[_kind(reason)] += 1
        spent = time.process_time() - began
        tally.cpu_s += spent
        tally.slowest_s = max(tally.slowest_s, spent)
    return tally


def dealt(cases: int, names: Iterable[str], *, start: int = 0) -> Iterator[tuple[str, range]]:
    """The numbers of each target, by its share."""
    chosen = list(names)
    shares = sum(TARGETS[name].share for name in chosen)
    for name in chosen:
        first, end = ((start + more) * TARGETS[name].share // shares for more in (0, cases))
        yield name, range(first, end)


def yield_to_others() -> None:
    """Everything else on the machine comes first, and memory has an end."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


def _kind(reason: str) -> str:
    """A reason without its numbers."""
    return "".join("#" if letter.isdigit() else letter for letter in reason)[:REASON_LENGTH]


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


@contextmanager
def _bounded() -> Iterator[None]:
    """Ends what takes too much CPU time."""

    def stop(*_: object) -> None:
        raise TooMuchError(f"more than {CPU_S_MAX:g} s of CPU")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
