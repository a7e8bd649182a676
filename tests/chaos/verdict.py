"""The verdict on a chaos run: every promise checked against log, store and what was seen, each with what it found."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from confluent_kafka import KafkaException

from infra.tally import Tally
from schemas.errors import FinecutError
from schemas.records import Decision, Outcome, Reject, Reports, Void
from schemas.timeline import INIT_NAME, init_name
from schemas.topics import CHANNELS, MEDIA, TOPICS
from streams.replay.redecide import redecide_log
from tests.chaos import screens
from tests.chaos.account import Account, SegmentId, Word, named
from tests.chaos.audience import Look
from tests.chaos.cast import Cast
from tests.chaos.effects import Effect, Explained, History, effects, explain
from tests.chaos.story import Played, Say
from tests.invariants import read_playlist
from tests.promises import assert_epochs_rise, assert_playlists_never_contradict, in_force, packaged

# Channels first: periods must be known when what is said of them is read.
QUIET = (CHANNELS, *(topic for topic in TOPICS if topic not in {MEDIA, CHANNELS}))
# Reasons for rejects that are told; a broken process may have one for every record.
REASONS_MAX = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One promise, whether it was kept, and what was found."""

    name: str
    is_kept: bool
    told: str


@dataclass(slots=True)
class Verdict:
    """
    All checks of a run, and its figures.

    Attributes:
        checks: Every promise.
        effects: Of each fault.
        stalls: Of viewers, explained.
        account: Of chunks and objects.
        history: From the log.
        figures: Whatever else is told.
    """

    checks: list[Check]
    effects: list[Effect]
    stalls: list[Explained]
    account: Account
    history: History
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """All promises were."""
        return all(check.is_kept for check in self.checks)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kept": self.is_kept,
            "checks": [asdict(check) for check in self.checks],
            "chunks": dict(self.account.chunks),
            "objects": self.account.objects,
            "effects": [asdict(effect) for effect in self.effects],
            "stalls": [asdict(one.stall) | {"causes": one.causes, "machine": one.is_machine} for one in self.stalls],
            **self.figures,
        }


def judge(cast: Cast, played: Played, *, say: Say) -> Verdict:
    """The verdict, read from the log and the store while the brokers still run."""
    say("the verdict is read from the log")
    line, tally, history = cast.line, Tally(), History()
    said, rejects, reports = list[Any](), Counter[str](), list[Any]()
    for entry in line.entries(*QUIET):
        tally.absorb(entry)
        history.absorb(entry)
        if isinstance(entry.record, Decision):
            said.append(entry)
        elif isinstance(entry.record, Reject):
            rejects[f"{entry.record.rejected_by}: {entry.record.error}"] += 1
        elif isinstance(entry.record, Reports | Void):
            reports.append(entry.record)
    say("every chunk is cut again")
    stale_s = line.run.settings.origin.staleness_ms_max / 1_000
    stalls = explain(played.heard.stalls, played.done, asleep=played.heard.asleep)
    account, stored = count(cast, tally, said, reports), _inits(cast, tally)
    found = effects(history, played.done, stalls, cast.encoders)
    say("what was seen is compared, decisions are made again")
    checks = [
        Check(name="everything went on and ended", is_kept=not played.problems, told="; ".join(played.problems) or "yes"),
        *checks_of(account),
        Check(name="init segments are those of the log", is_kept=not stored, told=named(stored)),
        Check(name="no name was given two contents", is_kept=not tally.conflicts, told=named(sorted(tally.conflicts))),
        _check("playlists never contradicted", lambda: told_by(played.heard.looks)),
        _check("nor did one origin after the other", lambda: told_in_turn(played.heard.in_turn, behind_s=stale_s)),
        Check(name="what is listed is there", is_kept=not played.heard.missing, told=named(played.heard.missing)),
        _check("decisions are contiguous, epochs rise", lambda: _decided(said)),
        _check("decisions are made again, equal", lambda: _redecided(cast)),
        recovered(found),
    ]
    if played.pages:
        is_kept, told = screens.told(played.pages)
        checks.append(Check(name="real players played on", is_kept=is_kept, told=told))
    figures = {
        "rejects": dict(rejects.most_common(REASONS_MAX)), "failures": dict(tally.failures), "answers": dict(played.heard.answers),
        "played_s": played.heard.played_s, "pages": played.pages, "ended": [asdict(one) | {"last": one.last} for one in played.ended],
        "usage": played.usage,
        "begin_unix_ms": played.begin_unix_ms,
        "end_unix_ms": played.end_unix_ms, "periods": len(tally.periods), "looks": len(played.heard.looks),
        "audience_late_s": sum(end - begin for begin, end in played.heard.asleep) / 1_000,
    }  # fmt: skip
    return Verdict(checks=checks, effects=found, stalls=stalls, account=account, history=history, figures=figures)


