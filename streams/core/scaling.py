"""Forecast load to the number of packagers wanted, stabilised before it falls."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from schemas.records import Load, Reason, Scaling
from schemas.settings import ScalingSettings
from schemas.units import UnixMs
from streams.core.load import NOTHING, bounds, share_with, total, usable, vector

# Fewer would do only if they did with so much more: a load that trembles at a whole number writes nothing.
LOW_MARGIN = 1.1


def packagers_worth(loads: Sequence[Load], capacities: Sequence[Load], settings: ScalingSettings, *, part_ms_budget: float) -> float | None:
    """
    How many packagers the loads are worth at the target utilisation, each as large as the median of those alive.

    Returns:
        A fraction, >= 0; None when no capacity is known.

    >>> packagers_worth([Load(cores=0.5)] * 6, [Load(cores=2.0)], ScalingSettings(), part_ms_budget=150.0)
    2.5
    """
    if not capacities:
        return None
    typical = sorted(capacities, key=lambda load: load.cores)[len(capacities) // 2]
    aimed = usable(typical, utilisation=settings.target_utilisation, part_ms_budget=part_ms_budget * settings.target_utilisation)
    return share_with(total(map(vector, loads)), NOTHING, bounds(aimed)) if aimed.cores > 0 else None


def worth_with_spare(
    loads: Sequence[Load], capacities: Sequence[Load], settings: ScalingSettings, *, part_ms_budget: float, utilisation_max: float
) -> float | None:
    """
    How many packagers the loads are worth at the target utilisation, and so many that all but the spare ones could carry everything.

    >>> settings = ScalingSettings(spare=1)
    >>> worth_with_spare([Load(cores=0.5)] * 6, [Load(cores=2.0)], settings, part_ms_budget=150.0, utilisation_max=1.0)
    3
    """
    worth = packagers_worth(loads, capacities, settings, part_ms_budget=part_ms_budget)
    if not worth or not settings.spare:
        return worth
    full = packagers_worth(
        loads, capacities, settings.model_copy(update={"target_utilisation": utilisation_max}), part_ms_budget=part_ms_budget
    )
    return max(worth, ceil(full or 0) + settings.spare)


def choose_wanted(
    before: Scaling | None,
    settings: ScalingSettings,
    *,
    worth: float | None,
    missing: int,
    alive: int,
    pool: int,
    now: UnixMs,
    number: int,
) -> Scaling:
    """
    Packagers wanted after this decision; the record itself if nothing changes.

    More are wanted at once. Fewer are wanted when fewer would have done for ``stabilise_ms``, and then as many as were needed at most
    in that time.

    Args:
        before: In force.
        settings: Limits and window.
        worth: Packagers that the load at the start-up horizon is worth; None without evidence.
        missing: Packagers that slices in the queue ask for.
        alive: Packagers alive.
        pool: Pool.
        now: Time of the decision.
        number: Number of the decision.
    """
    present = before.wanted if before else settings.packagers_min
    level = max(present if worth is None else worth, alive + missing if missing else 0)
    need = _clamp(level, settings)
    fresh = Scaling(
        pool=pool,
        wanted=need,
        at_horizon=need,
        alive=alive,
        since_unix_ms=now,
        decision=number,
        reason=Reason.NO_CAPACITY if missing else Reason.LOAD,
    )
    if before is None or need > present:
        return fresh
    if need == present:
        if not before.low_since_unix_ms:
            return before
        return replace(before, at_horizon=need, alive=alive, low_since_unix_ms=UnixMs(0), decision=number, reason=Reason.STEADY)
    if not before.low_since_unix_ms:
        if _clamp(level * LOW_MARGIN, settings) >= present:
            return before
        return replace(before, at_horizon=need, alive=alive, low_since_unix_ms=now, decision=number, reason=Reason.HELD)
    peak = max(need, before.at_horizon)
    if now - before.low_since_unix_ms >= settings.stabilise_ms:
        return replace(fresh, wanted=peak, at_horizon=peak)
    return before if peak == before.at_horizon else replace(before, at_horizon=peak, alive=alive, decision=number)


def _clamp(level: float, settings: ScalingSettings) -> int:
    # Sums of shares are a rounding error above whole numbers.
    return max(settings.packagers_min, min(settings.packagers_max, ceil(level - 1e-9)))
