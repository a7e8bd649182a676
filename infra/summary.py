"""The summary of a run: figures from its log and its processes, for people and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.present import Life
from infra.processes import Usage
from infra.tally import Tally
from schemas.errors import UserError
from schemas.units import UnixMs

LOST_SHOWN_MAX = 20
# Below this a tenth of a millisecond matters.
SMALL_MS = 10
# An encoder this late makes viewers stall, whatever the rest does.
LAG_MS_MAX = 3_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Outside:
    """
    What the log does not tell.

    Attributes:
        startup_s: From the command to everything being ready.
        seconds: Length of the run.
        usage: CPU and memory of each process.
        viewers: What the audience saw.
        raw_latency_ms: Produce to consume on the broker alone.
        killed: Life of the packager that was killed.
        killed_unix_ms: When.
    """

    startup_s: float
    seconds: float
    usage: Mapping[str, Usage]
    viewers: Mapping[str, Any] = field(default_factory=dict)
    raw_latency_ms: Mapping[str, float] = field(default_factory=dict)
    killed: Life | None = None
    killed_unix_ms: UnixMs | None = None


def figures(tally: Tally, outside: Outside) -> dict[str, Any]:
    """Every figure of the summary, by name."""
    live_ms, late_ms = tally.part_latencies_ms()
    takeovers = tally.takeovers_ms(outside.killed, killed_unix_ms=outside.killed_unix_ms) if outside.killed else []
    lost = tally.lost()
    return {
        "chunks_in": tally.chunks,
        "segments_out": len(tally.published),
        "parts_out": tally.part_count,
        "lost": len(lost),
        "conflicting_objects": len(tally.conflicts),
        "discontinuities": tally.discontinuities(),
        "decisions": tally.decisions,
        "reassignments": len(tally.moves),
        "takeover_ms": max(takeovers, default=None),
        "part_latency_ms": quantiles(live_ms),
        "assignment_latency_ms": quantiles(tally.assignment_ms),
        "raw_latency_ms": dict(outside.raw_latency_ms),
        "forecast": _forecast(tally),
        "segment_length_s": {channel: tally.segment_lengths_s(channel) for channel in tally.channels},
        "viewers": _viewers(tally, outside.viewers),
        "cpu_s": {name: usage.cpu_s for name, usage in outside.usage.items()},
        "rss_mb": {name: usage.rss_mb for name, usage in outside.usage.items()},
        "startup_s": outside.startup_s,
        "seconds": round(outside.seconds, 1),
        "catch_up_latency_ms": quantiles(late_ms),
        "encoder_lag_ms": {channel: tally.encoder_lag_ms[channel] for channel in tally.channels},
        "levels": {channel: _levels(tally, channel) for channel in tally.channels},
        "slices_moved": [f"{m.channel}: {m.before[0]} to {m.after[0]} ({m.reason})" for m in tally.moves],
        "lost_segments": [f"{channel}/{track}/{msn}" for channel, msn, track in lost[:LOST_SHOWN_MAX]],
        "conflicts": sorted(tally.conflicts)[:LOST_SHOWN_MAX],
        "voids": len(tally.voids),
        "failures": dict(tally.failures),
        "rejects": tally.rejects,
    }


def is_clean(found: Mapping[str, Any]) -> bool:
    """Nothing was lost and nothing conflicted."""
    return not found["lost"] and not found["conflicting_objects"]


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """
    Median and 99 % quantile, nearest rank; None of nothing.

    >>> quantiles(range(1, 101)), quantiles([])
    ({'p50': 50, 'p99': 99}, {'p50': None, 'p99': None})
    """
    ranked = sorted(values)
    return {f"p{percent}": ranked[-(-len(ranked) * percent // 100) - 1] if ranked else None for percent in (50, 99)}


def write(found: Mapping[str, Any], file: Path) -> None:
    """
    The figures as JSON in a file.

    Raises:
        UserError: It cannot be written.
    """
    try:
        file.write_text(json.dumps(found, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"cannot write the summary to {file}: {error.strerror}") from error


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the figures for people."""
    clean = is_clean(found)
    console.rule("[bold]summary", style="green" if clean else "red")
    console.print(_counts(found))
    console.print(_times(found))
    console.print(_channels(found))
    console.print(_processes(found))
    forecast = found["forecast"]
    if forecast["mae"] is not None:
        mix, last = forecast["mae"], forecast["mae_last_value"]
        console.print(f"forecast of {forecast['channel']}: mean error {mix:.2f} sessions, of the last value {last:.2f}", highlight=False)
    for channel, lag_ms in found["encoder_lag_ms"].items():
        if lag_ms > LAG_MS_MAX:
            behind = f"the encoder of {channel} fell {lag_ms / 1_000:.1f} s behind its time: this machine is too busy, viewers wait for it"
            console.print(f"[yellow]{behind}", highlight=False)
    for lost in found["lost_segments"]:
        console.print(f"[red]lost: {lost}")
    for name in found["conflicts"]:
        console.print(f"[red]two contents: {name}")
    verdict = "nothing lost, nothing conflicting" if clean else f"{found['lost']} lost, {found['conflicting_objects']} conflicting"
    colour, ready = "green" if clean else "red", f"ready {found['startup_s']:.1f} s after its processes were started"
    console.print(f"[bold {colour}]{verdict}[/], {ready}", highlight=False)


