"""Forecast and cost to the granularity of a channel: level and segment length, with hysteresis."""

from dataclasses import dataclass
from math import inf, sqrt

from schemas.records import Cost, Level, Plan, Reason
from schemas.settings import GranularitySettings
from schemas.units import Ms, UnixMs
from streams.core.facts import ChannelFacts
from streams.core.policy import Policy

# Demand predicted for so soon is prepared for: a plain player's hold back is three targets of 4 s.
PREPARE_MS = 15_000
# Median sessions from which somebody is expected.
SESSIONS_EXPECTED = 1.0
# Joins per second below which nobody is expected: one in a quarter of an hour.
JOINS_NONE_PER_S = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """
    The two sides of a segment's length, per second of media and channel, in cores.

    Attributes:
        per_segment: Core-seconds that one more segment costs the pool at its present price, > 0.
        per_second: Cores that waiting costs for each second of length, >= 0.
    """

    per_segment: float
    per_second: float

    def cost(self, length_s: float) -> float:
        """
        Cores that segments of a length cost.

        >>> Balance(per_segment=0.006, per_second=0.0015).cost(2.0)
        0.006
        """
        return self.per_segment / length_s + self.per_second * length_s

    @property
    def ideal_s(self) -> float:
        """
        The length that costs least; infinite when nobody waits.

        Source:
            Economic order quantity (Harris, 1913): fixed cost per batch against cost of holding.

        >>> Balance(per_segment=0.006, per_second=0.0015).ideal_s
        2.0
        """
        return sqrt(self.per_segment / self.per_second) if self.per_second > 0 else inf


def balance(cost: Cost, *, tracks: int, joins_per_s: float, settings: GranularitySettings, price: float = 1.0) -> Balance:
    """
    What segments of a channel cost and what waiting for them costs.

    Args:
        cost: Learned coefficients.
        tracks: Tracks packaged.
        joins_per_s: Predicted joins, seeks, switches and stall recoveries of clients that fetch whole segments, per second.
        settings: Price of waiting, share of a segment a client waits, requests per object.
        price: Price of the pool's capacity, >= 1.
    """
    per_segment = tracks * (price * cost.per_segment + cost.per_request * settings.requests_per_object)
    return Balance(per_segment=per_segment, per_second=settings.wait_price_cores * joins_per_s * settings.phi)


