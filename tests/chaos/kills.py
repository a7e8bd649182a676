"""
What players see of the death of the packager that makes what they play: kill after kill, in real Chromium.

    make kills [ARGS="--kills 50 --groups plain ll --copies 1 2 --minutes 10 --fresh"]

Plain players and low-latency ones, where one packager makes the channel (copies 1) and where two do (copies 2). A packager that holds the
channel dies of SIGKILL; the next dies when another has taken over and the players' buffers, as they report them, are what they were. It
goes on in rounds, each with a line and a browser of its own, until every player has seen as many kills, or the minutes are over; another
call goes on from there.

Takeover: from the kill to the first part of all it held that was not yet durable then; its target is the sum of what a takeover is made of:
`liveness.dead_after_ms`, a tick, a part, the publish allowance.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.kafka import LocalBroker, prepare
from infra.present import Move
from infra.tally import Tally
from schemas.errors import FinecutError
from schemas.records import Demand, Level
from schemas.settings import Settings
from schemas.topics import CHANNELS, PARTS
from streams.replay.entries import Entry
from tests.chaos.audience import Audience, now_ms
from tests.chaos.effects import History, TrackId
from tests.chaos.screens import GROUPS
from tests.chaos.table import WIDTH, quantile
from tests.line import CACHE, Line, whole_line
from tests.players.scenarios import first_holder, holders, pages
from tests.players.stage import Stage, playing

RESULT = CACHE / "kills.json"
PACKAGERS = 3
ROUND_KILLS = 10
# Buffers are full again at this share of what they were before.
FULL = 0.8
FULL_S, TAKEN_S = 30.0, 45.0
# Longest round: what a browser and a line take to start, and its kills.
ROUND_S = 900.0
SETTINGS: Mapping[int, Mapping[str, Any]] = {
    1: {"GRANULARITY__COPIES_MAX": 1},
    2: {"GRANULARITY__COPIES_VIEWERS": 1, "GRANULARITY__DEAL_HOLD_MS": 2_000},
}
RATIO_MAX = 1.5


class Buffers(Tally):
    """A tally that remembers what players said of their buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer_ms: dict[str, int] = {}
        """The 10 % quantile of the last second in which anybody said anything, by channel."""

    def absorb(self, entry: Entry) -> Move | None:
        """See `Tally`."""
        if isinstance(entry.record, Demand):
            self.buffer_ms |= {seen.channel: seen.buffer_ms_p10 for seen in entry.record.channels if seen.buffer_ms_p10 >= 0}
        return super().absorb(entry)


@dataclass(slots=True)
class Row:
    """What one player saw so far, with one or two copies."""

    player: str
    copies: int
    kills: int = 0
    played_s: float = 0.0
    stalls: list[float] = field(default_factory=list)
    hitches: int = 0
    errors: int = 0
    takeovers_ms: list[int] = field(default_factory=list)
    not_full: int = 0


def main(words: Sequence[str]) -> int:
    """Exit status: 0 when takeovers kept to their target and nobody stalled where two made the same."""
    asked = _arguments().parse_args(words)
    console, over_s = Console(width=WIDTH), time.monotonic() + asked.minutes * 60
    rows = {} if asked.fresh else load(asked.result)
    cells = [(group, copies) for group in asked.groups for copies in asked.copies]
    failures = 0
    while failures <= len(cells) and time.monotonic() < over_s:
        # Those that have seen least come next, so that a run that is cut short says something of all.
        owing = [cell for cell in cells if _kills(rows, cell) < asked.kills]
        if not owing:
            break
        group, copies = min(owing, key=lambda cell: _kills(rows, cell))
        wanted = min(asked.round, asked.kills - _kills(rows, (group, copies)))
        console.print(f"[dim]{group}, copies {copies}: {wanted} kills[/]", highlight=False)
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            try:
                found = play_round(Path(folder), GROUPS[group], copies=copies, kills=wanted, over_s=over_s)
            except (AssertionError, FinecutError) as error:
                failures += 1
                console.print(f"[red]this round came to nothing:[/] {str(error)[-1_500:]}", highlight=False)
                continue
        for row in found:
            add(rows, row)
        save(rows, asked.result)
        show(rows, console)
    show(rows, console)
    console.print(f"all of it: {asked.result}", highlight=False, soft_wrap=True)
    return 0 if rows and all(map(is_as_promised, rows.values())) else 1


