"""How long a channel's segments are: where what packaging costs and what joining viewers wait balance, held against noise."""

from dataclasses import dataclass
from math import inf, sqrt

from schemas.records import Cost, HorizonForecast, Plan, Reason
from schemas.settings import GranularitySettings
from schemas.units import Ms, UnixMs
from streams.core.facts import ChannelFacts
from streams.core.measured import kept, phi, requests_per_object, whole_joins_per_s
from streams.core.policy import Policy

# Joins are counted over no less: below it the forecast's median of a channel with a join per second is now 0, now 2.
JOINS_AHEAD_MS = 15_000


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """
    What the balance of a channel is made of, before the pool's price.

    Attributes:
        packaging: Core-seconds of the pool's packagers for one more segment of all tracks: what the price is put on.
        serving: Core-seconds of origins for its requests.
        waiting: Cores that waiting costs for each second of length.
    """

    packaging: float
    serving: float
    waiting: float

    def at(self, price: float) -> Balance:
        """The balance at a price, >= 1, of the pool's capacity."""
        return Balance(per_segment=price * self.packaging + self.serving, per_second=self.waiting)

    def price_beyond(self, length_s: float, next_s: float) -> float:
        """
        The price from which on the longer of two lengths costs no more than the shorter.

        >>> terms = Terms(packaging=0.002, serving=0.004, waiting=0.01)
        >>> price = terms.price_beyond(1.0, 2.0)
        >>> round(price, 6), terms.at(price).cost(2.0) <= terms.at(price).cost(1.0)
        (8.0, True)
        """
        return (self.waiting * length_s * next_s - self.serving) / self.packaging if self.packaging > 0 else inf


def balance(
    cost: Cost,
    *,
    tracks: int,
    joins_per_s: float,
    settings: GranularitySettings,
    price: float = 1.0,
    phi: float | None = None,
    requests_per_object: float | None = None,
) -> Balance:
    """
    What segments of a channel cost and what waiting for them costs.

    Args:
        cost: Learned coefficients.
        tracks: Tracks packaged.
        joins_per_s: Predicted joins, seeks, switches and stall recoveries of clients that fetch whole segments, per second.
        settings: Price of waiting.
        price: Price of the pool's capacity, >= 1.
        phi: Share of a segment's duration that a client waits to have it; that of the settings by default.
        requests_per_object: Requests that reach the origins; as the settings have it by default.
    """
    return Terms(
        packaging=tracks * cost.per_segment,
        serving=tracks * cost.per_request * (settings.requests_per_object if requests_per_object is None else requests_per_object),
        waiting=settings.wait_price_cores * joins_per_s * (settings.phi if phi is None else phi),
    ).at(price)


def joins_horizon(facts: ChannelFacts, ahead_ms: int) -> HorizonForecast | None:
    """The forecast that lengths are weighed by: in a few seconds single viewers come or do not, and a length holds for longer."""
    return facts.horizon(max(ahead_ms, JOINS_AHEAD_MS))


def terms(facts: ChannelFacts, cost: Cost, settings: GranularitySettings, *, ahead_ms: int, window_ms: Ms) -> Terms | None:
    """
    The balance of a channel so far ahead, from what is measured and forecast; None without a forecast.

    Args:
        facts: The channel.
        cost: Learned coefficients.
        settings: Price of waiting, and what is taken for granted before it is measured.
        ahead_ms: How far ahead.
        window_ms: Time that the memory of demand covers.
    """
    horizon = joins_horizon(facts, ahead_ms)
    if horizon is None:
        return None
    joins = whole_joins_per_s(facts, horizon, window_ms=window_ms)
    tracks = len(facts.period.tracks)
    if not joins:
        return Terms(packaging=tracks * cost.per_segment, serving=0.0, waiting=0.0)
    return Terms(
        packaging=tracks * cost.per_segment,
        serving=tracks * cost.per_request * kept(facts, requests_per_object, settings.requests_per_object),
        waiting=settings.wait_price_cores * joins * kept(facts, phi, settings.phi),
    )


def weigh(facts: ChannelFacts, cost: Cost, settings: GranularitySettings, *, ahead_ms: int, window_ms: Ms) -> tuple[Terms | None, int]:
    """The `terms` of a channel and the GOPs that they make at no price, the most when nobody waits; kept while nothing changes."""
    known: tuple[Cost, GranularitySettings, Ms, tuple[Terms | None, int]] | None = facts.memo.get(ahead_ms)
    if known is None or known[0] is not cost or known[1] is not settings or known[2] != window_ms:
        weighed = terms(facts, cost, settings, ahead_ms=ahead_ms, window_ms=window_ms)
        least = ideal_gops(facts, weighed.at(1.0)) if weighed and weighed.waiting else facts.gops_max
        known = facts.memo[ahead_ms] = (cost, settings, window_ms, (weighed, least))
    return known[3]


