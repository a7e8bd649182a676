"""How long viewers were without what a packager made that died, stood still or was late, as the log tells."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.records import Decision, Gop, Reason, Reports, SegmentReport
from schemas.topics import DECISIONS, GOPS, HEARTBEATS, REPORTS, life_key
from streams.core.dealing import is_backlog, is_derived
from streams.core.standing import NOBODY, Standing, apply, assignment_key, counts
from streams.simulate.run import Run
from streams.simulate.world import POOL


@dataclass(frozen=True, kw_only=True, slots=True)
class Takeover:
    """
    One slice that another packager went on with.

    Attributes:
        kind: `dead`, or `hedged` for one that was late.
        key: ``slice/copy``.
        ms: From the last sign of life of who had it, or from when its next segment was due if that was later, to that segment's report.
    """

    kind: str
    key: str
    ms: int


def takeovers(run: Run) -> Iterator[Takeover]:
    """Every takeover of a live slice whose next segment was published, in the order of decisions."""
    log = run.world.log
    beats = {life_key(e.record.packager_id, e.record.life): e.at for e in log.entries(HEARTBEATS, POOL)}
    due: dict[tuple[str, int], int] = {}
    for gop in (e.record for e in log.entries(GOPS, POOL) if isinstance(e.record, Gop)):
        due[gop.channel, gop.msn] = gop.durable_unix_ms
    published: dict[tuple[str, int], dict[str, int]] = {}
    for entry in log.entries(REPORTS, POOL):
        for report in entry.record.segments if isinstance(entry.record, Reports) else ():
            _note(published, report, entry.at)
    standing = Standing.empty(POOL)
    for entry in log.entries(DECISIONS, POOL):
        decision = entry.record
        if not isinstance(decision, Decision) or not counts(decision, offset=entry.offset):
            continue
        for given in decision.assignments:
            held = standing.assignments.get(assignment_key(given))
            is_new = given.decision == decision.number and given.packager_id != NOBODY and given.reason is not Reason.NO_CAPACITY
            if not is_new or is_backlog(given.slice_id) or is_derived(given.slice_id):
                continue
            is_dead = held is not None and given.reason is Reason.PACKAGER_DEAD and held.epoch != given.epoch
            is_hedge = bool(given.hedges) and held is None
            done = published.get((given.channel, given.from_msn), {})
            if not (is_dead or is_hedge) or not done or (given.channel, given.from_msn) not in due:
                continue
            since = beats.get(life_key(held.packager_id, held.life), 0) if held and is_dead else 0
            began, end = max(since, due[given.channel, given.from_msn]), max(done.get(track, 0) for track in given.tracks)
            if end:
                yield Takeover(kind="dead" if is_dead else "hedged", key=assignment_key(given), ms=max(0, end - began))
        standing = apply(standing, decision)


def _note(published: dict[tuple[str, int], dict[str, int]], report: SegmentReport, at: int) -> None:
    if report.fault is None:
        published.setdefault((report.channel, report.msn), {}).setdefault(report.track, at)
