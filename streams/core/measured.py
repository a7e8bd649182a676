"""What the demand of the last minutes says of a channel's viewers, beside what the settings take for granted before there is any."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from math import sqrt
from operator import attrgetter

from schemas.records import HorizonForecast, TrackKind
from schemas.units import Ms
from streams.core.facts import ChannelFacts
from streams.core.folds import DEMAND_INTERVAL_MS

# A prior counts as much as so many objects (ten segments of four tracks) or so many seconds of sessions.
PRIOR_OBJECTS = 40
PRIOR_SECONDS = 600
# A throughput far above what a rendition needs is told as it is; waiting for it costs nobody anything.
PHI_MIN = 0.001
# Joins per second below which nobody is expected: one in a quarter of an hour.
JOINS_NONE_PER_S = 0.001
# Of a normal distribution, how many deviations its 0.9 quantile lies above the mean.
DEVIATIONS_P90 = 1.2816


def kept(facts: ChannelFacts, measure: Callable[[ChannelFacts, float], float], prior: float) -> float:
    """A measure of a channel's viewers, taken once while nothing of the channel changes."""
    found: float | None = facts.memo.get((measure, prior))
    if found is None:
        found = facts.memo[measure, prior] = measure(facts, prior)
    return found


def requests_per_object(facts: ChannelFacts, prior: float) -> float:
    """
    Requests that an object costs the origins: those of sessions of whole segments per segment and track, over the memory.

    Args:
        facts: The channel.
        prior: What is taken for granted; it counts as much as `PRIOR_OBJECTS`.
    """
    past = facts.audience.past
    if not past.active:
        return prior
    # Mostly whole segments were asked for in every interval since the first: then a search finds where to count from.
    first, last = min(past.active), max(past.active)
    begin = bisect_left(facts.segments, first * DEMAND_INTERVAL_MS, key=attrgetter("opened_unix_ms"))
    segments = len(facts.segments) - begin
    if len(past.active) <= last - first:
        opened = (segment.opened_unix_ms // DEMAND_INTERVAL_MS for segment in facts.segments[begin:])
        segments = sum(1 for number in opened if number in past.active)
    objects = segments * len(facts.period.tracks)
    if not objects:
        return prior
    return (prior * PRIOR_OBJECTS + past.whole_requests) / (PRIOR_OBJECTS + objects)


def phi(facts: ChannelFacts, prior: float) -> float:
    """
    Share of a segment's duration that a client waits to have it: the rate of the rendition that its throughput allows over that throughput.

    Args:
        facts: The channel.
        prior: What is taken for granted; it counts as much as `PRIOR_SECONDS` of sessions.
    """
    past = facts.audience.past
    if not past.told_s:
        return prior
    throughput_bps = 1_000 * past.told_kbits / past.told_s
    rates = sorted([t.bandwidth_bps for t in facts.period.tracks if t.kind is TrackKind.VIDEO]) or [facts.period.tracks[0].bandwidth_bps]
    fetched = rates[max(0, bisect_right(rates, throughput_bps) - 1)]
    told = min(1.0, max(PHI_MIN, fetched / throughput_bps))
    return (prior * PRIOR_SECONDS + told * past.told_s) / (PRIOR_SECONDS + past.told_s)


def whole_joins_per_s(facts: ChannelFacts, horizon: HorizonForecast, *, window_ms: Ms) -> float:
    """
    Joins, seeks, switches and stall recoveries per second to be ready for, of clients that fetch whole segments.

    The forecast's upper quantile counts as far as the joins seen within memory make such a rate likely, and its median whatever was seen:
    the band around a lone viewer is wide, and shortens nothing.

    Args:
        facts: The channel.
        horizon: Forecast for when the segment is fetched.
        window_ms: Time that the memory of demand covers.

    Returns:
        A rate >= 0; 0 where nobody is expected.
    """
    if horizon.joins_p90 <= 0 and not facts.audience.seen:
        return 0.0
    past, window_s = facts.audience.past, max(window_ms, DEMAND_INTERVAL_MS) / 1_000
    # The 0.9 quantile of the rate that this many joins came at (Anscombe, 1948: counts have a variance of one half as square roots).
    likely = (sqrt(past.joins + 3 / 8) + DEVIATIONS_P90 / 2) ** 2 / window_s
    joins = max(horizon.joins_p50, min(horizon.joins_p90, likely))
    rate = (joins + past.returns / window_s) * facts.audience.whole_share
    return rate if rate >= JOINS_NONE_PER_S else 0.0
