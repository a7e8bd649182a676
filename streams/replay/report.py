"""A picture of a run from its records: demand and forecast, segment length, and what packagers carry."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

from schemas.errors import UserError
from schemas.records import Decision, Demand, Forecasts, Gop, Heartbeat, Period, Reason
from schemas.timeline import frames_per_gop

from .entries import Entry

Series = dict[str, list[tuple[float, float]]]
# Forecasts are drawn where they were made for, at about this horizon: far enough to be one, near enough to be judged in a short run.
HORIZON_MS = 5_000
# Legends stand above the curves.
LEGEND_ROOM = 1.35
WIDTH_IN, HEIGHT_IN, DOTS_PER_IN = 11, 10, 110


def draw(entries: Iterable[Entry], file: Path) -> None:
    """
    Draw the records of a run to an image; its kind follows the file's ending.

    Raises:
        UserError: There is nothing to draw, or the file cannot be written.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels, deaths, begin_ms = _collect(entries)
    if not any(panels.values()):
        raise UserError("nothing to draw: no demand, plans or heartbeats in this stretch of the log")
    figure, axes = plt.subplots(len(panels), 1, figsize=(WIDTH_IN, HEIGHT_IN), sharex=True, layout="constrained")
    for axis, (title, series) in zip(axes, panels.items(), strict=True):
        for label in sorted(series):
            points = sorted(series[label])
            stepped = "segment" in title or "packagers, " in title
            line = {"drawstyle": "steps-post"} if stepped else {"linestyle": "--"} if label.endswith(("p50", "p90")) else {}
            axis.plot([(at - begin_ms) / 1_000 for at, _ in points], [value for _, value in points], label=label, linewidth=1.4, **line)
        axis.set_title(title, loc="left", fontsize=10)
        for number, at in enumerate(deaths):
            told = "" if number else "a packager is declared dead"
            axis.axvline((at - begin_ms) / 1_000, color="crimson", linewidth=1, linestyle=":", label=told)
        top = max((value for points in series.values() for _, value in points), default=0)
        axis.set_ylim(0, top * LEGEND_ROOM or 1)
        axis.grid(alpha=0.25)
        if series:
            axis.legend(fontsize=8, loc="upper left", ncols=4)
    axes[-1].set_xlabel("seconds")
    try:
        figure.savefig(file, dpi=DOTS_PER_IN)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot draw to {file}: {error}", do="name a .png, .svg or .pdf file in a folder that exists") from error
    finally:
        plt.close(figure)


def _collect(entries: Iterable[Entry]) -> tuple[dict[str, Series], list[float], float]:
    sessions, lengths, cores, slices, packagers = (defaultdict[str, list[tuple[float, float]]](list) for _ in range(5))
    heard = defaultdict[int, set[str]](set)
    gop_s: dict[str, float] = {}
    deaths: list[float] = []
    begin_ms = float("inf")
    for entry in entries:
        record, at = entry.record, entry.at_unix_ms
        begin_ms = min(begin_ms, at)
        if isinstance(record, Period):
            gop_s[record.channel] = frames_per_gop(record) * record.frame_rate_den / record.frame_rate_num
        elif isinstance(record, Demand):
            for seen in record.channels:
                count = seen.whole_sessions + seen.part_sessions + seen.chunked_sessions
                sessions[seen.channel].append((record.at_unix_ms, count))
        elif isinstance(record, Forecasts):
            _forecast(record, sessions)
        elif isinstance(record, Gop):
            lengths[record.channel].append((at, record.gop_count * gop_s.get(record.channel, 1.0)))
        elif isinstance(record, Heartbeat):
            cores[record.packager_id].append((at, record.use.cores))
            heard[at // 1_000].add(record.packager_id)
        elif isinstance(record, Decision):
            slices["waiting slices"].append((at, len(record.queued)))
            if record.scaling is not None:
                packagers["wanted"].append((at, record.scaling.wanted))
            if not record.whole:
                deaths += [dead.at_unix_ms for dead in record.dead if dead.reason is Reason.PACKAGER_DEAD]
    if heard:
        packagers["heard of"] = [(second * 1_000, len(names)) for second, names in sorted(heard.items())]
    for label in list(sessions):
        if not any(value for _, value in sessions[label]):
            del sessions[label]
    panels = {
        "sessions, and their forecast": sessions,
        "segment length as stamped, s": lengths,
        "cores used by packagers": cores,
        "packagers, wanted and heard of in each second": packagers,
    }
    if any(value for _, value in slices["waiting slices"]):
        panels["slices that wait for capacity"] = slices
    return {title: dict(series) for title, series in panels.items()}, deaths, begin_ms


def _forecast(record: Forecasts, sessions: Any) -> None:
    for forecast in record.channels:
        if not forecast.horizons:
            continue
        horizon = min(forecast.horizons, key=lambda h: abs(h.horizon_ms - HORIZON_MS))
        at = record.at_unix_ms + horizon.horizon_ms
        sessions[f"{forecast.channel} in {horizon.horizon_ms / 1_000:g} s, p50"].append((at, horizon.sessions_p50))
        sessions[f"{forecast.channel} in {horizon.horizon_ms / 1_000:g} s, p90"].append((at, horizon.sessions_p90))
