"""Draws what a scenario came to: audience, packagers, load, lateness, segment lengths over time."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from streams.simulate.scenario.outcome import Moment, Outcome

HOUR_S = 3_600
Curves = dict[str, Callable[[Moment], float]]
PANELS: dict[str, Curves] = {
    "viewers": {"viewers": lambda m: m.sessions},
    "packagers": {"wanted": lambda m: m.wanted, "working": lambda m: m.alive},
    "use of a packager": {"highest": lambda m: m.load_max, "mean": lambda m: m.load_mean},
    "worst lateness, ms": {"segments": lambda m: m.late_ms},
    "mean segment, s": {"length": lambda m: m.length_s},
    "channels": {"packaged": lambda m: m.packaged, "slices waiting": lambda m: m.queued},
}


def draw(outcome: Outcome, path: Path, *, title: str) -> None:
    """Write a PNG."""
    figure = Figure(figsize=(11, 13), layout="constrained")
    figure.suptitle(title, wrap=True)
    moments = outcome.moments
    scale, unit = (HOUR_S, "h") if outcome.hours > 1 else (60, "min")
    times = [moment.at_s / scale for moment in moments]
    panels = figure.subplots(len(PANELS), sharex=True)
    for panel, (name, curves) in zip(panels, PANELS.items(), strict=True):
        for label, value in curves.items():
            panel.step(times, [value(moment) for moment in moments], where="pre", label=label, linewidth=1.2)
        panel.set_ylabel(name)
        panel.set_ylim(bottom=0)
        panel.grid(visible=True, alpha=0.3)
        if len(curves) > 1:
            panel.legend(loc="upper right", fontsize="small")
        if "lateness" in name:
            panel.set_yscale("symlog", linthresh=10)
    panels[-1].set_xlabel(unit)
    figure.savefig(path, dpi=110)