def segment_gops(even: Balance, *, gop_ms: Ms, gops_max: int, target_ms: Ms) -> int:
    """
    GOPs of the segment length that costs least.

    Returns:
        The cheapest count whose length lies in [max(GOP, target / 4), target]; the longest when nobody waits.

    >>> joining = Balance(per_segment=0.006, per_second=0.0015)
    >>> segment_gops(joining, gop_ms=Ms(1_000), gops_max=4, target_ms=Ms(4_000))
    2
    >>> segment_gops(Balance(per_segment=0.006, per_second=0.0), gop_ms=Ms(1_000), gops_max=4, target_ms=Ms(4_000))
    4
    """
    if even.per_second <= 0:
        return gops_max
    least = min(gops_max, max(1, -(-(target_ms // 4) // gop_ms)))
    return min(range(least, gops_max + 1), key=lambda count: (even.cost(count * gop_ms / 1_000), -count))


def gops_ahead(facts: ChannelFacts, cost: Cost, settings: GranularitySettings, *, ahead_ms: int) -> int:
    """GOPs per segment that a channel will want so far ahead, without hysteresis: what capacity must be ready for."""
    horizon = facts.horizon(ahead_ms)
    joins = horizon.joins_p90 * facts.audience.whole_share if horizon else 0.0
    even = balance(cost, tracks=len(facts.period.tracks), joins_per_s=joins, settings=settings)
    return segment_gops(even, gop_ms=facts.gop_ms, gops_max=facts.gops_max, target_ms=facts.period.target_duration_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """
    A value and why it was chosen.

    Attributes:
        gops: GOPs per segment.
        reason: Why.
    """

    gops: int
    reason: Reason


def choose_length(facts: ChannelFacts, plan: Plan | None, cost: Cost, policy: Policy, *, now: UnixMs) -> Choice:
    """
    The segment length a channel gets: what balances, unless it is held.

    A length changes when it has held for ``hold_ms`` and the present one costs more than the best by the factor ``hysteresis``. Without
    a forecast it stays what it is.
    """
    settings, gops_max = policy.granularity, facts.gops_max
    present = min(plan.gops_per_segment, gops_max) if plan else gops_max
    horizon = facts.horizon(present * facts.gop_ms)
    if horizon is None:
        return Choice(gops=present, reason=Reason.TOO_LITTLE_EVIDENCE)
    joins = horizon.joins_p90 * facts.audience.whole_share
    joins = joins if joins >= JOINS_NONE_PER_S else 0.0
    even = balance(cost, tracks=len(facts.period.tracks), joins_per_s=joins, settings=settings)
    best = segment_gops(even, gop_ms=facts.gop_ms, gops_max=gops_max, target_ms=facts.period.target_duration_ms)
    reason = Reason.JOINS_EXPECTED if joins else Reason.NOBODY_JOINS
    if plan is None or best == present:
        return Choice(gops=best, reason=reason)
    gop_s = facts.gop_ms / 1_000
    pays = not joins or even.cost(present * gop_s) >= settings.hysteresis * even.cost(best * gop_s)
    is_free = now - plan.since_unix_ms >= settings.hold_ms
    return Choice(gops=best, reason=reason) if pays and is_free else Choice(gops=present, reason=Reason.HELD)


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelChoice:
    """
    A level and why it was chosen.

    Attributes:
        level: What is packaged.
        reason: Why.
    """

    level: Level
    reason: Reason


def choose_level(facts: ChannelFacts, plan: Plan | None, policy: Policy, *, now: UnixMs) -> LevelChoice:
    """
    What of a channel is packaged: parts while anybody watches, asks or is expected, else its idle level.

    A level that was raised stays for ``idle_ms`` after the newest request and after it was raised.
    """
    idle_ms, audience = policy.granularity.idle_ms, facts.audience
    unwatched = Level.OFF if facts.period.idle_level is Level.OFF else Level.PARTS
    if unwatched is Level.PARTS:
        return LevelChoice(level=unwatched, reason=Reason.IDLE_LEVEL)
    if audience.active_unix_ms and now - audience.active_unix_ms < idle_ms:
        return LevelChoice(level=Level.PARTS, reason=Reason.FIRST_REQUEST)
    if _is_expected(facts):
        return LevelChoice(level=Level.PARTS, reason=Reason.FORECAST)
    if plan and plan.level is not Level.OFF and now - plan.since_unix_ms < idle_ms:
        return LevelChoice(level=plan.level, reason=Reason.HELD)
    return LevelChoice(level=Level.OFF, reason=Reason.IDLE)


def _is_expected(facts: ChannelFacts) -> bool:
    horizons = facts.forecast.horizons if facts.forecast else ()
    return any(h.horizon_ms <= PREPARE_MS and h.sessions_p50 >= SESSIONS_EXPECTED for h in horizons)


def choose_plan(facts: ChannelFacts, plan: Plan | None, cost: Cost, policy: Policy, *, now: UnixMs, number: int) -> Plan:
    """
    The granularity of a channel after this decision: the plan itself if nothing changes.

    Args:
        facts: The channel.
        plan: Granularity in force; None for a new channel.
        cost: Learned packaging cost.
        policy: Settings.
        now: Time of the decision.
        number: Number of the decision.
    """
    if plan and not facts.is_live:
        return plan
    level = choose_level(facts, plan, policy, now=now)
    length = choose_length(facts, plan, cost, policy, now=now)
    if plan and (plan.level, plan.gops_per_segment) == (level.level, length.gops):
        return plan
    if plan is None:
        reason = level.reason if level.level is not Level.OFF else Reason.NEW_CHANNEL
    else:
        reason = level.reason if plan.level is not level.level else length.reason
    return Plan(
        channel=facts.channel,
        level=level.level,
        gops_per_segment=length.gops,
        since_unix_ms=now,
        decision=number,
        reason=reason,
    )
