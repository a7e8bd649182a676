"""State, standing and time to a decision: the one entrance to everything that is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from schemas.records import Action, Assignment, DeadLife, Decision, Level, Load, Packaging, Plan, Queued, Reason, Scaling, Void
from schemas.topics import life_key
from schemas.units import Msn, UnixMs
from streams.core.assignment import Rank
from streams.core.dealing import is_backlog, is_derived
from streams.core.facts import ChannelFacts, Facts, read
from streams.core.failing import failing
from streams.core.granularity import SESSIONS_EXPECTED, Granted, choose_plans
from streams.core.lateness import Lateness, look, rests, told
from streams.core.liveness import Charges, Packager, Status, judge
from streams.core.load import channel_load, share, usable
from streams.core.policy import Policy
from streams.core.progress import Progress, start_msn
from streams.core.scaling import choose_wanted, packagers_worth, worth_with_spare
from streams.core.slices import Dealt, Scene, Source, deal
from streams.core.standing import NOBODY, Projection, Standing, apply, assignment_key, orphans, projections
from streams.core.state import State

# Plain players hold back three target durations: a channel that starts is packaged from there.
HOLD_BACK_TARGETS = 3
# What waits for so long waits for capacity: whatever else it waited for has come by then.
WAITING_MS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """
    The newest record that urged a decision.

    Attributes:
        source: ``topic/partition/offset``.
    """

    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What a decision changes; fields as in `schemas.records.Decision`."""

    plans: tuple[Plan, ...] = ()
    ended_channels: tuple[str, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    ended_slices: tuple[str, ...] = ()
    packaging: tuple[Packaging, ...] = ()
    voids: tuple[Void, ...] = ()
    dead: tuple[DeadLife, ...] = ()
    queued: tuple[Queued, ...] = ()
    scaling: Scaling | None = None


def decide(state: State, standing: Standing, policy: Policy, *, now: UnixMs, code_version: str, cause: Cause | None) -> Decision | None:
    """
    The next decision of a pool; None if nothing changes and no restatement is due.

    It reads the state, what stands, the policy and the time, and nothing else: equal inputs give equal decisions.

    Args:
        state: The folds of the pool.
        standing: What the decisions before put in force.
        policy: Settings.
        now: Broker time of the decision.
        code_version: Version of the code, for the record.
        cause: Newest record that urged it, for the record.
    """
    is_due = now - standing.whole_unix_ms >= policy.planner.restate_ms
    changes = _changes(state, standing, policy, now, is_whole=is_due)
    queue = tuple(standing.queued[key] for key in sorted(standing.queued))
    if changes == Changes(queued=queue) and not is_due:
        return None
    decision = Decision(
        pool=standing.pool,
        number=standing.number + 1,
        at_unix_ms=now,
        whole=False,
        inputs=state.inputs(),
        policy=policy.to_json(),
        code_version=code_version,
        plans=changes.plans,
        ended_channels=changes.ended_channels,
        assignments=changes.assignments,
        ended_slices=changes.ended_slices,
        packaging=changes.packaging,
        voids=changes.voids,
        dead=changes.dead,
        queued=changes.queued,
        scaling=changes.scaling,
        cause=cause.source if cause else "",
    )
    return _restated(decision, apply(standing, decision)) if is_due else decision


def whole(state: State, standing: Standing, policy: Policy, *, now: UnixMs, code_version: str, cause: Cause | None = None) -> Decision:
    """Everything in force as one decision that changes nothing: the first word of a planner that takes over."""
    return _restated(
        Decision(
            pool=standing.pool,
            number=standing.number + 1,
            at_unix_ms=now,
            whole=True,
            inputs=state.inputs(),
            policy=policy.to_json(),
            code_version=code_version,
            cause=cause.source if cause else "",
        ),
        standing,
    )


def _restated(decision: Decision, after: Standing) -> Decision:
    return replace(
        decision,
        whole=True,
        plans=tuple(after.plans[channel] for channel in sorted(after.plans)),
        assignments=tuple(after.assignments[key] for key in sorted(after.assignments)),
        packaging=tuple(after.packaging[channel] for channel in sorted(after.packaging)),
        voids=after.voids,
        dead=tuple(after.dead.values()),
        queued=tuple(after.queued[key] for key in sorted(after.queued)),
        scaling=after.scaling,
    )


def _changes(state: State, standing: Standing, policy: Policy, now: UnixMs, *, is_whole: bool) -> Changes:
    facts, number = read(state, policy, now=now), standing.number + 1
    said = told(facts.heartbeats.values(), standing.assignments)
    lateness = look(facts, standing, said, policy.liveness)
    charges = _charges(facts, standing, lateness, policy)
    judged, deaths = judge(facts.heartbeats.values(), standing.dead, policy.liveness, now=now, charges=charges)
    packagers = {life_key(p.packager_id, p.life): p for p in judged}
    deaths += _forgotten(standing, packagers, now)
    alive = [packager.capacity for packager in packagers.values() if packager.status is Status.ALIVE]
    granted = choose_plans(
        facts,
        standing.plans,
        policy,
        capacities=alive,
        waiting=_waiting(standing, facts),
        price=standing.scaling.price if standing.scaling else 1.0,
        number=number,
    )
    plans = granted.plans
    packaging, sources = _packaging(state, facts, standing, policy, plans, number)
    scene = Scene(
        facts=facts,
        standing=standing,
        policy=policy,
        number=number,
        packagers=packagers,
        plans=plans,
        packaging={**standing.packaging, **packaging},
        sources=sources,
        heard={key: _heard(state, packager) for key, packager in packagers.items()},
        is_whole=is_whole,
        told=said,
        lateness=lateness,
    )
    dealt = deal(scene)
    scaling = _scaling(scene, dealt, granted, alive)
    return Changes(
        plans=tuple(plan for plan in plans.values() if plan.decision == number),
        ended_channels=_ended_channels(scene, dealt),
        assignments=dealt.assignments,
        ended_slices=dealt.ended,
        packaging=tuple(_until_where_parts(packaging[channel], scene, dealt) for channel in sorted(packaging)),
        voids=scene.voids,
        dead=deaths,
        queued=dealt.queued,
        scaling=None if scaling == standing.scaling else scaling,
    )


def _charges(facts: Facts, standing: Standing, lateness: Lateness, policy: Policy) -> Charges:
    """What is held against packagers besides silence."""
    has_failures = any(row.failures for row in facts.reports.values())
    failed = failing(facts.heartbeats.values(), Progress(facts.reports, standing.voids)) if has_failures else frozenset[str]()
    late_names = {dead.packager_id for dead in standing.dead.values() if dead.reason is Reason.LATE}
    return Charges(
        late=lateness.blamed,
        stuck=lateness.stuck,
        failing=failed,
        resting={name for name in late_names if rests(name, standing.dead.values(), policy.liveness, now=facts.now)},
    )


def _forgotten(standing: Standing, packagers: Mapping[str, Packager], now: UnixMs) -> tuple[DeadLife, ...]:
    """Holders that nothing was heard of for the whole memory."""
    holders = {life_key(a.packager_id, a.life): a for a in standing.assignments.values()}
    return tuple(
        DeadLife(packager_id=held.packager_id, life=held.life, at_unix_ms=now, reason=Reason.PACKAGER_DEAD)
        for key, held in sorted(holders.items())
        if key not in packagers and key not in standing.dead and held.packager_id != NOBODY
    )


def _heard(state: State, packager: Packager) -> Source:
    if packager.offset is None:
        return Source()
    return Source(text=state.cause("heartbeats", packager.offset), at_unix_ms=packager.at_unix_ms)


def _waiting(standing: Standing, facts: Facts) -> dict[str, UnixMs]:
    """Channels of which a slice waits for capacity, and since when; not spare copies, nor what no packager could carry."""
    if not standing.queued or (standing.scaling and standing.scaling.unfit_slices):
        return {}
    since = ((queued.slice_id.split("/")[0], queued.since_unix_ms) for queued in standing.waiting_alone())
    return {channel: at for channel, at in since if facts.now - at >= WAITING_MS}


def _packaging(
    state: State, facts: Facts, standing: Standing, policy: Policy, plans: Mapping[str, Plan], number: int
) -> tuple[dict[str, Packaging], dict[str, Source]]:
    """Starts and stops that follow from levels, and what led to each start."""
    words, sources = {}, {}
    for channel, plan in plans.items():
        seen, is_on, held = facts.channels[channel], plan.level is not Level.OFF, standing.packaging.get(channel)
        is_packaged = held is not None and held.action is Action.START
        if seen.end is not None or (is_on == is_packaged and (not is_on or held is None or held.level is plan.level)):
            continue
        source = _source(state, facts, seen, plan, idle_ms=policy.granularity.idle_ms) if is_on else Source()
        back_ms = HOLD_BACK_TARGETS * seen.period.target_duration_ms
        words[channel] = Packaging(
            channel=channel,
            action=Action.START if is_on else Action.STOP,
            from_msn=start_msn(seen, back_ms=back_ms) if is_on else seen.next_unopened,
            level=plan.level,
            decision=number,
            reason=plan.reason,
            cause=source.text,
            since_unix_ms=facts.now,
        )
        if is_on and held is not None and is_packaged:
            # Another level of what is packaged: the run goes on, what is open stays as it was begun.
            rises = plan.level is Level.PARTS
            words[channel] = replace(
                words[channel],
                from_msn=held.from_msn,
                since_unix_ms=held.since_unix_ms,
                parts_from_msn=seen.next_unopened if rises else Msn(0),
            )
        sources[channel] = source
    return words, sources


def _until_where_parts(word: Packaging, scene: Scene, dealt: Dealt) -> Packaging:
    """
    A change of level with where parts end, if it fell: holders make whole segments alone from where their assignments begin now.

    Where somebody works on a slice, nothing is made by who died with another copy of it, or is to have that once there is room.
    """
    standing, channel = scene.standing, word.channel
    held = standing.packaging.get(channel)
    if not (standing.is_packaged(channel) and held and held.level is Level.PARTS and word.level is Level.SEGMENTS):
        return word
    given = {assignment_key(a): a for a in (*standing.assignments.values(), *dealt.assignments) if a.channel == channel}
    going_on = [a for key, a in given.items() if key not in dealt.ended and a.until_msn is None and not is_derived(a.slice_id)]
    worked_on = {a.slice_id for a in going_on if scene.is_working(a)}
    ends = (a.from_msn for a in going_on if a.slice_id not in worked_on or scene.is_working(a))
    return replace(word, parts_until_msn=min(ends, default=Msn(0)))


def _source(state: State, facts: Facts, seen: ChannelFacts, plan: Plan, *, idle_ms: int) -> Source:
    """The record that led to a start."""
    if plan.reason is Reason.FORECAST:
        return Source(text=state.cause("forecasts", facts.forecast_offset), at_unix_ms=facts.forecast_unix_ms)
    if plan.reason is Reason.FIRST_REQUEST:
        if facts.now - seen.audience.asked_unix_ms >= idle_ms:
            return Source()
        return Source(text=state.cause("demand", seen.audience.asked_offset), at_unix_ms=seen.audience.asked_unix_ms)
    return Source(text=state.cause("channels", seen.row.offset), at_unix_ms=seen.row.at_unix_ms)


def _ended_channels(scene: Scene, dealt: Dealt) -> tuple[str, ...]:
    """Channels that ended or vanished, once nothing of them is left to be made."""
    ended = set(dealt.ended)
    busy = {a.channel for key, a in scene.standing.assignments.items() if key not in ended}
    busy |= {a.channel for a in dealt.assignments} | {waiting.channel for waiting in dealt.waiting}
    gone = (
        channel
        for channel in {**scene.standing.plans, **scene.standing.packaging}
        if channel not in scene.facts.channels or scene.facts.channels[channel].end is not None
    )
    return tuple(sorted(channel for channel in gone if channel not in busy))


def _scaling(scene: Scene, dealt: Dealt, granted: Granted, alive: Sequence[Load]) -> Scaling:
    """Packagers for what is wanted at the start-up horizon, at the lengths that are wanted there, and for what waits if they would help."""
    policy, facts, loads = scene.policy, scene.facts, []
    ahead_ms, settings = policy.scaling.startup_ms, policy.granularity
    unwatched = Level.PARTS if settings.level == "parts" else Level.SEGMENTS
    for channel, asked in granted.wanted.items():
        seen, plan = facts.channels[channel], scene.plans[channel]
        horizon = seen.horizon(ahead_ms)
        if asked is Level.OFF and (horizon is None or horizon.sessions_p90 < SESSIONS_EXPECTED):
            continue
        level = unwatched if asked is Level.OFF else asked
        gops = granted.ahead.get(channel, plan.gops_per_segment)
        is_same = (level, gops) == (plan.level, plan.gops_per_segment)
        loads.append(scene.load(channel) if is_same else channel_load(seen, facts.cost, gops_per_segment=gops, level=level))
    budget = policy.assignment.part_ms_budget
    # What is late already is caught up with what the pool has: nobody starts for it who would be sent away again.
    waiting = [piece.load for piece in dealt.waiting if not piece.copy and piece.rank is not Rank.SPARE and not is_backlog(piece.slice_id)]
    rooms = {usable(c, utilisation=policy.assignment.utilisation_max, part_ms_budget=budget) for c in alive}
    fit = [load for load in waiting if not rooms or any(share(load, room) <= 1.0 for room in rooms)]
    missing = packagers_worth(fit, alive, policy.scaling, part_ms_budget=budget)
    scaling = choose_wanted(
        scene.standing.scaling,
        policy.scaling,
        worth=worth_with_spare(loads, alive, policy.scaling, part_ms_budget=budget, utilisation_max=policy.assignment.utilisation_max),
        missing=max(1, ceil(missing or 0)) if fit else 0,
        alive=len(alive),
        pool=scene.standing.pool,
        now=facts.now,
        number=scene.number,
    )
    told = (granted.price, len(waiting) - len(fit))
    if told == (scaling.price, scaling.unfit_slices):
        return scaling
    return replace(scaling, price=told[0], unfit_slices=told[1], decision=scene.number)


__all__ = ["Cause", "Changes", "Projection", "Standing", "apply", "decide", "orphans", "projections", "whole"]