def _counts(found: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    viewers = found["viewers"]
    rows = [
        ("chunks in", found["chunks_in"], "lost", found["lost"]),
        ("segments out", found["segments_out"], "conflicting objects", found["conflicting_objects"]),
        ("parts out", found["parts_out"], "discontinuities", found["discontinuities"]),
        ("decisions", found["decisions"], "records rejected", found["rejects"]),
        ("slices moved", found["reassignments"], "takeover after the kill", _ms(found["takeover_ms"])),
        ("viewers", viewers["sessions"], "stalls of viewers", viewers["stalls"]),
    ]
    for left, value, right, other in rows:
        table.add_row(left, f"[bold]{value}[/]", f"   {right}", f"[bold]{other}[/]")
    return table


def _times(found: Mapping[str, Any]) -> Table:
    table = _table("time", "p50", "p99")
    names = {
        "part_latency_ms": "last chunk durable to part announced",
        "catch_up_latency_ms": "the same, of parts caught up after a start or takeover",
        "assignment_latency_ms": "event to assignment",
        "raw_latency_ms": "the broker alone, produce to consume",
    }
    for key, name in names.items():
        table.add_row(name, _ms(found[key].get("p50")), _ms(found[key].get("p99")))
    return table


def _channels(found: Mapping[str, Any]) -> Table:
    table = Table("channel", "level", "segment length, s", header_style="dim")
    for channel, lengths in found["segment_length_s"].items():
        table.add_row(channel, " > ".join(found["levels"][channel]) or "-", " > ".join(f"{length:g}" for length in lengths))
    return table


def _processes(found: Mapping[str, Any]) -> Table:
    table = _table("process", "CPU s", "cores", "MB")
    for name, cpu_s in found["cpu_s"].items():
        table.add_row(name, f"{cpu_s:.1f}", f"{cpu_s / max(found['seconds'], 1):.2f}", f"{found['rss_mb'][name]:.0f}")
    return table


def _table(first: str, *figures: str) -> Table:
    table = Table(first, header_style="dim")
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms" if value >= SMALL_MS else f"{value:.1f} ms"


def _levels(tally: Tally, channel: str) -> list[str]:
    levels: list[str] = []
    for plan in tally.plans[channel]:
        if not levels or levels[-1] != plan.level.value:
            levels.append(plan.level.value)
    return levels


def _forecast(tally: Tally) -> dict[str, Any]:
    """Errors of the forecasts for the channel with the largest audience, as the models keep them."""
    if not tally.forecasts:
        return {"mae": None, "mae_last_value": None, "channel": None, "model": None}
    crowded = max(sorted(tally.forecasts), key=lambda channel: tally.sessions_max[channel])
    newest = tally.forecasts[crowded]
    return {"mae": round(newest.mae, 3), "mae_last_value": round(newest.mae_last_value, 3), "channel": crowded, "model": newest.model}


def _viewers(tally: Tally, seen: Mapping[str, Any]) -> dict[str, Any]:
    startups = seen.get("startup_s", [])
    kept = ("present_max", "stalled_s", "segments", "received_bytes", "gaps", "discontinuities", "problem_count", "problems", "statuses")
    return {
        "sessions": seen.get("sessions", 0),
        "stalls": seen.get("stalls", 0),
        "stalls_reported": tally.stalls_reported,
        "startup_ms": quantiles([round(second * 1_000) for second in startups]),
        **{name: seen[name] for name in kept if name in seen},
    }
