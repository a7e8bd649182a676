"""Publishes objects (create if absent, tried again within one deadline, measured) and makes the records that tell of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packager.cuts import CutPart, CutPicture, CutSegment, Told
from packager.digest import digest
from packager.store import Publication, Store
from schemas.errors import RetryableError
from schemas.records import Assignment, Fault, Outcome, Part, SegmentReport
from schemas.units import Ms


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """
    An object that can be fetched.

    Attributes:
        name: Its name.
        size: Bytes.
        digest: XXH3-128 of its bytes.
        existed: Whether equal bytes were there before.
        attempts: Tries it took.
        cpu_us: CPU time of this thread.
        publish_us: Wall time from the first try to the end of the last.
    """

    name: str
    size: int
    digest: bytes
    existed: bool
    attempts: int
    cpu_us: int
    publish_us: int


class Publisher:
    """Puts objects into a store; may be used by many threads at once."""

    def __init__(
        self,
        store: Store,
        *,
        retry_ms: Ms,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """
        Args:
            store: Where objects go.
            retry_ms: How long a failing store is tried for one object, all attempts together.
            monotonic_ns: The clock that measures and ends tries.
            wait: Waits some seconds; returns true to give up at once.
        """
        self._store = store
        self._retry_ms = retry_ms
        self._monotonic_ns = monotonic_ns
        self._wait = wait

    def publish(self, name: str, pieces: Sequence[bytes]) -> Published:
        """
        The object, once it can be fetched.

        Raises:
            ConflictError: It exists with other bytes.
            RetryableError: The store refused it until the deadline; says what the last refusal was.
        """
        began, cpu = self._monotonic_ns(), time.thread_time_ns()
        attempts = 0
        while True:
            attempts += 1
            try:
                result = self._store.create_if_absent(name, pieces)
                break
            except RetryableError as error:
                spent_ms = (self._monotonic_ns() - began) // 1_000_000
                left_ms = self._retry_ms - spent_ms
                if left_ms <= 0 or self._wait(min(error.retry_after_ms, left_ms) / 1_000):
                    raise RetryableError(
                        f"{error}; given up after {attempts} tries in {spent_ms} ms", retry_after_ms=error.retry_after_ms
                    ) from error
        return Published(
            name=name,
            size=sum(map(len, pieces)),
            digest=digest(pieces),
            existed=result is Publication.EXISTED,
            attempts=attempts,
            cpu_us=(time.thread_time_ns() - cpu) // 1_000,
            publish_us=(self._monotonic_ns() - began) // 1_000,
        )


def part_of(cut: CutPart, published: Published) -> Part:
    """What origins are told of a part."""
    return Part(
        channel=cut.period.channel,
        period=cut.period.period,
        track=cut.track.track,
        msn=cut.msn,
        index=cut.index,
        segment_start_ticks=cut.segment_start_ticks,
        segment_ticks=cut.segment_ticks,
        start_ticks=cut.start_ticks,
        duration_ticks=cut.duration_ticks,
        independent=cut.independent,
        size=published.size,
        digest=published.digest,
        durable_unix_ms=cut.durable_unix_ms,
    )


def report_of(held: Assignment, cut: CutSegment | CutPicture, published: Published, *, cpu_us: int = 0) -> SegmentReport:
    """The report of a segment, or of the thumbnail of one, that was published for an assignment."""
    return SegmentReport(
        channel=cut.period.channel,
        period=cut.period.period,
        track=cut.track.track,
        msn=cut.msn,
        slice_id=held.slice_id,
        epoch=held.epoch,
        outcome=Outcome.PUBLISHED,
        start_ticks=cut.start_ticks,
        duration_ticks=cut.duration_ticks,
        part_count=cut.part_count if isinstance(cut, CutSegment) else 0,
        chunk_count=len(cut.pieces),
        size=published.size,
        digest=published.digest,
        durable_unix_ms=cut.durable_unix_ms,
        cpu_us=cpu_us,
        publish_us=published.publish_us,
    )


def failure_of(held: Assignment, cut: Told, fault: Fault, error: str, *, cpu_us: int = 0) -> SegmentReport:
    """The report of a segment that could not be made or published."""
    return SegmentReport(
        channel=cut.period.channel,
        period=cut.period.period,
        track=cut.track.track,
        msn=cut.msn,
        slice_id=held.slice_id,
        epoch=held.epoch,
        outcome=Outcome.FAILED,
        start_ticks=cut.start_ticks,
        duration_ticks=cut.duration_ticks,
        part_count=0,
        chunk_count=0,
        size=0,
        digest=b"",
        durable_unix_ms=cut.durable_unix_ms,
        cpu_us=cpu_us,
        fault=fault,
        error=error,
    )
