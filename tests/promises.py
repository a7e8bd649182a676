"""
The promises, as checks over what a run left behind: the log, the store, and every playlist that somebody may have seen.

Each raises AssertionError with what broke it. They take plain facts, so that a simulated run and one on a real broker are held to the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from schemas.codec import Codec
from schemas.records import Action, Assignment, Chunk, Decision, MediaMark, Outcome, Reason, Reports, Void
from schemas.topics import slice_key
from streams.core.decide import Cause, Standing, apply, decide, whole
from streams.core.policy import Policy
from streams.core.standing import counts
from streams.core.state import State
from tests.invariants import Listed, assert_continues, read_playlist
from tests.validator.recut import Recut, recut

AVRO = Path(__file__).parents[1] / "schemas" / "avro"
DISCONTINUITY = "#EXT-X-DISCONTINUITY"
# Wall times are written to the millisecond.
ROUNDING_S = 0.002
# Sound ends with a whole frame of its own (1,024 samples at 44.1 kHz), beyond the pictures of the period that ends by less than that.
FRAME_S = 0.0233
# Lines at the end of a playlist that do not depend on how far back it reaches.
ENDING_LINES = 3


class Entry(Protocol):
    """One record in the log."""

    @property
    def offset(self) -> int: ...
    @property
    def at(self) -> int: ...
    @property
    def record(self) -> Any: ...


class Seen(Protocol):
    """A playlist as somebody may have seen it."""

    @property
    def origin_id(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def track(self) -> str: ...
    @property
    def low_latency(self) -> bool: ...
    @property
    def run(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def missing(self) -> tuple[str, ...]: ...


# ---------------------------------------------------------------- objects


def cut_again(media: Iterable[Sequence[Entry]], channels: Iterable[Entry]) -> Recut:
    """Every object that the log determines, by the independent cutter, from real Avro bytes."""
    codec, both = Codec(), Recut()
    configured = [codec.encode(entry.record) for entry in channels if entry.record is not None]
    for partition in media:
        one = recut(((entry.offset, codec.encode(entry.record)) for entry in partition), configured, AVRO)
        both.objects |= one.objects
        both.segments |= one.segments
        both.cut += one.cut
    return both


def assert_single_content(refused: Sequence[tuple[str, bytes]]) -> None:
    """No name was ever given two contents."""
    assert not refused, f"other bytes were offered under the names {sorted({name for name, _ in refused})}"


def assert_objects_follow_from_log(objects: Mapping[str, bytes], again: Recut) -> None:
    """Every object is what an independent cut of the log makes it."""
    foreign = sorted(objects.keys() - again.objects.keys())
    assert not foreign, f"objects that the log does not know: {foreign}"
    other = sorted(name for name, data in objects.items() if again.objects[name] != data)
    assert not other, f"objects whose bytes are not those of the log: {other}"


# ---------------------------------------------------------------- what is owed


@dataclass(frozen=True, kw_only=True)
class Owed:
    """A segment of one track that must be published, since when it can be, and since when all that it was opened with is in the log."""

    channel: str
    msn: int
    track: str
    since: int
    due: int


def packaged(decisions: Sequence[Decision]) -> dict[str, list[tuple[int, int | None]]]:
    """Stretches of each channel that are packaged: first segment, and the first no longer; None while it goes on."""
    stretches: dict[str, list[tuple[int, int | None]]] = {}
    for decision in decisions:
        for word in decision.packaging:
            held = stretches.setdefault(word.channel, [])
            is_on = bool(held) and held[-1][1] is None
            if word.action is Action.START and not is_on:
                held.append((word.from_msn, None))
            elif word.action is Action.STOP and is_on:
                held[-1] = (held[-1][0], word.from_msn)
    return stretches


def owed(media: Iterable[Sequence[Entry]], again: Recut, decisions: Sequence[Decision]) -> list[Owed]:
    """Every segment that a packaged stretch promises, and since when it could be made."""
    stretches = packaged(decisions)
    seen: set[tuple[str, int, str, int]] = set()
    whole_at: dict[tuple[str, int, str], int] = {}
    due_at: dict[tuple[str, int, str], int] = {}
    ended_at: dict[tuple[str, int], int] = {}
    period_of: dict[tuple[str, int, str], tuple[str, int]] = {}
    for partition in media:
        for entry in partition:
            record = entry.record
            if isinstance(record, Chunk):
                if (chunk := (record.channel, record.period, record.track, record.index)) in seen:
                    continue  # put into the log twice
                seen.add(chunk)
                whole_at[record.channel, record.msn, record.track] = entry.at
                if record.ends_gop and record.gop + 1 == record.first_gop + record.gop_count:
                    due_at[record.channel, record.msn, record.track] = entry.at
                period_of[record.channel, record.msn, record.track] = record.channel, record.period
            elif isinstance(record, MediaMark) and record.ended_period is not None:
                ended_at.setdefault((record.channel, record.ended_period), entry.at)
    owing = []
    for channel, msn, track in sorted(again.segments):
        if any(first <= msn and (until is None or msn < until) for first, until in stretches.get(channel, ())):
            key = channel, msn, track
            since = max(whole_at[key], ended_at.get(period_of[key], 0) if _is_last(key, period_of) else 0)
            owing.append(Owed(channel=channel, msn=msn, track=track, since=since, due=due_at.get(key, since)))
    return owing


def _is_last(key: tuple[str, int, str], period_of: Mapping[tuple[str, int, str], tuple[str, int]]) -> bool:
    """Whether a segment is the last of its period: the end may be what makes it whole."""
    channel, msn, track = key
    return period_of.get((channel, msn + 1, track)) != period_of[key]


def assert_accounted(owing: Sequence[Owed], reports: Sequence[Entry], *, until: int) -> None:
    """
    Every segment owed since before a time is published, also what is void for being late: it is still made.

    Nothing is void for another reason, since nothing was lost from the log.
    """
    done = published(reports)
    lost = (e.record for e in reports if isinstance(e.record, Void) and e.record.reason is not Reason.LATE)
    voids = sorted((void.channel, void.msn, void.track) for void in lost)
    assert not voids, f"declared lost though the log has them: {voids}"
    missing = [o for o in owing if o.since <= until and (o.channel, o.msn, o.track) not in done]
    assert not missing, f"owed and not published: {missing}"


def published(reports: Sequence[Entry]) -> dict[tuple[str, int, str], int]:
    """Offset of the first report of each segment of a track that is published."""
    done: dict[tuple[str, int, str], int] = {}
    for entry in reports:
        for report in entry.record.segments if isinstance(entry.record, Reports) else ():
            if report.outcome is Outcome.PUBLISHED:
                done.setdefault((report.channel, report.msn, report.track), entry.offset)
    return done


def assert_late(decisions: Sequence[Decision], owing: Sequence[Owed], reports: Sequence[Entry], *, hold_back_ms: int) -> None:
    """What is declared late was due a hold back ago, was not yet reported published, and is declared once."""
    since = {(o.channel, o.msn, o.track): o.due for o in owing}
    done = published(reports)
    told: set[tuple[str, int, str]] = set()
    for decision in decisions:
        folded = next(offset.next_offset for offset in decision.inputs if offset.topic.endswith("reports"))
        for void in decision.voids:
            key = void.channel, void.msn, void.track
            if void.reason is not Reason.LATE or void.decision != decision.number:
                continue
            assert key in since, f"{key} is late though nobody owes it"
            assert decision.at_unix_ms - since[key] >= hold_back_ms, f"{key} is late after {decision.at_unix_ms - since[key]} ms"
            assert done.get(key, folded) >= folded, f"{key} was published before it was declared late"
            assert key not in told, f"{key} is declared late twice"
            told.add(key)


def assert_reports_true(reports: Sequence[Entry], again: Recut, objects: Mapping[str, bytes]) -> None:
    """A segment reported published is the log's, and there."""
    for entry in reports:
        for report in entry.record.segments if isinstance(entry.record, Reports) else ():
            if report.outcome is Outcome.PUBLISHED:
                name = again.segments.get((report.channel, report.msn, report.track))
                assert name, f"the log has no whole segment {report.channel}/{report.msn}/{report.track} that is reported"
                assert name in objects, f"{name} is reported and not there"
                assert len(objects[name]) == report.size, f"{name} has {len(objects[name])} bytes, reported {report.size}"