def segment_gops(even: Balance, *, gop_ms: Ms, gops_max: int, target_ms: Ms) -> int:
    """
    GOPs of the segment length that costs least.

    Returns:
        The cheapest count whose length lies in [max(GOP, target / 4), target], the longer of two that cost the same; the longest when
        nobody waits.

    >>> joining = Balance(per_segment=0.006, per_second=0.0015)
    >>> segment_gops(joining, gop_ms=Ms(1_000), gops_max=4, target_ms=Ms(4_000))
    2
    >>> segment_gops(Balance(per_segment=0.006, per_second=0.0), gop_ms=Ms(1_000), gops_max=4, target_ms=Ms(4_000))
    4
    """
    return _cheapest(even, gop_ms / 1_000, min(gops_max, max(1, -(-(target_ms // 4) // gop_ms))), gops_max)


def ideal_gops(facts: ChannelFacts, even: Balance) -> int:
    """GOPs of the length that costs a channel least, among those that it may have."""
    return _cheapest(even, facts.gop_ms / 1_000, facts.gops_min, facts.gops_max)


def fixed_gops(facts: ChannelFacts, segment_ms: int) -> int:
    """GOPs of the length nearest to a wanted one, among those that a channel may have."""
    return min(max(round(segment_ms / facts.gop_ms), facts.gops_min), facts.gops_max)


def _cheapest(even: Balance, gop_s: float, least: int, most: int) -> int:
    # One GOP more costs no more while per_segment / (n (n + 1) gop) >= per_second gop.
    held, count = even.per_second * gop_s * gop_s, least
    while count < most and even.per_segment >= held * count * (count + 1):
        count += 1
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """
    A value and why it was chosen.

    Attributes:
        gops: GOPs per segment.
        reason: Why.
        gain: By which factor the length before costs more.
    """

    gops: int
    reason: Reason
    gain: float = 1.0


def choose_length(
    facts: ChannelFacts, plan: Plan | None, cost: Cost, policy: Policy, *, now: UnixMs, price: float = 1.0, window_ms: Ms | None = None
) -> Choice:
    """
    The segment length a channel gets: what balances, unless it is held.

    A length changes when it has held for ``hold_ms`` and the present one costs more than the best by the factor ``hysteresis``. Without
    a forecast it stays what it is.

    Args:
        facts: The channel.
        plan: Granularity in force; None for a new channel.
        cost: Learned coefficients.
        policy: Settings.
        now: Time of the decision.
        price: Price of the pool's capacity.
        window_ms: Time that the memory of demand covers; all of it by default.
    """
    present = present_gops(facts, plan)
    window = Ms(policy.planner.memory_ms) if window_ms is None else window_ms
    weighed = terms(facts, cost, policy.granularity, ahead_ms=present * facts.gop_ms, window_ms=window)
    return settle_length(facts, plan, weighed, policy, now=now, price=price)


def present_gops(facts: ChannelFacts, plan: Plan | None) -> int:
    """GOPs per segment in force; the longest of a new channel."""
    return min(plan.gops_per_segment, facts.gops_max) if plan else facts.gops_max


def settle_length(
    facts: ChannelFacts, plan: Plan | None, weighed: Terms | None, policy: Policy, *, now: UnixMs, price: float
) -> Choice:  # fmt: skip
    """The segment length that terms make at a price, unless it is held; as `choose_length`."""
    settings, present = policy.granularity, present_gops(facts, plan)
    if settings.segment_ms:
        return Choice(gops=fixed_gops(facts, settings.segment_ms), reason=Reason.STEADY)
    if weighed is None:
        return Choice(gops=present, reason=Reason.TOO_LITTLE_EVIDENCE)
    if plan is not None and now - plan.since_unix_ms < settings.hold_ms:
        return Choice(gops=present, reason=Reason.HELD)
    if not weighed.waiting:
        best, reason, gain = facts.gops_max, Reason.NOBODY_JOINS, inf
    else:
        even, gop_s = weighed.at(price), facts.gop_ms / 1_000
        best, reason = ideal_gops(facts, even), Reason.JOINS_EXPECTED
        if best > present and price > 1 and ideal_gops(facts, weighed.at(1.0)) < best:
            reason = Reason.LOAD
        gain = even.cost(present * gop_s) / even.cost(best * gop_s)
    if plan is None or best == present:
        return Choice(gops=best, reason=reason)
    if gain >= settings.hysteresis:
        return Choice(gops=best, reason=reason, gain=gain)
    return Choice(gops=present, reason=Reason.HELD)
