"""What goes wrong and when, from a seed: every kind in turn, in an order of its own each time, now and then two at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

PACKAGER, STORE, CONTROL, ORIGIN, ENCODER, BROKER = "packager", "store", "control", "origin", "encoder", "broker"
# The line begins whole, and what went wrong last is seen to come right.
QUIET_FIRST_S = 5.0
QUIET_LAST_S = 25.0
# From the end of one fault to the beginning of the next: longer than a takeover, so that each is seen to be over.
APART_S = (8.0, 14.0)
# So many of ten come while the one before them lasts.
OVERLAPPING = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """
    A kind of fault.

    Attributes:
        name: What happens to what.
        role: What it happens to.
        about: In a few words.
        least_s: Shortest time that it lasts.
        most_s: Longest.
    """

    name: str
    role: str
    about: str
    least_s: float
    most_s: float


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="packager-kill", role=PACKAGER, about="SIGKILL, started again later", least_s=4, most_s=10),
        Kind(name="packager-pause", role=PACKAGER, about="SIGSTOP, later SIGCONT", least_s=4, most_s=20),
        Kind(name="packager-slow", role=PACKAGER, about="stopped four fifths of the time", least_s=6, most_s=12),
        Kind(name="packager-drain", role=PACKAGER, about="SIGTERM, started again when it left", least_s=4, most_s=12),
        Kind(name="packager-twin", role=PACKAGER, about="a second one with the same name", least_s=5, most_s=10),
        Kind(name="packager-memory", role=PACKAGER, about="given no more memory than it has", least_s=5, most_s=10),
        Kind(name="store-full", role=STORE, about="no space left for one packager", least_s=3, most_s=10),
        Kind(name="store-readonly", role=STORE, about="read-only for all packagers", least_s=2, most_s=6),
        Kind(name="store-slow", role=STORE, about="every object takes one packager 0.4 s longer", least_s=5, most_s=12),
        Kind(name="control-kill", role=CONTROL, about="SIGKILL, started again later", least_s=3, most_s=10),
        Kind(name="control-pause", role=CONTROL, about="SIGSTOP, later SIGCONT", least_s=5, most_s=15),
        Kind(name="control-away", role=CONTROL, about="all workers killed, started again later", least_s=4, most_s=8),
        Kind(name="origin-kill", role=ORIGIN, about="SIGKILL, started again later", least_s=2, most_s=8),
        Kind(name="origin-pause", role=ORIGIN, about="SIGSTOP, later SIGCONT", least_s=4, most_s=20),
        Kind(name="origin-behind", role=ORIGIN, about="SIGSTOP for 20 s: what it knows then is old", least_s=20, most_s=20),
        Kind(name="origins-restart", role=ORIGIN, about="all killed at once, started again later", least_s=2, most_s=6),
        Kind(name="encoder-kill", role=ENCODER, about="SIGKILL, started again later", least_s=1, most_s=5),
        Kind(name="encoder-pause", role=ENCODER, about="SIGSTOP, later SIGCONT", least_s=2, most_s=6),
        Kind(name="broker-kill", role=BROKER, about="SIGKILL, started again later", least_s=5, most_s=12),
        Kind(name="broker-pause", role=BROKER, about="SIGSTOP, later SIGCONT", least_s=3, most_s=10),
        Kind(name="broker-rolling", role=BROKER, about="each restarted in order, one after the other", least_s=1, most_s=1),
        Kind(name="brokers-away", role=BROKER, about="two of three killed, back after 40 s", least_s=40, most_s=40),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """
    One fault of a plan.

    Attributes:
        number: From 1.
        kind: Name of its kind.
        at_s: When it begins, from the beginning of the story.
        lasts_s: How long it lasts.
        pick: Which of those that it may happen to, modulo their number.
        overlaps: Whether it comes while the one before it lasts; any other waits until all is good again.
    """

    number: int
    kind: str
    at_s: float
    lasts_s: float
    pick: int
    overlaps: bool = False

    @property
    def role(self) -> str:
        """What it happens to."""
        return KINDS[self.kind].role


def make_plan(seed: int, *, seconds: float, kinds: Sequence[str] = tuple(KINDS)) -> tuple[Fault, ...]:
    """
    Faults of a story, in time; the same for the same arguments.

    Args:
        seed: Any number.
        seconds: Length of the story.
        kinds: Those that may happen.

    >>> plan = make_plan(1, seconds=300)
    >>> plan == make_plan(1, seconds=300), len(plan) > 10, all(before.at_s < after.at_s for before, after in zip(plan, plan[1:]))
    (True, True, True)
    """
    random = Random(seed)
    faults: list[Fault] = []
    waiting: list[str] = []
    at_s, over_s = QUIET_FIRST_S, 0.0
    while True:
        if not waiting:
            waiting = random.sample(list(kinds), len(kinds))
        kind = KINDS[waiting.pop()]
        lasts_s = round(random.uniform(kind.least_s, kind.most_s), 1)
        overlaps = bool(faults) and random.randrange(10) < OVERLAPPING and faults[-1].role != kind.role
        if overlaps:
            at_s = faults[-1].at_s + min(2.0, faults[-1].lasts_s / 2)
        if at_s + lasts_s > seconds - QUIET_LAST_S:
            return tuple(faults)
        at_s, pick = round(at_s, 1), random.randrange(1_000)
        faults.append(Fault(number=len(faults) + 1, kind=kind.name, at_s=at_s, lasts_s=lasts_s, pick=pick, overlaps=overlaps))
        over_s = max(over_s, at_s + lasts_s)
        at_s = over_s + random.uniform(*APART_S)