# ---------------------------------------------------------------- playlists


def assert_playlists_never_contradict(playlists: Sequence[Seen]) -> None:
    """Media rules 1, 2, 3, 4, 7, 8, 19, 20 over all playlists of all origins, in the order they were seen."""
    fixed: dict[tuple[str, bool], tuple[str, ...]] = {}
    segments: dict[tuple[str, str, int], tuple[str, ...]] = {}
    parts: dict[tuple[str, str, int, int], str] = {}
    before: dict[tuple[str, str, str, bool, int], str] = {}
    alike: set[tuple[str, str, bool, str]] = set()
    for seen in playlists:
        where = f"{seen.channel}/{seen.track} at {seen.origin_id}"
        assert not seen.missing, f"{where} lists what is not there: {seen.missing}"
        # What another origin has shown word for word contradicts nothing anew.
        shown = (seen.channel, seen.track, seen.low_latency, seen.text)
        if shown not in alike:
            alike.add(shown)
            listed = read_playlist(seen.text)
            held = fixed.setdefault((seen.channel, seen.low_latency), listed.fixed)
            assert held == listed.fixed, f"{where}: {held} became {listed.fixed}"
            for msn, lines in enumerate(listed.segments, listed.first):
                content = tuple(line for line in lines if line != DISCONTINUITY)
                said = segments.setdefault((seen.channel, seen.track, msn), content)
                assert said == content, f"{where}: segment {msn} was {said} and is {content}"
            for msn, made in enumerate(listed.parts, listed.first):
                for index, line in enumerate(made):
                    told = parts.setdefault((seen.channel, seen.track, msn, index), line)
                    assert told == line, f"{where}: part {index} of {msn} was {told} and is {line}"
            assert_unbroken(listed, where)
        key = (seen.origin_id, seen.channel, seen.track, seen.low_latency, seen.run)
        if key in before:
            assert_continues(before[key], seen.text, where)
        before[key] = seen.text


