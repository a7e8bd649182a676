"""
A packager: assignments and chunks in by offset, the real cutter, objects, parts and reports out; it beats, drains, crashes.

It notices as the real one does that it was declared dead, and is another life then.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from packager.boxes import check_chunk
from packager.cuts import CutFailed, CutPart, CutReject, CutSegment, Made, Told
from packager.digest import digest
from packager.holding import Assigned, Died, Inbox, Withdrawn, Work
from packager.scope import Scope
from packager.slicing import PeriodUnknownError, SliceCutter
from schemas.errors import ConflictError, RejectedError, RetryableError
from schemas.records import (
    Assignment,
    Fault,
    Heartbeat,
    Load,
    Outcome,
    PackagerState,
    Part,
    Parts,
    Period,
    Reports,
    SegmentReport,
    SliceProgress,
)
from schemas.topics import ASSIGNMENTS, CHANNELS, HEARTBEATS, MEDIA, PARTS, REPORTS, Topic
from schemas.units import Ms
from streams.simulate.engine import Process
from streams.simulate.log import Entry, Reader
from streams.simulate.store import RETRY_MS
from streams.simulate.world import POOL, World

START_MS = 400
# Publishing one object takes this long at an ordinary packager: from, to.
PUBLISH_MS = (1, 6)
# From the first try of a record to the one that the broker takes, if it does not take the first.
LAG_MS = (150, 1_200)
# Shorter than the longest outages of the store, so that segments are refused for good and given out once more.
RETRY_FOR_MS = 1_500
DRAIN_MS = 10_000
DRAIN_LOOK_MS = 50


@dataclass(slots=True)
class _Job:
    """A cut on its way to the store, for an assignment."""

    cut: Told
    assignment: Assignment
    error: str = ""
    fault: Fault | None = None
    is_done: bool = False


@dataclass(slots=True)
class _Work(Work[_Job]):
    """A slice in hand, and its reader."""

    reader: Reader | None = None


class Packager(Process):
    """
    One life of a packager.

    Attributes:
        packager_id: Name.
        life: Run.
        capacity: What it says it can carry.
        state: What it says of itself.
        slowness: How many times longer than usual publishing takes.
        is_cut_off: Whether its heartbeats are lost though it works.
        is_refused: Whether the store takes nothing from it.
        rejects: Chunks it put aside, and why.
        over: Called when this life has ended itself, since it was declared dead.
    """

    def __init__(self, world: World, packager_id: str, *, capacity: Load) -> None:
        """
        Args:
            world: Where it runs.
            packager_id: Name.
            capacity: What it says it can carry.
        """
        super().__init__(world.engine)
        self.packager_id = packager_id
        self.life = world.random_life()
        self.state = PackagerState.READY
        self.slowness = 1.0
        self.is_cut_off = False
        self.is_refused = False
        self.rejects: list[str] = []
        self.over: Callable[[], None] = lambda: None
        self._sent_at = 0
        self._unsent: deque[tuple[Topic, object]] = deque()
        self._world = world
        self.capacity = capacity
        self._beats = 0
        self._free_at = 0
        self._periods: dict[str, dict[int, Period]] = {}
        self._works: dict[str, _Work] = {}
        self._progress: dict[str, SliceProgress] = {}
        self._told: tuple[SliceProgress, ...] = ()
        self._inbox = Inbox(packager_id, self.life)
        self.after(world.rng.randint(1, START_MS), self._start)

    def drain(self, left: Callable[[], None]) -> None:
        """Finishes what is in hand and leaves; calls back when it has left."""
        self.state = PackagerState.DRAINING
        self._beat()
        self._look_drained(self.engine.now + DRAIN_MS, left)

    def _start(self) -> None:
        """Reads the compacted topics to their ends, then registers with the first heartbeat, then follows."""
        log, rng, delivery = self._world.log, self._world.rng, self._world.delivery
        for topic, take in ((CHANNELS, self._configure), (ASSIGNMENTS, self._assign)):
            end = len(log.entries(topic, POOL))
            for entry in log.compacted(topic, POOL):
                take(entry)
            Reader(log, self, topic, take, rng=rng, delivery=delivery, partition=POOL, offset=end)
        self._beat_on()

    def _beat_on(self) -> None:
        self._beat()
        self.after(self._world.policy.liveness.heartbeat_ms, self._beat_on)

    def _beat(self) -> None:
        self._progress |= {key: work.progress for key, work in self._works.items()}
        if not any(topic is REPORTS for topic, _ in self._unsent):
            # Who takes a slice over goes by it: what it says is done must be reported, even if we die now.
            self._told = tuple(self._progress[key] for key in sorted(self._progress))
        beat = Heartbeat(
            packager_id=self.packager_id,
            life=self.life,
            state=self.state,
            number=self._beats,
            interval_ms=Ms(self._world.policy.liveness.heartbeat_ms),
            capacity=self.capacity,
            use=Load(),
            slices=self._told,
        )
        self._beats += 1
        if not self.is_cut_off and self._world.rng.random() >= self._world.drop:
            self._send(HEARTBEATS, beat)

    def _end(self) -> None:
        """Ends this life, which counts as dead: another begins."""
        if self.is_up:
            self._world.note(f"{self.packager_id} was declared dead, is another life")
            self.crash()
            self.over()

    def _send(self, topic: Topic, record: object) -> None:
        """Appends a record, in the order of all that is sent."""
        now = self.engine.now
        if self._world.lag and self._world.rng.random() < self._world.lag:
            self._sent_at = max(self._sent_at, now) + self._world.rng.randint(*LAG_MS)
        self._unsent.append((topic, record))
        if self._sent_at > now or len(self._unsent) > 1:
            self.after(max(0, self._sent_at - now), self._append)
        else:
            self._append()

    def _append(self) -> None:
        topic, record = self._unsent.popleft()
        self._world.log.append(topic, POOL, self.packager_id, record, sender=self.packager_id)

    # ------------------------------------------------------------ control topics

    def _configure(self, entry: Entry) -> None:
        if isinstance(entry.record, Period):
            self._periods.setdefault(entry.record.channel, {})[entry.record.period] = entry.record
            for work in list(self._works.values()):
                if work.waits_for and work.waits_for[0] in self._periods.get(work.assignment.channel, {}):
                    self._follow(work, work.waits_for[1])
                    work.waits_for = None

    def _assign(self, entry: Entry) -> None:
        match self._inbox.fold(entry.key, entry.record, decision=entry.decision):
            case Assigned() as event:
                self._obey(event.key, event.assignment)
            case Died():
                self._end()
            case Withdrawn() as event:
                if work := self._works.get(event.key):
                    work.withdraw(event.from_msn)
                    self._settle(work)
                else:
                    self._progress.pop(event.key, None)

    def _obey(self, key: str, new: Assignment) -> None:
        work = self._works.get(key)
        if work and work.becomes(new):
            return
        fresh = _Work(key=key, assignment=new, cutter=self._cutter(new))
        if work:
            fresh.jobs = work.jobs
            self._leave(work)
        self._works[key] = fresh
        self._follow(fresh, new.first_offset)

    def _cutter(self, assignment: Assignment) -> SliceCutter:
        return SliceCutter(Scope.of(assignment), check=check_chunk)

    def _settle(self, work: _Work) -> None:
        if work.is_stopped:
            self._leave(work)
        self._collect(work)

    def _look_drained(self, deadline: int, left: Callable[[], None]) -> None:
        remaining = deadline - self.engine.now
        if remaining < DRAIN_MS // 2:
            for work in list(self._works.values()):
                work.finish()
                self._settle(work)
        if self._works and remaining > 0:
            self.after(DRAIN_LOOK_MS, lambda: self._look_drained(deadline, left))
            return
        self.state = PackagerState.GONE
        self._beat()
        self.after(max(0, self._sent_at - self.engine.now) + 1, lambda: self._go(left))

    def _go(self, left: Callable[[], None]) -> None:
        self.crash()
        left()

    # ------------------------------------------------------------ media in, objects out

    def _follow(self, work: _Work, offset: int) -> None:
        self._leave(work)
        work.reader = Reader(
            self._world.log, self, MEDIA, lambda entry: self._take(work, entry), rng=self._world.rng, delivery=self._world.delivery,
            partition=work.assignment.media_partition, offset=offset,
        )  # fmt: skip

    def _leave(self, work: _Work) -> None:
        if work.reader:
            work.reader.close()

    def _take(self, work: _Work, entry: Entry) -> None:
        record = entry.record
        if work.is_stopped or work.waits_for or record is None or record.channel != work.assignment.channel:
            return
        try:
            cuts = work.cutter.feed(
                record, offset=entry.offset, durable_unix_ms=entry.at, periods=self._periods.get(work.assignment.channel, {})
            )
        except RejectedError as error:
            self._reject(entry, str(error))
            return
        except PeriodUnknownError as missing:
            work.waits_for = (missing.period, entry.offset)
            self._leave(work)
            return
        for cut in cuts:
            if isinstance(cut, CutReject):
                self._reject(entry, cut.error)
                continue
            job = _Job(cut, work.assignment)
            work.jobs.append(job)
            if isinstance(cut, CutFailed):
                job.is_done, job.fault, job.error = True, Fault.INPUT, cut.error
            else:
                cost = round(self._world.rng.randint(*PUBLISH_MS) * self.slowness)
                self._free_at = max(self._free_at, self.engine.now) + cost
                deadline = self.engine.now + RETRY_FOR_MS
                self.after(self._free_at - self.engine.now, partial(self._publish, work, job, deadline))
        self._collect(work)

    def _reject(self, entry: Entry, error: str) -> None:
        self.rejects.append(f"{self.packager_id} at {entry.partition}/{entry.offset}: {error}")

    def _publish(self, work: _Work, job: _Job, deadline: int) -> None:
        assert not isinstance(job.cut, CutFailed)  # noqa: S101
        try:
            if self.is_refused:
                raise RetryableError("the store takes nothing from this packager", retry_after_ms=RETRY_MS)
            self._world.store.create_if_absent(self._name(job.cut), job.cut.pieces)
        except RetryableError as error:
            if self.engine.now < deadline:
                self.after(error.retry_after_ms, lambda: self._publish(work, job, deadline))
                return
            job.fault, job.error = Fault.STORE, str(error)
        except ConflictError as error:
            job.fault, job.error = Fault.OWN, str(error)
        job.is_done = True
        self._collect(self._works.get(work.key, work))

    def _name(self, cut: Made) -> str:
        return cut.name

    def _collect(self, work: _Work) -> None:
        """Announces and reports what has reached the store, in the order of the cuts."""
        parts: list[Part] = []
        reports: list[SegmentReport] = []
        while work.jobs and work.jobs[0].is_done:
            job = work.jobs.popleft()
            if not isinstance(job.cut, CutPart):
                if job.fault in {Fault.STORE, Fault.OWN}:
                    work.refuse(job.assignment, job.cut.msn)
                reports.append(_report(job))
            elif job.fault is None:
                parts.append(_part(job.cut))
        if parts:
            self._send(PARTS, Parts(packager_id=self.packager_id, life=self.life, parts=tuple(parts)))
        if reports:
            self._send(REPORTS, Reports(packager_id=self.packager_id, life=self.life, segments=tuple(reports)))
        if work.is_over and self._works.get(work.key) is work:
            self._leave(work)
            del self._works[work.key]
            self._progress[work.key] = work.progress
            if work.is_withdrawn:
                del self._progress[work.key]


def _part(cut: CutPart) -> Part:
    return Part(
        channel=cut.period.channel, period=cut.period.period, track=cut.track.track, msn=cut.msn, index=cut.index,
        segment_start_ticks=cut.segment_start_ticks, segment_ticks=cut.segment_ticks, start_ticks=cut.start_ticks,
        duration_ticks=cut.duration_ticks, independent=cut.independent, size=cut.size, digest=digest(cut.pieces),
        durable_unix_ms=cut.durable_unix_ms,
    )  # fmt: skip


def _report(job: _Job) -> SegmentReport:
    cut, held = job.cut, job.assignment
    made = None if isinstance(cut, CutFailed) or job.fault else cut
    return SegmentReport(
        channel=cut.period.channel, period=cut.period.period, track=cut.track.track, msn=cut.msn, slice_id=held.slice_id, epoch=held.epoch,
        outcome=Outcome.PUBLISHED if made else Outcome.FAILED, start_ticks=cut.start_ticks, duration_ticks=cut.duration_ticks,
        part_count=made.part_count if isinstance(made, CutSegment) else 0, chunk_count=len(made.pieces) if made else 0,
        size=made.size if made else 0,
        digest=digest(made.pieces) if made else b"", durable_unix_ms=cut.durable_unix_ms, fault=job.fault, error=job.error,
    )  # fmt: skip
