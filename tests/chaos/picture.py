"""A picture of a chaos run: faults over lanes, how late the edge was, who stood still."""

from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

from tests.chaos.plan import BROKER, CONTROL, ENCODER, KINDS, ORIGIN, PACKAGER, STORE
from tests.chaos.verdict import Verdict

LANES = (ENCODER, BROKER, CONTROL, PACKAGER, STORE, ORIGIN)
COLOURS = dict(zip(LANES, ("tab:purple", "tab:brown", "tab:blue", "tab:red", "tab:orange", "tab:green"), strict=True))
WIDTH_IN, HEIGHT_IN, DOTS_PER_IN = 13, 8, 110
# A fault of a moment is seen, too.
LEAST_S = 0.5


def draw(verdict: Verdict, file: Path) -> None:
    """Draw a run into an image."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    begin_ms = int(verdict.figures["begin_unix_ms"])

    def at_s(unix_ms: float) -> float:
        return (unix_ms - begin_ms) / 1_000

    figure, (faults, edge, stalls) = plt.subplots(
        3, 1, figsize=(WIDTH_IN, HEIGHT_IN), sharex=True, layout="constrained", height_ratios=(3, 3, 2)
    )
    for effect in verdict.effects:
        role = KINDS[effect.kind].role
        lasts_s = max(LEAST_S, (effect.healed_unix_ms - effect.begin_unix_ms) / 1_000)
        faults.barh(LANES.index(role), lasts_s, left=at_s(effect.begin_unix_ms), height=0.5, color=COLOURS[role], alpha=0.7)
        what = effect.kind.removeprefix(f"{role}-")
        faults.text(at_s(effect.begin_unix_ms), LANES.index(role) + 0.32, f"{what} {effect.target.rpartition('-')[2]}", fontsize=6)
        for axis in (edge, stalls):
            axis.axvline(at_s(effect.begin_unix_ms), color=COLOURS[role], linewidth=0.6, alpha=0.5)
    faults.set_yticks(range(len(LANES)), LANES)
    faults.set_ylim(-0.5, len(LANES))
    faults.set_title("faults, until all was made good", loc="left", fontsize=10)
    for channel, points in sorted(verdict.history.edge.items()):
        worst = defaultdict[int, float](float)
        for announced, late_ms in points:
            second = int(at_s(announced))
            worst[second] = max(worst[second], late_ms / 1_000)
        edge.plot(list(worst), list(worst.values()), label=channel, linewidth=1)
    edge.set_yscale("symlog", linthresh=1)
    edge.set_ylim(bottom=0)
    edge.set_title("how long after its time a part was announced, worst of each second, s", loc="left", fontsize=10)
    edge.legend(fontsize=8, ncols=4, loc="upper left")
    viewers = sorted({*verdict.figures["played_s"], *(one.stall.viewer for one in verdict.stalls)})
    for one in verdict.stalls:
        lasts_s = max(LEAST_S, (one.stall.end_unix_ms - one.stall.begin_unix_ms) / 1_000)
        colour = "silver" if one.is_machine else "crimson" if one.causes else "black"
        stalls.barh(viewers.index(one.stall.viewer), lasts_s, left=at_s(one.stall.begin_unix_ms), height=0.7, color=colour)
    stalls.set_yticks(range(len(viewers)), viewers, fontsize=7)
    stalls.set_title("viewers that stood still (black: no fault before; grey: the machine did not let them run)", loc="left", fontsize=10)
    stalls.set_xlabel("seconds")
    for axis in (faults, edge, stalls):
        axis.grid(alpha=0.25)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=DOTS_PER_IN)
    plt.close(figure)