def assert_unbroken(listed: Listed, where: str) -> None:
    """No gap, no overlap: each segment begins where the one before ends, unless a discontinuity lies between; none is too long."""
    target_s = next(int(line.partition(":")[2]) for line in listed.fixed if line.startswith("#EXT-X-TARGETDURATION"))
    end: datetime | None = None
    for msn, lines in enumerate(listed.segments, listed.first):
        tags = {line.partition(":")[0]: line.partition(":")[2] for line in lines}
        start = datetime.fromisoformat(tags["#EXT-X-PROGRAM-DATE-TIME"])
        duration_s = float(tags["#EXTINF"].partition(",")[0])
        assert round(duration_s) <= target_s, f"{where}: segment {msn} lasts {duration_s} s"
        if end:
            gap_s = (start - end).total_seconds()
            over_s = FRAME_S if DISCONTINUITY in lines else ROUNDING_S
            assert gap_s >= -over_s, f"{where}: segment {msn} begins {-gap_s} s before the end of the one before"
            assert gap_s <= ROUNDING_S or DISCONTINUITY in lines, f"{where}: {gap_s} s are missing before segment {msn}"
        end = start + timedelta(seconds=duration_s)


def assert_origins_agree(playlists: Sequence[Seen]) -> None:
    """Playlists of all origins, rendered from the same facts, end alike; only how far back they reach may differ."""
    everybody = {seen.origin_id for seen in playlists}
    last: dict[tuple[str, str, bool], dict[str, Seen]] = {}
    for seen in playlists:
        last.setdefault((seen.channel, seen.track, seen.low_latency), {})[seen.origin_id] = seen
    for (channel, track, _), by_origin in last.items():
        assert by_origin.keys() == everybody, f"only {sorted(by_origin)} show {channel}/{track}"
        ends = {"\n".join(seen.text.splitlines()[-ENDING_LINES:]) for seen in by_origin.values()}
        assert len(ends) == 1, f"origins end {channel}/{track} differently: {sorted(ends)}"


# ---------------------------------------------------------------- decisions


def in_force(entries: Sequence[Entry]) -> list[Decision]:
    """Decisions that count: those that landed where they were to; each number once, in order."""
    counted = [entry.record for entry in entries if counts(entry.record, offset=entry.offset)]
    assert [decision.number for decision in counted] == list(range(1, len(counted) + 1)), "the numbers of decisions are not contiguous"
    return counted


def assert_epochs_rise(decisions: Sequence[Decision]) -> None:
    """A slice's epoch never falls, and rises whenever it is given to somebody else."""
    newest: dict[str, Assignment] = {}
    for decision in decisions:
        for assignment in decision.assignments:
            key = slice_key(assignment.slice_id, assignment.copy)
            held = newest.get(key)
            if held:
                assert assignment.epoch >= held.epoch, f"{key}: epoch fell from {held.epoch} to {assignment.epoch}"
                same = (held.packager_id, held.life) == (assignment.packager_id, assignment.life)
                assert same or assignment.epoch > held.epoch, f"{key}: epoch {held.epoch} has two holders"
            newest[key] = assignment


def assert_decisions_replay(decisions: Sequence[Decision], inputs: Mapping[str, Sequence[Entry]], *, pool: int) -> Standing:
    """Each decision is made again, equal, from what it names; what stands at the end."""
    standing, state, folded = Standing.empty(pool), State(pool), dict.fromkeys(inputs, 0)
    for decision in decisions:
        policy = Policy.from_json(decision.policy)
        state.memory_ms = policy.planner.memory_ms
        for offset in decision.inputs:
            title = next(title for title in inputs if offset.topic.endswith(title))
            for entry in inputs[title][folded[title] : offset.next_offset]:
                state.fold(title, entry.record, offset=entry.offset, at=entry.at)  # type: ignore[arg-type]
            folded[title] = max(folded[title], offset.next_offset)
        cause = Cause(source=decision.cause) if decision.cause else None
        args = (state, standing, policy)
        again = decide(*args, now=decision.at_unix_ms, code_version=decision.code_version, cause=cause)
        if decision.whole and again != replace(decision, lands_at=-1):
            again = whole(*args, now=decision.at_unix_ms, code_version=decision.code_version)
        assert again == replace(decision, lands_at=-1), f"decision {decision.number} is made differently:\n{decision}\n{again}"
        standing = apply(standing, decision)
    return standing
