"""What of a channel is packaged: nothing, whole segments, or parts, as its viewers fetch or are expected to."""

from dataclasses import dataclass

from schemas.records import Level, Plan, Reason
from schemas.units import UnixMs
from streams.core.facts import ChannelFacts, Facts
from streams.core.policy import Policy

# Median sessions from which somebody is expected.
SESSIONS_EXPECTED = 1.0
RANK = {Level.OFF: 0, Level.SEGMENTS: 1, Level.PARTS: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelChoice:
    """
    A level and why it was chosen.

    Attributes:
        level: What is packaged.
        reason: Why.
        is_watched: Whether somebody watches or asked lately.
        is_expected: Whether somebody is expected.
    """

    level: Level
    reason: Reason
    is_watched: bool = False
    is_expected: bool = False


def choose_level(facts: ChannelFacts, plan: Plan | None, policy: Policy, *, now: UnixMs, pool: Facts | None = None) -> LevelChoice:
    """
    What of a channel is packaged: what its viewers fetch, those who are there and those who are expected, and no less than its idle level.

    Whole segments are for clients of whole segments; one client that follows or asks for parts makes it parts, in all tracks, since a
    player changes between them at any part. A level that was raised stays for ``idle_ms`` after the newest request that it serves and
    after it was raised.

    Args:
        facts: The channel.
        plan: Granularity in force; None for a new channel.
        policy: Settings.
        now: Time of the decision.
        pool: All channels: what is expected of one that nobody watched yet.
    """
    settings, audience, idle_level = policy.granularity, facts.audience, facts.period.idle_level
    is_watched = audience.active_unix_ms > 0 and now - audience.active_unix_ms < settings.idle_ms
    expected = facts.expected_sessions
    held = plan.level if plan and now - level_since(plan) < settings.idle_ms else Level.OFF
    if is_watched:
        reason, level = Reason.FIRST_REQUEST, Level.SEGMENTS
    elif expected >= SESSIONS_EXPECTED:
        reason, level = Reason.FORECAST, Level.SEGMENTS
    else:
        reason, level = Reason.IDLE, Level.OFF
    if settings.level == "auto":
        if audience.low_latency_unix_ms and now - audience.low_latency_unix_ms < settings.idle_ms:
            level = Level.PARTS
        elif level is Level.SEGMENTS and expected * low_latency_share(facts, pool) >= SESSIONS_EXPECTED:
            reason, level = Reason.FORECAST, Level.PARTS
    if held is not level and RANK[held] > RANK[level]:
        reason, level = Reason.HELD, held
    if (idle_level is level and not is_watched) or (idle_level is not Level.OFF and RANK[idle_level] > RANK[level]):
        reason, level = (Reason.IDLE_LEVEL if idle_level is not Level.OFF else Reason.IDLE), idle_level
    if settings.level != "auto" and level is not Level.OFF:
        level = Level(settings.level)
    return LevelChoice(level=level, reason=reason, is_watched=is_watched, is_expected=expected >= SESSIONS_EXPECTED)


def level_since(plan: Plan) -> UnixMs:
    """Since when a plan's level holds; plans of before that was recorded say when they changed last."""
    return plan.level_since_unix_ms or plan.since_unix_ms


def low_latency_share(facts: ChannelFacts, pool: Facts | None) -> float:
    """Share of a channel's viewers that fetch parts, within memory; that of the pool for a channel without viewers."""
    share = facts.audience.past.low_latency_share
    if share is not None:
        return share
    return pool.low_latency_share if pool else 0.0
