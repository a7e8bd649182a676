"""What happens in a run, as people want to be told: a table that lives and one line per event that matters."""

import time
from collections.abc import Mapping

from rich.console import Console, Group, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.present import Move, Present
from infra.processes import Usage
from schemas.records import Assignment, Decision, Level, Packaging, Period, Plan, Reason, Scaling
from streams.replay.entries import Entry
from streams.replay.history import why_planned

REFRESH_S = 0.5
# What the demo calls "soon": long enough to be a forecast, short enough to see it come true.
HORIZON_MS = 5_000
COLUMNS: dict[str, JustifyMethod] = {
    "channel": "left", "level": "left", "segments": "right", "viewers": "right", "in 5 s": "right", "packager": "left",
    "segments out": "right",
}  # fmt: skip
LEVELS = {Level.OFF: "off", Level.SEGMENTS: "segments", Level.PARTS: "parts"}


class Storyteller:
    """
    Tells a run on a terminal.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self.present = Present()
        self._console = console
        self._live: Live | None = None
        self._made_s = self._began_s = time.monotonic()
        self._shown_s = 0.0
        self._plans: dict[str, Plan] = {}
        self._packaged: dict[str, bool] = {}
        self._wanted = 0
        self._usage: Mapping[str, Usage] = {}

    def begin(self) -> None:
        """The table appears, the story begins."""
        self._began_s = time.monotonic()
        self._live = Live(self._table(), console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def finish(self) -> None:
        """The table goes."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._began_s

    def say(self, text: str, *, style: str = "") -> None:
        """One line."""
        at = f"{time.monotonic() - self._made_s:6.1f} s  "
        self._console.print(Text.assemble((at, "dim"), Text.from_markup(text, style=style)), highlight=False)

    def hear(self, entry: Entry | None) -> None:
        """Take a record, and say what matters of it; None: nothing new."""
        if entry is not None:
            is_new = entry.key not in self.present.holders
            self._tell(entry, is_new=is_new, move=self.present.absorb(entry))
        if self._live is not None and time.monotonic() - self._shown_s >= REFRESH_S:
            self._shown_s = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def measure(self, usage: Mapping[str, Usage]) -> None:
        """Show these CPU seconds from now on."""
        self._usage = usage

    def _tell(self, entry: Entry, *, is_new: bool, move: Move | None) -> None:
        match entry.record:
            case Period(period=0) as period:
                self.say(f"[bold]{period.channel}[/] is live; while nobody watches it gets: {LEVELS[period.idle_level]}")
            case Plan() as plan:
                self._tell_plan(plan)
            case Packaging() as word if self._packaged.get(word.channel) != (is_on := word.action.value == "start"):
                self._packaged[word.channel] = is_on
                what = f"is packaged from segment {word.from_msn} on" if is_on else f"is packaged until segment {word.from_msn}"
                self.say(f"[bold]{word.channel}[/] {what} ({_words(word.reason)})")
            case Assignment() if move is not None:
                self.say(f"[bold]{move.channel}[/] moves from {move.before[0]} to {move.after[0]} ({_words(move.reason)})", style="yellow")
            case Assignment() as given if is_new:
                self.say(f"[bold]{given.channel}[/] is given to {given.packager_id} ({_slice(given)})")
            case Decision(whole=False) as decision:
                for dead in (one for one in decision.dead if one.reason is not Reason.PACKAGER_GONE):
                    self.say(f"{dead.packager_id} is declared dead", style="red")
            case Scaling() as scaling if scaling.wanted != self._wanted:
                self._wanted = scaling.wanted
                self.say(f"{_count(scaling.wanted, 'packager')} wanted, {scaling.alive} alive ({_words(scaling.reason)})")

    def _tell_plan(self, plan: Plan) -> None:
        before = self._plans.get(plan.channel)
        self._plans[plan.channel] = plan
        if before is None:
            return
        name = f"[bold]{plan.channel}[/]"
        if before.level is not plan.level:
            self.say(f"{name} goes from {LEVELS[before.level]} to {LEVELS[plan.level]} ({_words(plan.reason)})", style="cyan")
        if before.gops_per_segment != plan.gops_per_segment:
            was, now = (self.present.length_s(plan.channel, p.gops_per_segment) for p in (before, plan))
            why = why_planned(before, plan)
            self.say(f"{name}: segments of {now:g} s instead of {was:g} s from the next boundary on ({why})", style="cyan")

    def _table(self) -> Group:
        present = self.present
        channels = Table(header_style="dim")
        for name, justify in COLUMNS.items():
            channels.add_column(name, justify=justify)
        for channel in present.channels:
            plan = self._plans.get(channel)
            forecast = present.forecasts.get(channel)
            soon = min(forecast.horizons, key=lambda h: abs(h.horizon_ms - HORIZON_MS)) if forecast and forecast.horizons else None
            holders = sorted({a.packager_id for a in present.holders.values() if a.channel == channel})
            channels.add_row(
                channel,
                LEVELS[plan.level] if plan else "-",
                f"{present.length_s(channel, plan.gops_per_segment):g} s" if plan else "-",
                str(present.sessions.get(channel, 0)),
                f"{soon.sessions_p50:.0f} to {soon.sessions_p90:.0f}" if soon else "-",
                ", ".join(holders) or "-",
                str(present.segments_out(channel)),
            )
        alive = [beat for _, beat in sorted(present.heartbeats.items())]
        packagers = [f"{beat.packager_id}: {beat.use.cores:.2f} cores, {_count(len(beat.slices), 'slice')}" for beat in alive]
        used = sum(usage.cpu_s for usage in self._usage.values())
        return Group(channels, Text("   ".join(packagers) or "no packager yet"), Text(f"{used:.0f} CPU seconds used so far", style="dim"))


def _slice(given: Assignment) -> str:
    """Which slice it is, for who sees a channel given twice."""
    turn = f", turn {given.turn + 1} of {given.turns}" if given.turns > 1 else ""
    copy = f", copy {given.copy + 1}" if given.copy else ""
    return f"{' '.join(given.tracks)}{turn}{copy}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _words(reason: str) -> str:
    return str(reason).replace("_", " ")