def play_round(folder: Path, players: Sequence[str], *, copies: int, kills: int, over_s: float) -> list[Row]:
    """What each player saw of some kills; fewer than wanted if the time was over."""
    channel, done = "arena", list[tuple[int, str]]()
    with (
        LocalBroker(folder / "kafka", prepare(CACHE)) as kafka,
        whole_line(kafka, folder, packagers=PACKAGERS, revives=True, **SETTINGS[copies]) as line,
    ):
        line.tally = tally = Buffers()
        line.play(channel, idle=Level.PARTS)
        line.goes_on(channel, segments=3)
        # Where nobody plays parts, somebody else has to, for two packagers to be wanted.
        others = Audience({"origin": line.run.origin_url}, {channel: (0, copies - 1)}, ())
        others.start()
        try:
            with playing(line, folder, pages(*players, channel=channel), seconds=ROUND_S) as stage:
                not_full = _kill_on(line, stage, tally, channel, copies=copies, kills=kills, over_s=over_s, done=done)
                seen = stage.end()
        finally:
            others.stop()
        history = History()
        for entry in line.entries(CHANNELS, PARTS):
            history.absorb(entry)
        took = [ms for at, _ in done if (ms := _takeover_ms(history, at, channel)) is not None]
    return [
        Row(
            player=name, copies=copies, kills=len(done), played_s=page.get("played_s", 0.0), not_full=not_full, takeovers_ms=took,
            stalls=[stall["seconds"] for stall in page.get("stalls", ())], hitches=len(page.get("hitches", ())),
            errors=len(page["errors"]) + (not page["started"]),
        )
        for name, page in seen.items()
    ]  # fmt: skip


def _kill_on(
    line: Line, stage: Stage, tally: Buffers, channel: str, *, copies: int, kills: int, over_s: float, done: list[tuple[int, str]]
) -> int:
    """Kill after kill; how often the buffers were not full again in time."""
    before_ms, not_full = list[int](), 0
    stage.until(lambda _: len(holders(line, channel)) == copies, what=f"{copies} holders", timeout_s=TAKEN_S)
    line_goes_on(line, stage, channel, since_unix_ms=now_ms())
    while len(done) < kills and time.monotonic() < over_s:
        # What players have swings by a segment: as much as they mostly had, not as they had at the most.
        not_full += not _fill(stage, tally, channel, FULL * median(before_ms or [0]))
        before_ms.append(tally.buffer_ms.get(channel, 0))
        _kill(line, stage, channel, copies=copies, done=done)
    return not_full


def _fill(stage: Stage, tally: Buffers, channel: str, full_ms: float) -> bool:
    """Wait until players have so much in their buffers; whether they had it in time."""
    until_s = time.monotonic() + FULL_S
    stage.until(
        lambda _: time.monotonic() > until_s or tally.buffer_ms.get(channel, 0) >= full_ms, what="full buffers", timeout_s=2 * FULL_S
    )
    return time.monotonic() <= until_s


def _kill(line: Line, stage: Stage, channel: str, *, copies: int, done: list[tuple[int, str]]) -> None:
    """Kill who makes the first copy; returns when another does and the dead one is back."""
    supervisor, victim = line.run.supervisor, first_holder(line, stage, channel)
    at = now_ms()
    supervisor.kill(victim)
    done.append((at, victim))
    stage.until(lambda _: victim not in (held := holders(line, channel)) and len(held) == copies, what="a takeover", timeout_s=TAKEN_S)
    line_goes_on(line, stage, channel, since_unix_ms=at)
    revived = supervisor.revive(supervisor.children[victim])
    stage.until(lambda _: bool(revived.readiness and revived.readiness.holds()), what=f"{victim} ready", timeout_s=TAKEN_S)


def line_goes_on(line: Line, stage: Stage, channel: str, *, since_unix_ms: int) -> None:
    """Return when two segments of a channel were reported after a time at which fewer were."""
    before = line.published(channel)
    stage.until(
        lambda tally: line.published(channel) >= before + 2 and any(durable >= since_unix_ms for _, _, durable, _ in tally.part_times[-4:]),
        what="two more segments", timeout_s=TAKEN_S,
    )  # fmt: skip