def count(cast: Cast, tally: Tally, said: Sequence[Any], reports: Iterable[Any]) -> Account:
    """Every chunk of the log under its heading."""
    published, voids = set[SegmentId](), dict[SegmentId, str]()
    for record in reports:
        if isinstance(record, Void):
            voids[record.channel, record.msn, record.track] = record.reason.value
        else:
            published |= {(s.channel, s.msn, s.track) for s in record.segments if s.outcome is Outcome.PUBLISHED}
    ended = {channel for (channel, _), end in tally.ends.items() if end.channel_ended}
    newest = {channel: max((msn for name, msn, _ in published if name == channel), default=0) for channel in tally.channels}
    word = Word(
        packaged=packaged(_counted(said)), published=published, voids=voids,
        open_from={channel: msn for channel, msn in newest.items() if channel not in ended},
    )  # fmt: skip
    line, account = cast.line, Account()
    channels = [value for records in line.raw(CHANNELS).values() for _, value in records]
    store = line.store()
    # Manifests of what has ended lie in the same folders.
    stored = [name for name in store.list() if name.count("/") == 3 and name.endswith(".m4s") and not name.endswith(INIT_NAME)]
    for partition in range(MEDIA.partition_count(line.run.settings.kafka)):
        account.take(line.raw_of(MEDIA, partition), channels, word, stored=stored, get=store.get)
    return account


def checks_of(account: Account) -> list[Check]:
    """What an account says of the promises."""
    told = ", ".join(f"{number} {heading}" for heading, number in sorted(account.chunks.items()) if number)
    return [
        Check(
            name="every chunk is accounted for", is_kept=not account.lost, told=f"{account.total} chunks: {told}{_and(account.lost)}"
        ),
        Check(
            name="every object is what the log says", is_kept=not account.foreign, told=f"{account.objects} compared{_and(account.foreign)}"
        ),
        Check(name="what is reported is there", is_kept=not account.absent, told=named(account.absent)),
    ]  # fmt: skip


def told_by(looks: Sequence[Look]) -> str:
    """
    What was seen of playlists, if none contradicts another.

    Raises:
        AssertionError: One does.
    """
    assert_playlists_never_contradict(looks)
    return f"{len(looks)} playlists of {len({look.origin_id for look in looks})} origins"


def told_in_turn(looks: Sequence[Look], *, behind_s: float) -> str:
    """
    How far playlists went back for somebody who asked another origin each time.

    An origin may hear of a segment later than another, so that both ends may fall by what one may be behind; contents never change.

    Args:
        looks: What was seen, in time.
        behind_s: How old that may be which an origin shows.

    Raises:
        AssertionError: One contradicts another, or went back by more.
    """
    assert_playlists_never_contradict(looks)
    newest: dict[tuple[str, str, bool], tuple[int, int]] = {}
    seconds: dict[tuple[str, int], float] = {}
    back_s = [0.0]
    for look in looks:
        listed, where = read_playlist(look.text), (look.channel, look.track, look.low_latency)
        for msn, lines in enumerate(listed.segments, listed.first):
            seconds[look.channel, msn] = next(float(line[8:].partition(",")[0]) for line in lines if line.startswith("#EXTINF:"))
        end = listed.first + len(listed.segments)
        head_seen, end_seen = newest.get(where, (listed.first, end))
        newest[where] = max(head_seen, listed.first), max(end_seen, end)
        for what, now, seen in (("first segment", listed.first, head_seen), ("end", end, end_seen)):
            fell_s = sum(seconds[look.channel, msn] for msn in range(now, seen))
            assert fell_s <= behind_s + seconds.get((look.channel, seen - 1), 0.0), (
                f"{look.channel}/{look.track} at {look.at_unix_ms}: the {what} fell from {seen} to {now}, {fell_s:.1f} s"
            )
            back_s.append(fell_s)
    return (
        f"{len(looks)} playlists from origins in turn, {sum(map(bool, back_s))} times behind what was seen, by {max(back_s):.1f} s at most"
    )


def recovered(found: Sequence[Effect]) -> Check:
    """After every fault something new was announced of all that it touched."""
    never = [f"{e.kind} {e.target}" for e in found if e.tracks and e.takeover_ms is None]
    return Check(name="after every fault it went on", is_kept=not never, told=f"{len(found)} faults; never: {named(never)}")


def _check(name: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(name=name, is_kept=True, told=ask())
    except (AssertionError, FinecutError, KafkaException) as error:
        # Some assertions say nothing but the line that they stand in.
        where = traceback.extract_tb(error.__traceback__)[-1].line
        return Check(name=name, is_kept=False, told=(str(error) or f"not so: {where}")[:2_000])


def _counted(said: Sequence[Any]) -> list[Decision]:
    pools = sorted({entry.partition for entry in said})
    return [decision for pool in pools for decision in in_force([entry for entry in said if entry.partition == pool])]


def _decided(said: Sequence[Any]) -> str:
    decisions = _counted(said)
    assert_epochs_rise(decisions)
    return f"{len(decisions)} in force, {len(said) - len(decisions)} overtaken"


def _redecided(cast: Cast) -> str:
    verdict = redecide_log(cast.line.run.settings.kafka)
    assert verdict.is_equal, str(verdict)
    return str(verdict)


def _inits(cast: Cast, tally: Tally) -> list[str]:
    wanted = {init_name(p.channel, p.period, t.track): t.init for p in tally.periods.values() for t in p.tracks}
    store = cast.line.store()
    return [name for name in store.list() if name.endswith(INIT_NAME) and wanted.get(name) != store.get(name)]


def _and(wrong: Sequence[str]) -> str:
    return f"; wrong are {named(wrong)}" if wrong else ""
