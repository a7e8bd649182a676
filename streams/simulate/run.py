"""A whole installation in virtual time, from a seed: the same code that decides, cuts and renders; everything else is simulated."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from schemas.records import Level, Load
from schemas.units import UnixMs
from streams.core.policy import Policy
from streams.simulate.audience import Audience
from streams.simulate.encoder import Encoder
from streams.simulate.engine import START, Engine, Process
from streams.simulate.faults import Faults
from streams.simulate.log import Delivery, Log
from streams.simulate.origin import Origin, Rendered
from streams.simulate.packager import Packager
from streams.simulate.planner import Planner, Tables
from streams.simulate.world import POLICY, World

ORIGINS = 2
QUIET_MS = 20_000
"""The end of a run is without faults: what went wrong must have been mended by then."""
# After the faults end channels may end: from, to.
FAREWELL_MS = (5_000, 12_000)
RESTART_MS = (200, 4_000)
PAUSE_MS = (200, 9_000)
SHORT_MS = (1_000, 5_000)
OUTAGE_MS = (9_000, 16_000)
SLOWNESS = (5.0, 60.0)
# Capacities in cores: for all channels together, or for two.
CORES = (1.0, 0.012)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """Who plays which part; tests put in others to see that they are caught."""

    packager: type[Packager] = Packager
    encoder: type[Encoder] = Encoder
    planner: type[Planner] = Planner
    origin: type[Origin] = Origin


@dataclass(kw_only=True, slots=True)
class Run:
    """
    What a simulation leaves behind.

    Attributes:
        seed: Seed.
        world: Log, store, diary, policy.
        quiet: When the faults ended.
        end: When it ended.
        playlists: All that was rendered, in order.
        origins: Origins at the end.
        packagers: Packagers at the end, by name.
        rejects: Chunks put aside by any packager, and why.
    """

    seed: int
    world: World
    quiet: UnixMs
    end: UnixMs
    playlists: list[Rendered] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    packagers: dict[str, Packager] = field(default_factory=dict)
    rejects: list[str] = field(default_factory=list)


def simulate(
    seed: int,
    *,
    packagers: int,
    channels: int,
    minutes: float,
    faults: Faults,
    cast: Cast | None = None,
    policy: Policy = POLICY,
    cores: tuple[float, ...] = CORES,
    has_thumbnails: bool = False,
) -> Run:
    """
    One run: equal arguments give equal runs.

    Args:
        seed: Determines all chance.
        packagers: Packagers in the pool.
        channels: Channels.
        minutes: Virtual minutes, the last 20 s of them without faults.
        faults: What goes wrong before.
        cast: Who plays which part.
        policy: Settings of the planner.
        cores: Capacities of packagers, one of which holds for all.
        has_thumbnails: Whether channels have thumbnails.

    >>> run = simulate(2, packagers=2, channels=1, minutes=0.5, faults=Faults())
    >>> len(run.world.store.objects) > 20, run.rejects
    (True, [])
    """
    engine, rng = Engine(), Random(seed)  # noqa: S311
    world = World(
        engine=engine, rng=rng, log=Log(engine), delivery=Delivery(delay_ms=faults.delay_ms, repeat=faults.repeat), drop=faults.drop,
        double=faults.double, lag=faults.lag, skew_ms=faults.skew_ms, policy=policy, has_thumbnails=has_thumbnails,
    )  # fmt: skip
    end = UnixMs(START + int(minutes * 60_000))
    run = Run(seed=seed, world=world, quiet=UnixMs(max(START, end - QUIET_MS)), end=end)
    site = _Site(run, cast or Cast(), faults)
    site.start(packagers, channels, rng.choice(cores))
    engine.run_until(end)
    for origin in run.origins.values():
        origin.catch_up()
    return run


class _Site:
    """Starts processes, breaks them, starts them again."""

    def __init__(self, run: Run, cast: Cast, faults: Faults) -> None:
        self._run = run
        self._world = run.world
        self._rng = run.world.rng
        self._cast = cast
        self._faults = faults
        self._tables = Tables()
        self._planner: Planner | None = None
        self._encoders: dict[str, Encoder] = {}
        self._capacities: dict[str, Load] = {}
        self._audiences: dict[str, Audience] = {}
        self._placed: dict[str, tuple[int, Level]] = {}

    def start(self, packagers: int, channels: int, cores: float) -> None:
        """Starts everything."""
        rng, run = self._rng, self._run
        names = [f"c{number}" for number in range(channels)]
        shares = rng.random() < 1 / 2
        for number, name in enumerate(names):
            self._placed[name] = number // 2 if shares else number, rng.choice((Level.OFF, Level.OFF, Level.PARTS))
            self._start_encoder(name)
        for number in range(ORIGINS):
            origin_id = f"o{number}"
            self._audiences[origin_id] = Audience(names, start=START, end=run.end, rng=rng)
            self._start_origin(origin_id)
        for number in range(packagers):
            self._capacities[f"p{number}"] = Load(cores=cores)
            self._start_packager(f"p{number}")
        self._start_planner()
        self._world.engine.after(1_000, self._trouble)
        self._world.engine.after(run.quiet - START, self._mend)

    # ------------------------------------------------------------ starting

    def _start_encoder(self, channel: str) -> None:
        partition, idle_level = self._placed[channel]
        self._encoders[channel] = self._cast.encoder(self._world, channel, partition=partition, idle_level=idle_level)

    def _start_origin(self, origin_id: str) -> None:
        audience = self._audiences[origin_id]
        self._run.origins[origin_id] = self._cast.origin(self._world, origin_id, audience=audience, playlists=self._run.playlists)

    def _start_packager(self, packager_id: str) -> None:
        packager = self._cast.packager(self._world, packager_id, capacity=self._capacities[packager_id])
        packager.rejects = self._run.rejects
        # A process that ends itself is started again as one that crashes.
        packager.over = lambda: self._world.engine.after(self._rng.randint(*RESTART_MS), lambda: self._start_packager(packager_id))
        self._run.packagers[packager_id] = packager

    def _start_planner(self) -> None:
        self._planner = self._cast.planner(
            self._world, self._tables, is_assigned=lambda planner: planner is self._planner, from_log=self._rng.random() < 1 / 2
        )

    # ------------------------------------------------------------ faults

    def _happens(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _for(self, bounds: tuple[int, int]) -> int:
        """A span that is over when the faults are."""
        return min(self._rng.randint(*bounds), max(1, self._run.quiet - self._world.now))

    def _trouble(self) -> None:
        """One second's worth of trouble."""
        if self._world.now >= self._run.quiet:
            return
        faults = self._faults
        for packager_id in sorted(self._run.packagers):
            self._trouble_packager(packager_id)
        if faults.outage and self._happens(faults.outage):
            self._world.note("outage")
            for packager_id in sorted(self._run.packagers):
                if self._run.packagers[packager_id].is_up:
                    self._kill(self._run.packagers[packager_id], packager_id, partial(self._start_packager, packager_id), OUTAGE_MS)
        for channel in sorted(self._encoders):
            self._trouble_encoder(channel)
        self._trouble_planner()
        for origin_id in sorted(self._run.origins):
            if self._happens(faults.origin) and self._run.origins[origin_id].is_up:
                self._kill(self._run.origins[origin_id], origin_id, partial(self._start_origin, origin_id))
        if self._happens(faults.store):
            self._world.note("store away")
            self._world.store.is_failing = True
            self._world.engine.after(self._for(SHORT_MS), self._return_store)
        self._world.engine.after(1_000, self._trouble)

    def _trouble_packager(self, packager_id: str) -> None:
        faults, packager = self._faults, self._run.packagers[packager_id]

        def again() -> None:
            self._start_packager(packager_id)

        if not packager.is_up:
            return
        if self._happens(faults.crash):
            self._kill(packager, packager_id, again)
        elif self._happens(faults.pause):
            self._pause(packager, packager_id)
        elif self._happens(faults.cut_off):
            self._world.note(f"{packager_id} cut off")
            packager.is_cut_off = True
            self._world.engine.after(self._for(SHORT_MS), lambda: setattr(packager, "is_cut_off", False))
        elif self._happens(faults.slow):
            self._world.note(f"{packager_id} slow")
            packager.slowness = self._rng.uniform(*SLOWNESS)
            self._world.engine.after(self._for(SHORT_MS), lambda: setattr(packager, "slowness", 1.0))
        elif self._happens(faults.own_store):
            self._world.note(f"store refuses {packager_id}")
            packager.is_refused = True
            self._world.engine.after(self._for(SHORT_MS), lambda: setattr(packager, "is_refused", False))
        elif self._happens(faults.drain) and not packager.is_paused:
            self._world.note(f"{packager_id} drains")
            packager.drain(lambda: self._world.engine.after(self._rng.randint(*RESTART_MS), again))

    def _trouble_encoder(self, channel: str) -> None:
        faults, encoder = self._faults, self._encoders[channel]
        if not encoder.is_up:
            return
        if self._happens(faults.crash):
            self._kill(encoder, channel, lambda: self._start_encoder(channel))
        elif self._happens(faults.pause):
            self._pause(encoder, channel)
        elif self._happens(faults.jump):
            self._world.note(f"{channel} jumps")
            encoder.jump(self._rng.randint(*SHORT_MS))

    def _trouble_planner(self) -> None:
        planner = self._planner
        if planner is None or not planner.is_up:
            return
        if self._happens(self._faults.control):
            if self._happens(1 / 2):
                self._kill(planner, "planner", self._start_planner)
            else:
                # It stands still, another takes its place, and then it goes on.
                self._pause(planner, "planner, replaced,")
                self._world.engine.after(self._for(RESTART_MS), self._start_planner)
        elif self._happens(self._faults.pause):
            self._pause(planner, "planner")

    def _kill(self, process: Process, name: str, again: Callable[[], None], away_ms: tuple[int, int] = RESTART_MS) -> None:
        self._world.note(f"{name} crashes")
        process.crash()
        self._world.engine.after(self._for(away_ms), again)

    def _pause(self, process: Process, name: str) -> None:
        self._world.note(f"{name} stands still")
        process.pause(self._for(PAUSE_MS))

    def _return_store(self) -> None:
        self._world.store.is_failing = False

    # ------------------------------------------------------------ the quiet end

    def _mend(self) -> None:
        """No more faults; some channels end."""
        world = self._world
        world.note("quiet")
        world.drop = world.double = world.lag = 0.0
        for encoder in self._encoders.values():
            if self._happens(1 / 3):
                world.engine.after(self._rng.randint(*FAREWELL_MS), encoder.end)
