"""What was decided about one channel, step by step, each with its reason and the record that led to it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from schemas.records import Action, Assignment, Decision, Level, Packaging, Plan, Queued, Reason
from schemas.topics import life_key, slice_key
from schemas.units import UnixMs
from streams.core.standing import Standing, apply, counts

from .entries import Entry
from .explain import clock

WORDS: Mapping[Reason, str] = {
    Reason.NEW_CHANNEL: "the channel is new",
    Reason.IDLE: "nobody asked for it for long enough",
    Reason.IDLE_LEVEL: "its encoder wants it packaged while nobody watches",
    Reason.FIRST_REQUEST: "somebody asked for it",
    Reason.FORECAST: "somebody is expected",
    Reason.JOINS_EXPECTED: "people are expected to join",
    Reason.NOBODY_JOINS: "nobody is expected to join",
    Reason.TOO_LITTLE_EVIDENCE: "there is too little evidence to change it",
    Reason.HELD: "it has not held long enough, or a change would not pay",
    Reason.CHANNEL_ENDED: "the channel ended",
    Reason.PACKAGER_DEAD: "its packager is dead",
    Reason.PACKAGER_DRAINING: "its packager drains",
    Reason.PACKAGER_GONE: "its packager left",
    Reason.PLACED: "a packager has room",
    Reason.REBALANCED: "packagers were loaded unevenly",
    Reason.NO_CAPACITY: "no packager has room",
    Reason.RETENTION: "the log no longer has it",
    Reason.LATE: "it would come too late",
    Reason.FAILED_THRICE: "three packagers failed at it",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """
    One thing that a decision changed for a channel.

    Attributes:
        at_unix_ms: When it was decided.
        decision: Number of the decision.
        what: What changed: plan, start, stop, give, move, end, wait, dead, left, void or gone.
        text: In words.
        reason: Why, in words; empty when it goes without saying.
        cause: Record that led to it; empty when the absence of records did.
        after_ms: From that record to the decision; None when it is not known.
    """

    at_unix_ms: UnixMs
    decision: int
    what: str
    text: str
    reason: str = ""
    cause: str = ""
    after_ms: int | None = None

    def __str__(self) -> str:
        """
        One line.

        >>> print(Event(at_unix_ms=UnixMs(0), decision=7, what="end", text="news/all/0 copy 0"))
        1970-01-01T00:00:00.000Z  #7      end    news/all/0 copy 0
        """
        why = f": {self.reason}" if self.reason else ""
        after = f", {self.after_ms} ms before" if self.after_ms is not None else ""
        cause = f"  [{self.cause}{after}]" if self.cause else ""
        return f"{clock(self.at_unix_ms)}  #{self.decision:<6} {self.what:<6} {self.text}{why}{cause}"


def history(decisions: Iterable[Entry], channel: str, *, told_from: int = 0) -> Iterator[Event]:
    """
    What the decisions of a pool changed for a channel, in order.

    Args:
        decisions: Entries of `decisions`, of one pool; those before the first whole one cannot be told of.
        channel: Channel id.
        told_from: Those at offsets below it only tell what was in force.
    """
    standing: Standing | None = None
    for entry in decisions:
        decision = entry.record
        if not isinstance(decision, Decision) or not counts(decision, offset=entry.offset):
            continue
        if standing is None or decision.number != standing.number + 1:
            standing = Standing.empty(decision.pool)
            if not decision.whole:
                standing = None
                continue
        is_first = standing.number == 0 and decision.number != 1
        before, standing = standing, apply(standing, decision)
        events = _events(before, standing, decision, channel)
        # What a whole one found in force was decided before.
        if is_first:
            yield from map(_found, events)
        elif entry.offset >= told_from:
            yield from events


def _events(before: Standing, after: Standing, decision: Decision, channel: str) -> Iterator[Event]:
    def event(what: str, text: str, *, reason: Reason | None = None, cause: str = "", cause_unix_ms: int = 0) -> Event:
        return Event(
            at_unix_ms=decision.at_unix_ms,
            decision=decision.number,
            what=what,
            text=text,
            reason=_word(reason) if reason else "",
            cause=cause,
            after_ms=decision.at_unix_ms - cause_unix_ms if cause_unix_ms else None,
        )

    was, now = before.plans.get(channel), after.plans.get(channel)
    if now is not None and now != was:
        yield replace(event("plan", _plan(was, now), cause=decision.cause), reason=why_planned(was, now))
    word = after.packaging.get(channel)
    if word is not None and word != before.packaging.get(channel):
        yield event(word.action.value, _packaging(word), reason=word.reason, cause=word.cause)
    held = {key: a for key, a in before.assignments.items() if a.channel == channel}
    holders = {life_key(a.packager_id, a.life) for a in held.values()}
    for key in sorted(set(after.dead) - set(before.dead)):
        if key in holders:
            dead = after.dead[key]
            what = "left" if dead.reason is Reason.PACKAGER_GONE else "dead"
            yield event(what, f"{dead.packager_id}, a holder of it, run {dead.life}", reason=dead.reason)
    given = {key: a for key, a in after.assignments.items() if a.channel == channel}
    for key in sorted({**held, **given}):
        old, new = held.get(key), given.get(key)
        if new is None:
            yield event("end", key)
        elif old is None or (old.epoch, old.packager_id, old.until_msn, old.level) != (
            new.epoch,
            new.packager_id,
            new.until_msn,
            new.level,
        ):
            what = "give" if old is None else "move" if old.packager_id != new.packager_id else "give"
            yield event(what, _assignment(key, old, new), reason=new.reason, cause=new.cause, cause_unix_ms=new.cause_unix_ms)
    for key in sorted(set(after.queued) - set(before.queued)):
        if key.split("/")[0] == channel:
            yield event("wait", _queued(after.queued[key]))
    for void in decision.voids:
        if void.channel == channel and void not in before.voids:
            yield event("void", f"segment {void.msn} of {void.track} is lost for the live playlist", reason=void.reason)
    if was is not None and now is None:
        yield event("gone", "nothing of it is left to be made")


def why_planned(was: Plan | None, now: Plan) -> str:
    """
    Why a plan followed another, in words.

    >>> short, long = (Plan(channel="a", level=Level.PARTS, gops_per_segment=gops, reason=Reason.JOINS_EXPECTED) for gops in (1, 4))
    >>> why_planned(long, short), why_planned(short, long)
    ('people are expected to join', 'fewer people are expected to join')
    """
    is_longer = was is not None and now.gops_per_segment > was.gops_per_segment
    return f"{'fewer ' if is_longer and now.reason is Reason.JOINS_EXPECTED else ''}{_word(now.reason)}"


def _plan(was: Plan | None, now: Plan) -> str:
    if was is None:
        return _level(now.level) + f", {now.gops_per_segment} GOPs a segment" + _shape(now)
    changes = []
    if was.level is not now.level:
        changes.append(f"{_level(was.level)} -> {_level(now.level)}")
    for name, words in (("gops_per_segment", "GOPs a segment"), ("groups", "groups"), ("turns", "turns"), ("copies", "copies")):
        old, new = getattr(was, name), getattr(now, name)
        if old != new:
            changes.append(f"{old} -> {new} {words}")
    return ", ".join(changes) or "as before"


def _shape(plan: Plan) -> str:
    counts_told = [(plan.groups, "groups"), (plan.turns, "turns"), (plan.copies, "copies")]
    return "".join(f", {count} {name}" for count, name in counts_told if count > 1)


def _level(level: Level) -> str:
    return {Level.OFF: "off", Level.SEGMENTS: "segments", Level.PARTS: "parts and segments"}[level]


def _packaging(word: Packaging) -> str:
    if word.action is Action.STOP:
        return f"nothing from segment {word.from_msn} on"
    return f"{_level(word.level)} from segment {word.from_msn} on"


def _assignment(key: str, old: Assignment | None, new: Assignment) -> str:
    to = f"{old.packager_id} -> {new.packager_id}" if old and old.packager_id != new.packager_id else f"to {new.packager_id}"
    until = f" until before {new.until_msn}" if new.until_msn is not None else ""
    after = f", after {new.after}" if new.after else ""
    hedges = f", beside {new.hedges}, who is late with it" if new.hedges else ""
    return f"{key} {to}, segments from {new.from_msn}{until}, tracks {' '.join(new.tracks)}{after}{hedges}"


def _queued(waiting: Queued) -> str:
    key = slice_key(waiting.slice_id, waiting.copy)
    told = (
        f"{key} for capacity: {waiting.full_count} packagers are full, {waiting.unavailable_count} drain, are dead or hold its other copy"
    )
    return f"{told}; {waiting.viewers_at_stake} viewers at stake"


def _word(reason: Reason) -> str:
    return WORDS.get(reason, reason.value.replace("_", " "))


def _found(event: Event) -> Event:
    return Event(at_unix_ms=event.at_unix_ms, decision=event.decision, what="found", text=f"{event.what} {event.text}", reason=event.reason)
