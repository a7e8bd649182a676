"""How many packagers there are: as decisions want, by the rules of Kubernetes' autoscaler or of KEDA, or always the same."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from streams.simulate.scenario.spec import Scaler as Rule

# Growth that Kubernetes' default policies allow within 15 s: twice as many or four more, whichever is more.
GROWTH_FACTOR = 2
GROWTH_COUNT = 4
GROWTH_MS = 15_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """
    What an autoscaler sees.

    Attributes:
        at_ms: When.
        ordered: Packagers that run or start.
        ready: Those that work.
        use: Mean use of the ready ones since the last look, as a share of their cores.
        lag_chunks: Chunks in the log that are to be packaged and are not.
        wanted: What the newest decision wants; 0: none was made.
    """

    at_ms: float
    ordered: int
    ready: int
    use: float
    lag_chunks: float
    wanted: int


class Autoscaler(Protocol):
    """Says how many packagers are to run."""

    every_ms: float
    """Time between two looks; 0: whenever something was decided."""

    def look(self, seen: Seen) -> int:
        """Packagers that are to run."""
        ...


@dataclass(slots=True)
class Obeys:
    """As many as decisions want."""

    rule: Rule
    every_ms: float = 0.0

    def look(self, seen: Seen) -> int:
        """As the protocol says."""
        return max(self.rule.least, min(self.rule.most, seen.wanted or seen.ordered))


@dataclass(slots=True)
class Fixed:
    """Always the same."""

    rule: Rule
    every_ms: float = 0.0

    def look(self, seen: Seen) -> int:
        """As the protocol says."""
        del seen
        return self.rule.packagers


@dataclass(slots=True)
class Horizontal:
    """
    Kubernetes' horizontal pod autoscaler on the mean use of cores.

    Source:
        Kubernetes, Horizontal Pod Autoscaling: ceil(current * metric / target) unless the ratio is within the tolerance of one; pods not
        ready count as idle when it would grow; scale-in takes the highest word of the stabilisation window; growth by default policies.
    """

    rule: Rule
    every_ms: float = field(init=False)
    _words: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.every_ms = self.rule.sync

    def look(self, seen: Seen) -> int:
        """As the protocol says."""
        return self._limited(seen, self._asked(seen))

    def _asked(self, seen: Seen) -> int:
        ratio = seen.use / self.rule.target
        if seen.ready < seen.ordered and ratio > 1.0:
            ratio = ratio * seen.ready / seen.ordered
            if ratio < 1.0:
                return seen.ordered
        if not seen.ready or abs(ratio - 1.0) <= self.rule.tolerance:
            return seen.ordered
        return ceil(ratio * (seen.ordered if ratio > 1.0 else seen.ready) - 1e-9)

    def _limited(self, seen: Seen, asked: int) -> int:
        rule = self.rule
        asked = max(rule.least, min(rule.most, asked))
        self._words.append((seen.at_ms, asked))
        while self._words[0][0] <= seen.at_ms - rule.stabilise:
            self._words.popleft()
        if asked >= seen.ordered:
            steps = max(1, round(self.every_ms / GROWTH_MS))
            most: int = max(seen.ordered * GROWTH_FACTOR**steps, seen.ordered + GROWTH_COUNT * steps)
            return min(asked, most)
        return min(seen.ordered, max(word for _, word in self._words))


@dataclass(slots=True)
class EventDriven(Horizontal):
    """
    KEDA on the lag of the log and on the use of cores: the larger of both, through the autoscaler that it drives.

    Source:
        KEDA, ScaledObject: metrics read each polling interval, ceil(lag / threshold) from the Kafka scaler; with several triggers the
        largest counts. On lag alone a pool that keeps up would shrink to its least, since its lag is nothing.
    """

    _read_ms: float = -1e18
    _lag: float = 0.0

    def look(self, seen: Seen) -> int:
        """As the protocol says."""
        if seen.at_ms - self._read_ms >= self.rule.poll:
            self._read_ms, self._lag = seen.at_ms, seen.lag_chunks
        return self._limited(seen, max(self._asked(seen), ceil(self._lag / self.rule.lag_chunks)))


def autoscaler(rule: Rule) -> Autoscaler:
    """The autoscaler of a rule."""
    match rule.kind:
        case "finecut":
            return Obeys(rule)
        case "fixed":
            return Fixed(rule)
        case "hpa":
            return Horizontal(rule)
        case "keda":
            return EventDriven(rule)
