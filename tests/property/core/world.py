"""A small world that obeys decisions: encoders stamp by plan, packagers publish what they are assigned, and things go wrong."""

from dataclasses import dataclass, field
from random import Random

from schemas.records import Assignment, ChannelDemand, Fault, Level, PackagerState
from schemas.settings import GranularitySettings, PlannerSettings
from schemas.units import Msn
from streams.core.policy import Policy
from tests.builders_control import (
    ControlPlane,
    a_demand,
    a_forecast,
    a_gop,
    a_heartbeat,
    a_period,
    a_period_end,
    a_report,
    some_forecasts,
)

# Short memory, so that a story of minutes outlives it many times.
POLICY = Policy(
    planner=PlannerSettings(memory_ms=60_000, restate_ms=20_000, channel_silence_ms=15_000),
    granularity=GranularitySettings(idle_ms=12_000, hold_ms=4_000),
)


@dataclass
class Encoder:
    channel: str
    idle_level: Level
    gop: int = 0
    msn: int = -1
    first_gop: int = 0
    gop_count: int = 0
    period: int = 0
    is_running: bool = True
    whole: list[int] = field(default_factory=list)


@dataclass
class Worker:
    packager: str
    life: str
    cores: float
    state: PackagerState = PackagerState.READY
    is_alive: bool = True
    beats: int = 0
    done: dict[tuple[str, int, int], set[int]] = field(default_factory=dict)


