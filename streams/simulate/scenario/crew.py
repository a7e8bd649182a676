"""The packagers of a pool: ordered, ready, drained, killed, and what they cost."""

from heapq import heappop, heappush
from itertools import count

from schemas.records import PackagerState
from streams.simulate.scenario.pool import NEAR, Packager
from streams.simulate.scenario.scalers import Obeys, Seen, autoscaler
from streams.simulate.scenario.spec import Scenario

NAME = "packager-"


class Crew:
    """All packagers there are and were; those that left are kept while they hold anything."""

    def __init__(self, scenario: Scenario) -> None:
        pool = scenario.pool
        self._pool = pool
        self._lives = count()
        self.members: list[Packager] = []
        self.nobody = Packager(name="", life="", cores=0.0, ordered_ms=0.0, ready_ms=0.0, is_up=False)
        """Holds what has no holder."""
        self.paid_ms = 0.0
        self.ready_ms = 0.0
        self.used_core_ms = 0.0
        self.started = self.drained = self.killed = 0
        self.wakes: list[float] = []
        """Instants, a heap, at which something is to be decided again."""
        self._scaler = autoscaler(scenario.scaler)
        self._every_ms = self._scaler.every_ms
        self._look_ms = self._every_ms
        self._used_before = self._ready_before = 0.0
        for _ in range(scenario.scaler.packagers if scenario.scaler.kind == "fixed" else pool.packagers):
            self._order(-float(pool.startup))

    def up(self) -> list[Packager]:
        """Those that run or start."""
        return [packager for packager in self.members if packager.is_up]

    def working(self, at_ms: float) -> list[Packager]:
        """Those that take work."""
        return [p for p in self.members if p.is_ready(at_ms) and p.state is PackagerState.READY]

    def wake(self, at_ms: float) -> None:
        """Something is to be decided at an instant."""
        heappush(self.wakes, at_ms)

    def woken(self, at_ms: float) -> bool:
        """Whether an instant was asked for that has come; it is asked for no more."""
        is_due = False
        while self.wakes and self.wakes[0] <= at_ms + NEAR:
            heappop(self.wakes)
            is_due = True
        return is_due

    @property
    def next_ms(self) -> float:
        """The next instant at which something is to be decided or looked at."""
        return min(self.wakes[0] if self.wakes else float("inf"), self._look_ms if self._every_ms else float("inf"))

    # ------------------------------------------------------------ coming and going

    def serve(self, start_ms: float, end_ms: float) -> None:
        """A span of work, and of pay."""
        self.nobody.serve(start_ms, end_ms, slice_cores=0.0)
        for packager in self.members:
            before = packager.used_core_ms
            packager.serve(start_ms, end_ms, slice_cores=self._pool.cores_per_slice)
            self.used_core_ms += packager.used_core_ms - before
            if packager.is_up:
                self.paid_ms += end_ms - start_ms
                self.ready_ms += max(0.0, end_ms - max(start_ms, packager.ready_ms))

    def kill(self, packager: Packager, at_ms: float, *, restart: bool) -> None:
        """It is gone without a word; whoever runs it starts it again under its name, if anybody does."""
        packager.is_up, packager.left_ms = False, at_ms
        self.killed += 1
        if restart:
            self._order(at_ms, packager.name)

    def holder(self, life: str) -> Packager:
        """The packager of a life; nobody if it is gone."""
        return next((packager for packager in self.members if packager.life == life), self.nobody)

    def reset(self) -> None:
        """From here on is counted."""
        self.paid_ms = self.used_core_ms = self.ready_ms = 0.0
        self._used_before = self._ready_before = 0.0
        self.started = self.drained = self.killed = 0

    def leave(self, at_ms: float) -> list[Packager]:
        """Those that drained and have nothing left leave."""
        gone = [p for p in self.members if p.is_up and p.state is PackagerState.DRAINING and not p.pieces]
        for packager in gone:
            packager.state = PackagerState.GONE
            packager.left_ms = at_ms
        return gone

    def sweep(self) -> None:
        """Those that left and hold nothing are forgotten."""
        for packager in self.members:
            if packager.state is PackagerState.GONE:
                packager.is_up = False
        self.members = [packager for packager in self.members if packager.is_up or packager.pieces]

    def scale(self, at_ms: float, *, wanted: int, lag_chunks: float) -> None:
        """The autoscaler looks, if its time has come, and is obeyed."""
        if self._every_ms and at_ms < self._look_ms - NEAR:
            return
        ready_ms = self.ready_ms - self._ready_before
        use = (self.used_core_ms - self._used_before) / (ready_ms * self._pool.cores) if ready_ms else 0.0
        self._used_before, self._ready_before = self.used_core_ms, self.ready_ms
        self._look_ms += self._every_ms
        staying = [packager for packager in self.up() if packager.state is PackagerState.READY]
        ready = sum(packager.ready_ms <= at_ms for packager in staying)
        target = self._scaler.look(Seen(at_ms=at_ms, ordered=len(staying), ready=ready, use=use, lag_chunks=lag_chunks, wanted=wanted))
        for _ in range(target - len(staying)):
            self._order(at_ms)
            self.started += 1
        for packager in sorted(staying, key=lambda p: (p.ready_ms <= at_ms, -_number(p.name)))[: max(0, len(staying) - target)]:
            if packager.ready_ms > at_ms:
                packager.is_up, packager.left_ms = False, at_ms
            else:
                packager.state = PackagerState.DRAINING
                self.wake(at_ms + 100.0)
            self.drained += 1

    @property
    def obeys(self) -> bool:
        """Whether decisions say how many there are."""
        return isinstance(self._scaler, Obeys)

    def _order(self, at_ms: float, name: str | None = None) -> None:
        taken = {packager.name for packager in self.up()}
        name = name or next(free for number in count(1) if (free := f"{NAME}{number}") not in taken)
        ready_ms = at_ms + self._pool.startup
        self.members.append(
            Packager(name=name, life=f"life{next(self._lives)}", cores=self._pool.cores, ordered_ms=at_ms, ready_ms=ready_ms)
        )
        if ready_ms > 0:
            self.wake(ready_ms)


def _number(name: str) -> int:
    return int(name.removeprefix(NAME))
