"""Forecast, cost and pressure to the granularity of every channel, at one price for the pool: level, length, groups, turns, copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.records import Cost, Level, Load, Plan, Reason
from schemas.settings import GranularitySettings
from schemas.units import UnixMs
from streams.core.facts import PREPARE_MS, ChannelFacts, Facts
from streams.core.length import (
    Balance,
    Choice,
    Terms,
    balance,
    choose_length,
    present_gops,
    segment_gops,
    settle_length,
    weigh,
)
from streams.core.level import RANK, SESSIONS_EXPECTED, LevelChoice, choose_level, low_latency_share
from streams.core.load import NOTHING, Vector, bounds, channel_load, less, plus, share_with, total, usable, vector
from streams.core.policy import Policy
from streams.core.price import Line, settle_price
from streams.core.sharing import WHOLE, Deal, Stake, copied, least_of, settle_deal

# What nobody watches is raised only while so much of what is dealt out would be in use with it.
RAISE_ROOM = 0.85


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """
    What the pool's channels get.

    Attributes:
        plans: Granularity of every channel after the decision, by id in order; a plan itself where nothing changes.
        wanted: Level that each channel would have with capacity enough, by id.
        ahead: GOPs per segment that channels want at the start-up horizon of packagers at no price, by id; absent where what they have will
            do.
        price: Price of the pool's capacity.
    """

    plans: Mapping[str, Plan]
    wanted: Mapping[str, Level] = field(default_factory=dict)
    ahead: Mapping[str, int] = field(default_factory=dict)
    price: float = 1.0


@dataclass(slots=True)
class _Draft:
    """A channel while its plan is made."""

    facts: ChannelFacts
    before: Plan | None
    wanted: LevelChoice
    level: Level
    reason: Reason
    gops: int
    load: Vector = NOTHING
    terms: Terms | None = None
    least: int = 0
    length: Choice | None = None
    deal: Deal = WHOLE
    copies: int = 1

    @property
    def is_on(self) -> bool:
        return self.level is not Level.OFF

    @property
    def was_on(self) -> bool:
        return self.before is not None and self.before.level is not Level.OFF


def choose_plans(
    facts: Facts,
    before: Mapping[str, Plan],
    policy: Policy,
    *,
    capacities: Sequence[Load],
    waiting: Mapping[str, UnixMs],
    price: float,
    number: int,
) -> Granted:
    """
    The granularity of every channel after this decision.

    Levels follow the viewers; the price of the pool follows what they need; lengths follow both. What then does not fit is taken from
    what nobody watches. How a channel is dealt, and whether twice, follows from its load.

    Args:
        facts: The folds.
        before: Granularity in force, by channel.
        policy: Settings.
        capacities: What each packager that may be given work can carry.
        waiting: Channels of which a slice waits that a packager could carry, and since when.
        price: Price in force.
        number: Number of the decision.
    """
    drafts, forsaken = list[_Draft](), dict[str, Plan]()
    for channel, seen in facts.channels.items():
        plan = before.get(channel)
        if seen.is_live:
            choice = choose_level(seen, plan, policy, now=facts.now, pool=facts)
            draft = _Draft(seen, plan, choice, choice.level, choice.reason, present_gops(seen, plan))
            if plan and draft.was_on and draft.is_on:
                draft.deal, draft.copies = Deal(groups=plan.groups, turns=plan.turns), plan.copies
            drafts.append(draft)
        elif plan and plan.level is not Level.OFF and seen.is_forsaken and seen.segments:
            # While it is known which segments it has: what they lack is still made, and then it takes nothing.
            forsaken[channel] = replace(plan, level=Level.OFF, level_since_unix_ms=facts.now, decision=number, reason=Reason.IDLE)
    settings = policy.assignment
    rooms = [
        bounds(usable(c, utilisation=settings.utilisation_max, part_ms_budget=settings.part_ms_budget)) for c in capacities if c.cores > 0
    ]
    _weigh(drafts, facts, policy)
    price = _priced(drafts, price, policy, cores=sum(c.cores for c in capacities))
    _lengthen(drafts, facts, policy, price)
    if rooms:
        _lower(drafts, facts.cost, total(rooms), waiting)
        _share(drafts, facts, policy, rooms)
    _bound(drafts, policy.granularity)
    made = forsaken | {draft.facts.channel: _plan(draft, facts.now, number) for draft in drafts}
    plans = {channel: plan for channel in facts.channels if (plan := made.get(channel) or before.get(channel))}
    return Granted(
        plans=plans, wanted={draft.facts.channel: draft.wanted.level for draft in drafts}, ahead=_ahead(drafts, facts, policy), price=price
    )


# ---------------------------------------------------------------- lengths and their price


def _weigh(drafts: Sequence[_Draft], facts: Facts, policy: Policy) -> None:
    """Loads at the lengths in force, and what lengths are weighed by."""
    for draft in drafts:
        seen = draft.facts
        if draft.is_on:
            draft.load = vector(channel_load(seen, facts.cost, gops_per_segment=draft.gops, level=draft.level))
        elif draft.gops == seen.gops_max:
            continue
        ahead_ms = draft.gops * seen.gop_ms
        draft.terms, draft.least = weigh(seen, facts.cost, policy.granularity, ahead_ms=ahead_ms, window_ms=facts.window_ms)


def _priced(drafts: Sequence[_Draft], before: float, policy: Policy, *, cores: float) -> float:
    """The price at which the load at its lengths fits; the one in force while no capacity is known."""
    if not cores:
        return before
    on = [draft for draft in drafts if draft.is_on]
    weighed = [(draft, draft.terms, draft.facts) for draft in on if draft.terms] if not policy.granularity.segment_ms else []
    load = sum([draft.load[0] for draft in on])
    for draft, own, seen in weighed:
        if draft.least != draft.gops:
            load += own.packaging / seen.gop_ms * 1_000 * (1 / draft.least - 1 / draft.gops)
    lines = (
        Line(terms=own, gop_s=seen.gop_ms / 1_000, least=draft.least, most=seen.gops_max)
        for draft, own, seen in weighed
        if draft.least < seen.gops_max
    )
    return settle_price(before, lines, load=load, room=policy.scaling.target_utilisation * cores)


def _lengthen(drafts: Sequence[_Draft], facts: Facts, policy: Policy, price: float) -> None:
    for draft in drafts:
        if not draft.is_on and draft.terms is None and draft.gops == draft.facts.gops_max and not policy.granularity.segment_ms:
            continue  # off, and as long as can be
        if price == 1.0 and draft.before and draft.terms and draft.least == draft.gops and not policy.granularity.segment_ms:
            continue  # as long as it should be
        draft.length = settle_length(draft.facts, draft.before, draft.terms, policy, now=facts.now, price=price)
        if draft.length.gops != draft.gops:
            draft.gops = draft.length.gops
            if draft.is_on:
                draft.load = vector(channel_load(draft.facts, facts.cost, gops_per_segment=draft.gops, level=draft.level))


def _ahead(drafts: Sequence[_Draft], facts: Facts, policy: Policy) -> dict[str, int]:
    """Lengths that capacity must be ready for, without hysteresis."""
    ahead, settings, startup_ms = {}, policy.granularity, policy.scaling.startup_ms
    for draft in drafts if not settings.segment_ms else ():
        seen = draft.facts
        if draft.gops <= seen.gops_min:
            continue
        _, least = weigh(seen, facts.cost, settings, ahead_ms=startup_ms, window_ms=facts.window_ms)
        if least < draft.gops:
            ahead[seen.channel] = least
    return ahead


# ---------------------------------------------------------------- overflow: what nobody watches


def _lower(drafts: Sequence[_Draft], cost: Cost, room: Vector, waiting: Mapping[str, UnixMs]) -> None:
    """
    Lowers what nobody watches until the rest fits: an idle level to nothing, what is prepared for the expected to whole segments.

    What is on stays while it fits, and what is off is raised only while there is more room than that: nothing falls and rises in turn.
    Slices that wait although the whole would fit need as much room again.
    """
    used = total(draft.load for draft in drafts if draft.is_on)
    used = plus(used, total(draft.load for draft in drafts if draft.facts.channel in waiting))
    if share_with(used, NOTHING, room) <= RAISE_ROOM:
        return
    unwatched = [draft for draft in drafts if draft.is_on and not draft.wanted.is_watched]
    for draft in unwatched:
        used = less(used, draft.load)
    for draft in sorted(unwatched, key=lambda d: (not d.wanted.is_expected, not d.was_on, d.facts.channel)):
        options = [draft.level, Level.SEGMENTS] if draft.wanted.is_expected else [draft.level]
        for level in options:
            is_raised = RANK[level] > RANK[draft.before.level if draft.before else Level.OFF]
            load = vector(channel_load(draft.facts, cost, gops_per_segment=draft.gops, level=level))
            if share_with(used, load, room) <= (RAISE_ROOM if is_raised else 1.0):
                break
        else:
            level, load, draft.deal, draft.copies = Level.OFF, NOTHING, WHOLE, 1
        if level is not draft.level:
            draft.level, draft.load, draft.reason = level, load, Reason.NO_CAPACITY
        used = plus(used, load)


# ---------------------------------------------------------------- how finely, and whether twice


def _share(drafts: Sequence[_Draft], facts: Facts, policy: Policy, rooms: Sequence[Vector]) -> None:
    settings, smallest = policy.granularity, least_of(rooms)
    stakes = []
    for draft in drafts:
        if not draft.is_on:
            continue
        plan, tracks = draft.before if draft.was_on else None, len(draft.facts.period.tracks)
        draft.copies = 1
        draft.deal = settle_deal(plan, draft.load, smallest, tracks=tracks, settings=settings, now=facts.now)
        if draft.level is Level.PARTS and settings.copies_max > 1 and len(rooms) > 1:
            audience, copies = draft.facts.audience, plan.copies if plan else 1
            expected = draft.facts.expected_sessions if audience.low_latency_sessions < settings.copies_viewers else 0.0
            viewers = max(float(audience.low_latency_sessions), expected and expected * low_latency_share(draft.facts, facts))
            is_held = plan is not None and copies > 1 and facts.now - plan.dealt_since_unix_ms < settings.deal_hold_ms
            if viewers or copies > 1:
                stakes.append(Stake(channel=draft.facts.channel, viewers=viewers, load=draft.load, has_copy=copies > 1, is_held=is_held))
    if stakes:
        used = total(draft.load for draft in drafts if draft.is_on)
        twice = copied(stakes, used=used, most=total(rooms), settings=settings)
        for draft in drafts:
            if draft.facts.channel in twice:
                draft.copies = 2


def _bound(drafts: Sequence[_Draft], settings: GranularitySettings) -> None:
    """No more lengths and deals are changed at once than may be, those that gain most first; the others keep what they have."""
    changing = []
    for draft in drafts:
        before = draft.before
        if before and before.level is draft.level and draft.is_on:
            held = (before.gops_per_segment, before.groups, before.turns, before.copies)
            if held != (draft.gops, draft.deal.groups, draft.deal.turns, draft.copies):
                changing.append((draft, before))
    if len(changing) <= settings.changes_per_tick_max:
        return
    changing.sort(key=lambda c: (-(c[0].length.gain if c[0].length else 1.0), c[0].facts.channel))
    for draft, before in changing[settings.changes_per_tick_max :]:
        draft.gops, draft.copies = before.gops_per_segment, before.copies
        draft.deal = Deal(groups=before.groups, turns=before.turns)


def _plan(draft: _Draft, now: UnixMs, number: int) -> Plan:
    """The plan that a draft makes: the one in force if nothing changes."""
    before, deal, length = draft.before, draft.deal, draft.length
    if before is None:
        is_new_level = is_new_length = is_new_deal = True
        reason = draft.reason if draft.is_on else Reason.NEW_CHANNEL
    else:
        is_new_level = before.level is not draft.level
        is_new_length = before.gops_per_segment != draft.gops
        is_new_deal = (before.groups, before.turns, before.copies) != (deal.groups, deal.turns, draft.copies)
        if not (is_new_level or is_new_length or is_new_deal):
            return before
        reason = draft.reason if is_new_level else length.reason if is_new_length and length else Reason.LOAD
    return Plan(
        channel=draft.facts.channel,
        level=draft.level,
        gops_per_segment=draft.gops,
        groups=deal.groups,
        turns=deal.turns,
        copies=draft.copies,
        since_unix_ms=now if before is None or is_new_level or is_new_length else before.since_unix_ms,
        level_since_unix_ms=now if before is None or is_new_level else before.level_since_unix_ms,
        dealt_since_unix_ms=now if before is None or is_new_deal else before.dealt_since_unix_ms,
        decision=number,
        reason=reason,
    )


__all__ = [
    "PREPARE_MS",
    "SESSIONS_EXPECTED",
    "Balance",
    "Choice",
    "Granted",
    "Terms",
    "balance",
    "choose_length",
    "choose_level",
    "choose_plans",
    "segment_gops",
]