class World:
    """One second per step; every choice is the seed's."""

    def __init__(self, seed: int, *, packagers: int = 4, channels: int = 5, cores: float = 0.12, trouble: float = 0.05) -> None:
        self.random = Random(seed)
        self.trouble = trouble
        self.plane = ControlPlane(POLICY)
        self.workers = [Worker(packager=f"p{i}", life=f"l{i}", cores=cores) for i in range(packagers)]
        self.encoders: list[Encoder] = []
        self.channel_count = channels
        self.lives = packagers

    def second(self) -> None:
        random, plane = self.random, self.plane
        if len(self.encoders) < self.channel_count and random.random() < 0.3:
            self._begin()
        if random.random() < self.trouble:
            self._go_wrong()
        for _ in range(2):
            for worker in self.workers:
                if worker.is_alive:
                    plane.add("heartbeats", self._beat(worker))
            plane.log.pass_ms(random.randrange(480, 521))
            self.decide()
        for encoder in self.encoders:
            if encoder.is_running:
                self._encode(encoder)
        self._watch()
        plane.log.pass_ms(20)
        self.decide()
        for worker in self.workers:
            if worker.is_alive and worker.state is not PackagerState.GONE:
                self._package(worker)
        self.decide()

    def decide(self) -> None:
        self.plane.decide()

    def _begin(self) -> None:
        level = self.random.choice([Level.OFF, Level.PARTS])
        encoder = Encoder(channel=f"c{len(self.encoders)}", idle_level=level)
        self.encoders.append(encoder)
        self.plane.add("channels", a_period(encoder.channel, idle_level=level))

    def _beat(self, worker: Worker) -> object:
        worker.beats += 1
        beat = a_heartbeat(worker.packager, life=worker.life, number=worker.beats - 1, state=worker.state, cores=worker.cores)
        if worker.state is PackagerState.GONE:
            worker.is_alive = False
        return beat

    def _encode(self, encoder: Encoder) -> None:
        if encoder.gop >= encoder.first_gop + encoder.gop_count:
            plan = self.plane.standing.plans.get(encoder.channel)
            encoder.msn += 1
            encoder.first_gop = encoder.gop
            encoder.gop_count = plan.gops_per_segment if plan else 4
        gop = a_gop(
            encoder.channel, gop=encoder.gop, msn=encoder.msn, first_gop=encoder.first_gop, gop_count=encoder.gop_count,
            durable=self.plane.now, period=encoder.period,
        )  # fmt: skip
        self.plane.add("gops", gop)
        encoder.gop += 1
        if encoder.gop == encoder.first_gop + encoder.gop_count:
            encoder.whole.append(encoder.msn)

    def _watch(self) -> None:
        random = self.random
        seen = []
        for number, encoder in enumerate(self.encoders):
            # Each channel has an audience for some tens of seconds, then none.
            is_watched = (self.plane.now // 1_000 + 17 * number) % 60 < 20
            if is_watched:
                seen.append(ChannelDemand(channel=encoder.channel, whole_sessions=random.randrange(1, 9), requests=3))
        self.plane.add("demand", a_demand(channels=seen, at=self.plane.now))
        forecasts = [a_forecast(e.channel, sessions=random.random(), joins=random.choice([0.0, 0.2, 2.0])) for e in self.encoders]
        self.plane.add("forecasts", some_forecasts(*forecasts))

    def _package(self, worker: Worker) -> None:
        for assignment in list(self.plane.standing.assignments.values()):
            if (assignment.packager_id, assignment.life) != (worker.packager, worker.life):
                continue
            done = worker.done.setdefault((assignment.slice_id, assignment.copy, assignment.epoch), set())
            for msn in self._ready(assignment, done)[:3]:
                done.add(msn)
                fault = Fault.OWN if self.random.random() < self.trouble / 5 else None
                report = a_report(
                    assignment.channel, msns=[msn], packager=worker.packager, life=worker.life, epoch=assignment.epoch, fault=fault,
                    durable=self.plane.now, tracks=assignment.tracks, slice_id=assignment.slice_id,
                )  # fmt: skip
                self.plane.add("reports", report)

    def _ready(self, held: Assignment, done: set[int]) -> list[int]:
        """Whole segments of a slice that its holder has not made under this epoch."""
        encoder = next(e for e in self.encoders if e.channel == held.channel)
        wanted = (n for n in encoder.whole if n >= held.from_msn and n % held.turns == held.turn and n not in done)
        return [n for n in wanted if held.until_msn is None or n < held.until_msn]

    def _go_wrong(self) -> None:
        random = self.random
        alive = [worker for worker in self.workers if worker.is_alive]
        what = random.choice(["kill", "drain", "gone", "join", "join", "stall", "end", "pause"])
        if what == "join":
            self.lives += 1
            name = random.choice([f"p{self.lives}", *(w.packager for w in self.workers)])
            self.workers = [w for w in self.workers if w.packager != name or not w.is_alive or random.random() < 0.5]
            self.workers.append(Worker(packager=name, life=f"l{self.lives}", cores=random.choice([0.1, 0.2])))
        elif what == "kill" and alive:
            random.choice(alive).is_alive = False
        elif what == "drain" and alive:
            random.choice(alive).state = PackagerState.DRAINING
        elif what == "gone" and alive:
            random.choice(alive).state = PackagerState.GONE
        elif what == "stall" and self.encoders:
            encoder = random.choice(self.encoders)
            encoder.is_running = not encoder.is_running
        elif what == "pause":
            self.plane.log.pass_ms(random.randrange(1_000, 15_000))
        elif what == "end" and self.encoders:
            self._end(random.choice(self.encoders))

    def _end(self, encoder: Encoder) -> None:
        if not encoder.is_running or encoder.msn < 0:
            return
        if encoder.whole[-1:] != [encoder.msn]:
            encoder.whole.append(encoder.msn)
        is_over = self.random.random() < 0.5
        end = a_period_end(encoder.channel, period=encoder.period, next_msn=encoder.msn + 1, ended=is_over)
        self.plane.add("channels", end)
        encoder.period += 1
        encoder.gop = encoder.first_gop = encoder.gop_count = 0
        if is_over:
            encoder.is_running = False
        if not is_over or self.random.random() < 0.5:
            encoder.is_running = True
            first = Msn(encoder.msn + 1)
            self.plane.add("channels", a_period(encoder.channel, period=encoder.period, first_msn=first, idle_level=encoder.idle_level))


__all__ = ["POLICY", "Encoder", "Worker", "World"]