def _takeover_ms(history: History, at: int, channel: str) -> int | None:
    tracks: list[TrackId] = [track for track in history.parts if track[0] == channel]
    took = [history.takeover_ms(track, at) for track in tracks]
    return None if None in took else max((ms for ms in took if ms is not None), default=None)


def target_ms() -> int:
    """
    What a takeover is to take: silence until a life is dead, the tick that says so, the part that is open then, and its publication.

    >>> target_ms()
    3200
    """
    settings = Settings()
    return settings.liveness.dead_after_ms + settings.planner.tick_ms + settings.media.part_ms + settings.media.publish_allowance_ms


def upper(count: int, trials: int) -> float:
    """
    The largest rate per trial at which so few events, or fewer, are still seen once in 20 times (Poisson).

    >>> round(upper(0, 50), 3), round(upper(2, 50), 3)
    (0.06, 0.126)
    """
    if not trials:
        return math.inf
    low, high = float(count), count + 10.0 * math.sqrt(count + 1)
    for _ in range(60):
        mean = (low + high) / 2
        chance = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1)) if mean else 1.0
        low, high = (mean, high) if chance > 0.05 else (low, mean)
    return high / trials


def is_as_promised(row: Row) -> bool:
    """Every takeover keeps to its target, and where two make the same nobody stalls."""
    return max(row.takeovers_ms, default=0) <= RATIO_MAX * target_ms() and not (row.copies > 1 and row.stalls)


def show(rows: Mapping[str, Row], console: Console) -> None:
    """The table so far."""
    table = Table(title="stalls per kill of the packager that makes what is played", title_justify="left", caption_justify="left")
    table.caption = f"takeover target {target_ms()} ms: dead_after_ms + tick_ms + part_ms + publish_allowance_ms; promised {RATIO_MAX} x"
    heads = ("copies", "kills", "stalls", "per kill", "95 % below", "stalled s", "hitches", "errors", "takeover p50", "p95", "max", "ratio")
    for head in ("player", *heads):
        table.add_column(head, justify="left" if head == "player" else "right")
    for row in sorted(rows.values(), key=lambda row: (row.copies, row.player)):
        took = [quantile(row.takeovers_ms, share) for share in (0.5, 0.95, 1.0)] if row.takeovers_ms else []
        table.add_row(
            row.player, str(row.copies), str(row.kills), str(len(row.stalls)), f"{len(row.stalls) / max(1, row.kills):.2f}",
            f"{upper(len(row.stalls), row.kills):.2f}", f"{sum(row.stalls):.1f}", str(row.hitches), str(row.errors),
            *([str(ms) for ms in took] or ["-", "-", "-"]), f"{took[-1] / target_ms():.2f}" if took else "-",
        )  # fmt: skip
    console.print(table)


def add(rows: dict[str, Row], more: Row) -> None:
    """Count a round to what was seen before."""
    held = rows.setdefault(f"{more.player} {more.copies}", Row(player=more.player, copies=more.copies))
    for name in ("kills", "played_s", "hitches", "errors", "not_full"):
        setattr(held, name, getattr(held, name) + getattr(more, name))
    held.stalls += more.stalls
    held.takeovers_ms += more.takeovers_ms


def load(file: Path) -> dict[str, Row]:
    """What earlier calls saw."""
    return {name: Row(**row) for name, row in json.loads(file.read_text()).items()} if file.exists() else {}


def save(rows: Mapping[str, Row], file: Path) -> None:
    """For the next call."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps({name: asdict(row) for name, row in rows.items()}, indent=1))
    part.replace(file)


def _kills(rows: Mapping[str, Row], cell: tuple[str, int]) -> int:
    group, copies = cell
    return min((rows[key].kills if (key := f"{player} {copies}") in rows else 0 for player in GROUPS[group]), default=0)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make kills", description="stalls of players per killed packager")
    parser.add_argument("--kills", type=int, default=50, help="of each player, with each number of copies")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="which players")
    parser.add_argument("--copies", nargs="+", type=int, choices=list(SETTINGS), default=list(SETTINGS), help="who make the same")
    parser.add_argument("--round", type=int, default=ROUND_KILLS, help="kills in one line and browser")
    parser.add_argument("--minutes", type=float, default=120.0, help="after this no round begins")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier calls saw")
    parser.add_argument("--result", type=Path, default=RESULT, help="what was seen so far, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
