"""The verdict as one readable table in the terminal, and as JSON beside it."""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.cast import HOT
from tests.chaos.effects import Effect
from tests.chaos.plan import KINDS, PACKAGER, STORE
from tests.chaos.verdict import Verdict

# Where no terminal says how wide it is.
WIDTH = None if sys.stdout.isatty() else 150
# Of what a process said last so much stands in the table; all of it in the JSON.
LAST_CHARS = 300


def show(verdict: Verdict, console: Console) -> None:
    """Faults by kind, then every promise."""
    table = Table(title="what faults did", title_justify="left", caption_justify="left", caption=_caption(verdict))
    for head in ("fault", "times", "took over: p50", "p95", "max s", "nothing new for: max s", "back: max s", "stalls"):
        table.add_column(head, justify="left" if head == "fault" else "right")
    by_kind = defaultdict[str, list[Effect]](list)
    for effect in verdict.effects:
        by_kind[effect.kind].append(effect)
    for kind in (name for name in KINDS if name in by_kind):
        table.add_row(f"{kind} [dim]{KINDS[kind].about}[/]", *_row(by_kind[kind]))
    table.add_section()
    table.add_row("all", *_row(verdict.effects))
    console.print(table)
    kept = Table(title="what was promised", title_justify="left", show_header=False)
    for check in verdict.checks:
        kept.add_row("[green]kept[/]" if check.is_kept else "[bold red]BROKEN[/]", check.name, check.told)
    console.print(kept)
    for line in _told(verdict):
        console.print(line, highlight=False, soft_wrap=True)


def write(verdict: Verdict, file: Path) -> None:
    """All of it as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(verdict.plain(), indent=1, default=str))


def quantile(values: Sequence[int], share: float) -> int:
    """
    The smallest value that so large a share does not exceed.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([7], 0.95)
    (2, 7)
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def ended_told(ended: Sequence[Mapping[str, Any]], *, begin_unix_ms: int) -> list[str]:
    """
    Who ended by itself, when, and what it said last.

    >>> ended_told([{"name": "play-1", "status": 1, "at_unix_ms": 4_500, "last": "error: no"}], begin_unix_ms=1_000)
    ['play-1 ended by itself with status 1 at 3.5 s: error: no']
    >>> ended_told([], begin_unix_ms=0)
    ['nobody ended by itself']
    """
    lines = [
        f"{one['name']} ended by itself with status {one['status']} at {(one['at_unix_ms'] - begin_unix_ms) / 1_000:.1f} s: "
        f"{one['last'][:LAST_CHARS]}"
        for one in ended
    ]
    return lines or ["nobody ended by itself"]


def _row(effects: Iterable[Effect]) -> list[str]:
    found = list(effects)
    took = [e.takeover_ms for e in found if e.takeover_ms is not None]
    seconds = [f"{quantile(took, share) / 1_000:.1f}" for share in (0.5, 0.95, 1.0)] if took else ["-"] * 3
    gap = max((e.gap_ms for e in found if e.tracks), default=None)
    back = max((e.back_ms for e in found if e.back_ms is not None), default=None)
    most = ["-" if ms is None else f"{ms / 1_000:.1f}" for ms in (gap, back)]
    return [str(len(found)), *seconds, *most, str(sum(e.stalls for e in found))]


def _caption(verdict: Verdict) -> str:
    without = sum(not one.causes and not one.is_machine for one in verdict.stalls)
    return (
        "took over: from the fault to the first part of all it touched that was not durable before; "
        "back: from when it was started again until it did its work; "
        f"a stall counts for the last fault before it, {without} stalls came without one"
    )


def _told(verdict: Verdict) -> list[str]:
    lines = []
    watched = verdict.figures["played_s"]
    stalled = Counter[str]()
    seconds = Counter[str]()
    for one in verdict.stalls:
        stalled[one.stall.viewer] += 1
        seconds[one.stall.viewer] += (one.stall.end_unix_ms - one.stall.begin_unix_ms) // 1_000
    viewers = ", ".join(f"{name} {stalled[name]} in {played / 60:.1f} min ({seconds[name]} s)" for name, played in sorted(watched.items()))
    lines.append(f"stalls of viewers: {viewers or 'nobody watched'}")
    late_s, by_machine = verdict.figures["audience_late_s"], sum(one.is_machine for one in verdict.stalls)
    lines.append(f"the audience itself did not run for {late_s:.1f} s, which explains {by_machine} of {len(verdict.stalls)} stalls")
    alone = {e.number for e in verdict.effects if KINDS[e.kind].role in {PACKAGER, STORE} and e.target != "all"}
    twice = [
        s for s in verdict.stalls if s.stall.viewer.startswith(f"{HOT}-ll-") and not s.is_machine and s.causes and alone >= {*s.causes}
    ]
    lines.append(f"where two packagers make the same, and but one of them was harmed, viewers of parts stood still {len(twice)} times")
    for name in ("answers", "failures", "rejects"):
        told: dict[str, Any] = verdict.figures[name]
        lines.append(f"{name}: {', '.join(f'{what} {count}' for what, count in sorted(told.items())) or 'none'}")
    lines += ended_told(verdict.figures["ended"], begin_unix_ms=verdict.figures["begin_unix_ms"])
    return lines
