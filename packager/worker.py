"""The loop of a packager: read, cut, check, publish, announce, report, beat; drain when asked to."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from packager import metrics
from packager.boxes import check_chunk
from packager.client import Client, Media
from packager.cuts import Cut, CutFailed, CutPart, CutPicture, CutReject, CutSegment, Told
from packager.hands import Call, Hands
from packager.holding import Assigned, Withdrawn, Work
from packager.pace import Pace
from packager.publisher import Published, Publisher, failure_of, part_of, report_of
from packager.scope import Scope
from packager.slicing import PeriodUnknownError, SliceCutter
from packager.store import Store
from packager.thumbnails import jpeg
from schemas.errors import ConflictError, FinecutError, RejectedError, RetryableError
from schemas.records import Assignment, Chunk, Fault, MediaMark, PackagerState, Part, SegmentReport
from schemas.settings import Settings
from schemas.units import Ms

log = structlog.get_logger()

# Objects on their way to the store at once: enough to hide the latency of a store behind a network. The past has threads of its own,
# so that no part of the live edge waits behind it; so have thumbnails, which are decoded and encoded there.
PUBLISHING_MAX = 8
PUBLISHING_PAST_MAX = 2
PICTURING_MAX = 1
# Beyond the time that a store is tried for: a call that takes longer does not come back.
PATIENCE_S = 1.0
# How long a packager that leaves waits for what is on its way to the store.
LEAVE_S = 2.0
# Share of the memory for chunks that the past may fill.
PAST_MEMORY_SHARE = 4
# What a slice spends on chunks of tracks that it does not make is charged to the next thing it reports.
OTHERS = ""
# Longest wait for Kafka while nothing, or while something, is on its way to the store.
IDLE_S = 0.01
BUSY_S = 0.001


@dataclass(slots=True)
class _Job:
    """A cut on its way to the store, for an assignment; without a call it needs none."""

    cut: Told
    assignment: Assignment
    call: Call[Published] | None
    is_live: bool = True


@dataclass(slots=True)
class _Work(Work[_Job]):
    """A slice in hand, and what it costs."""

    cpu_us: dict[str, int] = field(default_factory=dict)
    beyond: int = 0
    instant: tuple[int, int] = (-1, -1)
    instant_us: int = 0
    is_live: bool = False


class Worker:
    """One packager at work."""

    def __init__(self, settings: Settings, client: Client, store: Store) -> None:
        """
        Args:
            settings: All settings.
            client: Its side of the log.
            store: Where objects go.
        """
        self._settings = settings
        self._client = client
        self._closing = threading.Event()
        self._publisher = Publisher(store, retry_ms=Ms(settings.packager.publish_retry_ms), wait=self._closing.wait)
        hands = partial(Hands[Published], patience_s=settings.packager.publish_retry_ms / 1_000 + PATIENCE_S)
        self._hands = {True: hands(PUBLISHING_MAX, name="publish"), False: hands(PUBLISHING_PAST_MAX, name="publish-past")}
        self._picturing = hands(PICTURING_MAX, name="picture")
        self._pace = Pace(settings.packager.catch_up_share)
        self._works: dict[str, _Work] = {}
        self._publishing_bytes = {True: 0, False: 0}
        self._is_paused = False

    def held_bytes(self, *, is_live: bool) -> int:
        """Payload bytes in memory, of open segments and on their way to the store: of the live edge, or of what catches up."""
        held = sum(work.cutter.held_bytes for work in self._works.values() if work.is_live is is_live)
        return self._publishing_bytes[is_live] + held

    def run(self, *, must_drain: Callable[[], bool], must_leave: Callable[[], bool] = lambda: False) -> None:
        """
        Works until asked to drain and drained.

        Args:
            must_drain: Whether to finish what is in hand and leave.
            must_leave: Whether to leave what is in hand: the next packager makes it from the log.

        Raises:
            UserError: A younger packager uses our name.
            LifeOverError: We were declared dead: what is in hand is another's now.
        """
        deadline = 0.0
        try:
            while True:
                self._turn()
                if not deadline and must_drain():
                    deadline = time.monotonic() + self._settings.packager.drain_ms / 1_000
                    log.info("draining", slices=len(self._works))
                    self._client.state = PackagerState.DRAINING
                    self._client.beat()
                if must_leave() or (deadline and self._has_drained(deadline)):
                    break
            self._client.state = PackagerState.GONE
            self._client.beat()
            self._client.flush(self._settings.packager.drain_ms / 1_000)
        finally:
            self._closing.set()
            until = time.monotonic() + LEAVE_S
            for hands in (*self._hands.values(), self._picturing):
                hands.close(max(0.0, until - time.monotonic()))

    def _turn(self) -> None:
        is_paused = not self._has_room(is_live=True)
        if is_paused and not self._is_paused:
            metrics.PACKAGER_PAUSES.inc()
        self._is_paused = is_paused
        has_time = self._pace.may_go_on(time.monotonic()) or not self._client.has_tail
        busy = any(work.jobs for work in self._works.values())
        events = self._client.poll(
            BUSY_S if busy else IDLE_S, read_live=not is_paused, read_past=has_time and self._has_room(is_live=False)
        )
        for event in events:
            match event:
                case Assigned():
                    self._obey(event)
                case Withdrawn():
                    self._withdraw(event)
                case Media():
                    self._hand_out(event)
        self._resume()
        self._collect()

    def _has_room(self, *, is_live: bool) -> bool:
        """Whether to read on; with nothing on its way to the store only that can free the segments that are open."""
        limit = self._settings.packager.tail_bytes_max
        past = limit // PAST_MEMORY_SHARE
        return self._publishing_bytes[is_live] == 0 or self.held_bytes(is_live=is_live) < (limit - past if is_live else past)

    def _hand_out(self, event: Media) -> None:
        began, is_needed = time.monotonic(), isinstance(event.record, MediaMark)
        for key in event.arrival.slices:
            if work := self._works.get(key):
                work.is_live = event.arrival.is_live
                is_needed |= self._take(work, event)
        if not is_needed:
            self._client.pass_over(event.arrival)
        if not event.arrival.is_live:
            self._pace.spend(time.monotonic() - began)

    # ------------------------------------------------------------ assignments

    def _obey(self, event: Assigned) -> None:
        new, work = event.assignment, self._works.get(event.key)
        log.info("slice_assigned", slice=event.key, epoch=new.epoch, from_msn=new.from_msn, until_msn=new.until_msn, cause=new.cause)
        if work and work.becomes(new):
            return
        fresh = _Work(key=event.key, assignment=new, cutter=SliceCutter(Scope.of(new), check=check_chunk))
        if work:
            fresh.jobs = work.jobs
            self._client.meter.drop(event.key)  # it may have had parts, and have none now
        self._works[event.key] = fresh
        self._client.follow(event.key, new)

    def _withdraw(self, event: Withdrawn) -> None:
        work = self._works.get(event.key)
        if work is None:
            self._client.leave(event.key)
            return
        log.info("slice_withdrawn", slice=event.key, epoch=work.assignment.epoch, from_msn=event.from_msn)
        work.withdraw(event.from_msn)
        self._pause_if_stopped(work)

    def _pause_if_stopped(self, work: _Work) -> None:
        if work.is_stopped:
            self._client.pause(work.key)

    def _resume(self) -> None:
        """Reads on where the configuration of a period was missing and has come."""
        for work in self._works.values():
            if work.waits_for and work.waits_for[0] in self._client.periods.get(work.assignment.channel, {}):
                self._client.follow(work.key, work.assignment, offset=work.waits_for[1])
                work.waits_for = None

    def _has_drained(self, deadline: float) -> bool:
        left_ms = (deadline - time.monotonic()) * 1_000
        if left_ms < self._settings.packager.drain_ms / 2:
            # The planner had its time to move them: leave each at the end of its open segment, if there is one.
            for work in self._works.values():
                work.finish()
                self._pause_if_stopped(work)
        return not self._works or left_ms <= 0

    # ------------------------------------------------------------ cutting

    def _take(self, work: _Work, event: Media) -> bool:
        """Cuts what is to be cut; whether the payload was needed."""
        if work.is_stopped or work.waits_for:
            return False
        arrival, record = event.arrival, event.record
        began, cpu = time.perf_counter(), time.thread_time_ns()
        try:
            is_needed = isinstance(record, Chunk) and work.cutter.needs(record)
            periods = self._client.periods.get(work.assignment.channel, {})
            cuts = work.cutter.feed(record, offset=arrival.offset, durable_unix_ms=arrival.durable_unix_ms, periods=periods)
        except RejectedError as error:
            self._client.reject(arrival, str(error))
            return True
        except PeriodUnknownError as missing:
            log.info("period_awaited", slice=work.key, period=missing.period)
            work.waits_for = (missing.period, arrival.offset)
            self._client.pause(work.key)
            return False
        if isinstance(record, Chunk):
            track = record.track if record.track in work.assignment.tracks else OTHERS
            work.cpu_us[track] = work.cpu_us.get(track, 0) + (time.thread_time_ns() - cpu) // 1_000
            metrics.PACKAGER_STAGE.labels("cut", "chunk").observe(time.perf_counter() - began)
        metrics.PACKAGER_CUT_OFF.inc(work.cutter.chunks_beyond - work.beyond)
        work.beyond = work.cutter.chunks_beyond
        for cut in cuts:
            self._dispatch(work, cut, event)
        return is_needed

    def _dispatch(self, work: _Work, cut: Cut, event: Media) -> None:
        if isinstance(cut, CutReject):
            self._client.reject(event.arrival, cut.error)
        elif isinstance(cut, CutFailed):
            work.jobs.append(_Job(cut, work.assignment, None))
        else:
            is_live = event.arrival.is_live
            self._publishing_bytes[is_live] += cut.size
            if isinstance(cut, CutPicture):
                call = self._picturing.call(partial(self._picture, cut))
            else:
                call = self._hands[is_live].call(partial(self._publisher.publish, cut.name, cut.pieces))
            work.jobs.append(_Job(cut, work.assignment, call, is_live))

    def _picture(self, cut: CutPicture) -> Published:
        """The thumbnail of a segment, published; in a thread of its own."""
        cpu = time.thread_time_ns()
        published = self._publisher.publish(cut.name, (jpeg(cut),))
        return replace(published, cpu_us=(time.thread_time_ns() - cpu) // 1_000)

    # ------------------------------------------------------------ publishing

    def _collect(self) -> None:
        """Announces and reports what has reached the store, each slice in the order of its cuts."""
        parts: list[Part] = []
        reports: list[SegmentReport] = []
        now_s = time.monotonic()
        for work in list(self._works.values()):
            while work.jobs and ((call := work.jobs[0].call) is None or call.is_done or call.is_stuck(now_s)):
                job = work.jobs.popleft()
                if isinstance(job.cut, CutFailed):
                    reports.append(self._failed(work, job, Fault.INPUT, job.cut.error))
                    continue
                assert call is not None  # noqa: S101
                self._publishing_bytes[job.is_live] -= job.cut.size
                try:
                    published = _result(call, job.cut.name)
                except RejectedError as error:
                    reports.append(self._failed(work, job, Fault.INPUT, str(error)))
                except ConflictError as error:
                    metrics.PACKAGER_CONFLICTS.inc()
                    reports += self._refused(work, job, Fault.OWN, error)
                except RetryableError as error:
                    reports += self._refused(work, job, Fault.STORE, error)
                except MemoryError:
                    raise  # it is the process that fails, not the segment
                except Exception as error:  # raised, it would end every packager that gets this segment, one after the other
                    log.error("unforeseen", slice=work.key, name=job.cut.name, exc_info=error)
                    reports += self._refused(work, job, Fault.OWN, error)
                else:
                    self._count(job, published)
                    if isinstance(job.cut, CutPart):
                        parts.append(part_of(job.cut, published))
                        self._weigh(work, job.cut, published)
                    else:
                        reports.append(self._published(work, job.assignment, job.cut, published))
            self._client.progress(work.key, work.progress)
            if work.is_over:
                log.info("slice_left", slice=work.key, epoch=work.assignment.epoch, next_msn=work.cutter.next_msn)
                del self._works[work.key]
                leave = self._client.leave if work.is_withdrawn else self._client.pause
                leave(work.key)
        if parts:
            self._client.announce(tuple(parts))
        if reports:
            self._client.report(tuple(reports))
        metrics.PACKAGER_SLICES.set(len(self._works))
        metrics.PACKAGER_HELD.labels("publishing").set(sum(self._publishing_bytes.values()))
        metrics.PACKAGER_HELD.labels("open").set(sum(work.cutter.held_bytes for work in self._works.values()))

    def _weigh(self, work: _Work, cut: CutPart, published: Published) -> None:
        """Part work of one instant is that of all tracks of the slice together."""
        instant = (cut.msn, cut.index)
        if instant != work.instant:
            if work.instant_us:
                self._client.meter.add_part(work.key, work.instant_us / 1_000)
            work.instant, work.instant_us = instant, 0
        work.instant_us += published.publish_us
        work.cpu_us[cut.track.track] = work.cpu_us.get(cut.track.track, 0) + published.cpu_us

    def _count(self, job: _Job, published: Published) -> None:
        kind = "part" if isinstance(job.cut, CutPart) else "picture" if isinstance(job.cut, CutPicture) else "segment"
        metrics.PACKAGER_OBJECTS.labels(kind, "existed" if published.existed else "created").inc()
        metrics.PACKAGER_STAGE.labels("publish", kind).observe(published.publish_us / 1e6)
        if job.is_live:
            metrics.PACKAGER_LATENESS.labels(kind).observe(max(0, self._client.clock.nearest() - job.cut.durable_unix_ms) / 1_000)
        else:
            self._pace.spend(published.cpu_us / 1e6)
        metrics.PACKAGER_PUBLISHED.inc(published.size)
        metrics.PACKAGER_RETRIES.inc(published.attempts - 1)
        self._client.meter.out_bytes += 0 if published.existed else published.size

    def _published(self, work: _Work, held: Assignment, cut: CutSegment | CutPicture, published: Published) -> SegmentReport:
        cpu_us = self._spent_us(work, cut) + published.cpu_us
        if isinstance(cut, CutSegment):
            metrics.PACKAGER_SEGMENT_CPU.observe(cpu_us / 1e6)
        return report_of(held, cut, published, cpu_us=cpu_us)

    def _spent_us(self, work: _Work, cut: Told) -> int:
        """CPU time of the loop since the last report of a track, and since any report on tracks of others."""
        return work.cpu_us.pop(cut.track.track, 0) + work.cpu_us.pop(OTHERS, 0)

    def _refused(self, work: _Work, job: _Job, fault: Fault, error: Exception) -> list[SegmentReport]:
        """The report of a segment that we failed with, or the store did not take; a part has none, its segment is tried by itself."""
        why = str(error) if isinstance(error, FinecutError) else repr(error)
        if not isinstance(job.cut, CutPart):
            work.refuse(job.assignment, job.cut.msn)
            return [self._failed(work, job, fault, why)]
        log.error("part_failed", name=job.cut.name, fault=fault, error=why)
        metrics.PACKAGER_FAILURES.labels(fault).inc()
        return []

    def _failed(self, work: _Work, job: _Job, fault: Fault, error: str) -> SegmentReport:
        cut, held = job.cut, job.assignment
        log.error("segment_failed", slice=work.key, track=cut.track.track, msn=cut.msn, fault=fault, error=error)
        metrics.PACKAGER_FAILURES.labels(fault).inc()
        return failure_of(held, cut, fault, error, cpu_us=self._spent_us(work, cut))


def _result(call: Call[Published], name: str) -> Published:
    """
    What was published.

    Raises:
        RetryableError: The store does not answer.
    """
    if call.is_done:
        return call.future.result()
    call.future.cancel()  # if it has not begun: then it holds its pieces no longer
    raise RetryableError(f"the store does not answer for {name}", retry_after_ms=0)
