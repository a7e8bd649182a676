"""All that dealing out slices looks at: the facts, what stands, and what was decided before in the same decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from schemas.records import Action, Assignment, Level, Load, Packaging, Plan, Void
from schemas.topics import life_key
from schemas.units import Msn, UnixMs
from streams.core.dealing import WHOLE, is_backlog, is_derived
from streams.core.facts import ChannelFacts, Facts
from streams.core.lateness import Lateness
from streams.core.liveness import Packager, Status
from streams.core.load import channel_load, share, slice_load, usable
from streams.core.policy import Policy
from streams.core.progress import Progress
from streams.core.rows import Failure
from streams.core.standing import NOBODY, Standing, assignment_key
from streams.core.strategies import Seat
from streams.core.voids import broken, late, room

# What thumbnails write and hold: a picture of some tens of kilobytes per segment, one frame decoded.
PICTURE_BYTES_PER_S = 20_000
PICTURE_MEMORY_BYTES = 8 * 2**20
# Cores that a packager gives to catching up while it follows a live edge (`packager.catch_up_share`), and the most that one range gets of
# what the largest has; so many times as fast as it was encoded a range is read at most.
CATCH_UP_CORES = 0.5
CATCH_UP_SHARE = 0.5
CATCH_UP_SPEED_MAX = 16.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """
    The record that led to something.

    Attributes:
        text: ``topic/partition/offset``; empty when the absence of records led to it.
        at_unix_ms: Its broker time; 0 when there is none.
    """

    text: str = ""
    at_unix_ms: UnixMs = UnixMs(0)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    All that placing looks at.

    Attributes:
        facts: The folds.
        standing: What is in force.
        policy: Settings.
        number: Number of the decision.
        packagers: Lives as judged, by ``packager/life``.
        plans: Granularity of every channel after this decision.
        packaging: Newest start or stop of every channel after this decision.
        sources: Cause of each start, by channel.
        heard: Cause of each packager's state, by ``packager/life``.
        is_whole: Whether everything in force is restated.
        told: How far holders say that they are, by ``slice/copy``.
        lateness: Who is behind.
    """

    facts: Facts
    standing: Standing
    policy: Policy
    number: int
    packagers: Mapping[str, Packager]
    plans: Mapping[str, Plan]
    packaging: Mapping[str, Packaging]
    sources: Mapping[str, Source]
    heard: Mapping[str, Source]
    is_whole: bool
    told: Mapping[str, Msn] = field(default_factory=dict)
    lateness: Lateness = field(default_factory=Lateness)

    @cached_property
    def assignments(self) -> list[tuple[str, Assignment]]:
        """Assignments in force, by ``slice/copy`` in order."""
        return sorted(self.standing.assignments.items())

    @cached_property
    def hedges_count(self) -> int:
        """Slices in force that a second packager makes since the first is late."""
        return sum(1 for held in self.standing.assignments.values() if held.hedges)

    # ------------------------------------------------------------ what was done

    @cached_property
    def voids(self) -> tuple[Void, ...]:
        """Segments that are declared lost now."""
        lost = broken(self.failures, self.before_voids, self.facts, self.alive, number=self.number) if self.has_failures else ()
        known = {(void.channel, void.msn, void.track) for void in lost}
        held = ((assignment, self.floor(assignment)) for _, assignment in self.assignments)
        given_up = late(self.facts, self.packaging, self.before_voids, held, number=self.number)
        declared = (*lost, *(void for void in given_up if (void.channel, void.msn, void.track) not in known))
        return declared[: room(self.standing.voids, self.facts)] if declared else ()

    @cached_property
    def before_voids(self) -> Progress:
        """What was done before this decision."""
        return Progress(self.facts.reports, self.standing.voids)

    @cached_property
    def progress(self) -> Progress:
        """What is done, with the voids of this decision."""
        return Progress(self.facts.reports, (*self.standing.voids, *self.voids)) if self.voids else self.before_voids

    @cached_property
    def failures(self) -> Mapping[str, list[Failure]]:
        """Failures of slices in force under their present epoch and holder, whose segment is not done, by ``slice/copy``."""
        found: dict[str, list[Failure]] = {}
        for failure in self.before_voids.failures() if self.has_failures else ():
            for key in self._copies.get(failure.slice_id, ()):
                held = self.standing.assignments[key]
                is_its = (failure.epoch, failure.packager_id) == (held.epoch, held.packager_id)
                if is_its and not self.before_voids.is_track_done(failure.channel, failure.msn, failure.track):
                    found.setdefault(key, []).append(failure)
        return found

    @cached_property
    def has_failures(self) -> bool:
        """Whether any failure is remembered: mostly none is."""
        return any(row.failures for row in self.facts.reports.values())

    @cached_property
    def _copies(self) -> Mapping[str, list[str]]:
        """Keys in force of each slice."""
        copies: dict[str, list[str]] = {}
        for key, held in self.standing.assignments.items():
            copies.setdefault(held.slice_id, []).append(key)
        return copies

    def floor(self, held: Assignment) -> Msn:
        """
        The segment that everything before was done: as the assignment says, which is moved on each minute, or as its holder says.

        Of a holder that catches up, what it has done and what not is older than what the index remembers.
        """
        told = self.told.get(key := assignment_key(held))
        if told is None or told <= held.from_msn:
            return held.from_msn
        failed = [failure.msn for failure in self.failures.get(key, ())] if self.has_failures else []
        return max(held.from_msn, min([told, *failed]))

    # ------------------------------------------------------------ who holds what

    @cached_property
    def alive(self) -> Mapping[str, Packager]:
        """Packagers that may be given work, by name."""
        return {p.packager_id: p for p in self.packagers.values() if p.status is Status.ALIVE}

    @cached_property
    def seats(self) -> tuple[Seat, ...]:
        """Those as seats, with nothing charged."""
        settings = self.policy.assignment
        return tuple(
            Seat(
                packager_id=packager.packager_id,
                life=packager.life,
                usable=usable(packager.capacity, utilisation=settings.utilisation_max, part_ms_budget=settings.part_ms_budget),
            )
            for packager in self.alive.values()
        )

    def holder(self, held: Assignment) -> Packager | None:
        """The life that holds a slice, if it was heard of lately."""
        return self.packagers.get(life_key(held.packager_id, held.life))

    def is_bookmark(self, held: Assignment) -> bool:
        """Whether nobody has worked on a slice since its assignment was written."""
        return held.packager_id == NOBODY or life_key(held.packager_id, held.life) in self.standing.dead

    def is_working(self, held: Assignment) -> bool:
        """Whether the holder of a slice is not known to be dead."""
        packager = self.holder(held)
        return packager is not None and packager.status is not Status.DEAD

    def until(self, channel: str) -> Msn | None:
        """First segment of a channel that is not wanted, or will not come."""
        word, facts = self.packaging.get(channel), self.facts.channels[channel]
        ends = [word.from_msn] if word and word.action is Action.STOP else []
        return min([*ends, facts.end.next_msn] if facts.end else ends, default=None)

    def is_packaged(self, channel: str) -> bool:
        """Whether a channel is packaged, with no end in sight."""
        word = self.packaging.get(channel)
        return word is not None and word.action is Action.START and self.until(channel) is None

    def level(self, channel: str) -> Level:
        """What of a channel is made by who takes up a slice now."""
        word = self.packaging.get(channel)
        return word.level if word and word.action is Action.START else Level.PARTS

    # ------------------------------------------------------------ loads

    def load(self, channel: str) -> Load:
        """What a channel takes at its granularity after this decision."""
        load = self._loads.get(channel)
        if load is None:
            facts = self.facts.channels[channel]
            load = channel_load(facts, self.facts.cost, gops_per_segment=self._gops(facts), level=self.level(channel))
            self._loads[channel] = load
        return load

    def slice_load(self, facts: ChannelFacts, slice_id: str, tracks: tuple[str, ...], turns: int) -> Load:
        """What a slice takes at the live edge, or while its backlog is caught up."""
        if turns == 1 and f"/{WHOLE}/" in slice_id:
            return self.load(facts.channel)
        load = self._loads.get(slice_id)
        if load is None:
            load = self._loads[slice_id] = self._slice_load(facts, slice_id, tracks, turns)
        return load

    def _slice_load(self, facts: ChannelFacts, slice_id: str, tracks: tuple[str, ...], turns: int) -> Load:
        if is_derived(slice_id):
            segment_s = self._gops(facts) * facts.gop_ms / 1_000
            return Load(
                cores=self.facts.cost.per_thumbnail / segment_s,
                memory_bytes=PICTURE_MEMORY_BYTES,
                in_bytes_per_s=int(facts.bytes_per_s),
                out_bytes_per_s=PICTURE_BYTES_PER_S,
            )

        def at(speed: float) -> Load:
            gops, level = self._gops(facts), self.level(facts.channel)
            return slice_load(facts, self.facts.cost, level=level, gops_per_segment=gops, tracks=tracks, turns=turns, speed=speed)

        if not is_backlog(slice_id):
            return at(1.0)
        # What is caught up falls due at no instant.
        live = replace(at(1.0), part_ms=0.0)
        largest = min((share(live, seat.usable) for seat in self.seats), default=1.0)
        fastest = min(CATCH_UP_CORES / live.cores if live.cores else 1.0, CATCH_UP_SHARE / largest if largest else 1.0, CATCH_UP_SPEED_MAX)
        return replace(at(max(1.0, fastest)), part_ms=0.0)

    def _gops(self, facts: ChannelFacts) -> int:
        plan = self.plans.get(facts.channel)
        return plan.gops_per_segment if plan else facts.gops_max

    @cached_property
    def _loads(self) -> dict[str, Load]:
        return {}
