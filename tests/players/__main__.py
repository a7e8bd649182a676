"""
The long set: every scenario in every player, a few pages at a time, as one table with JSON beside it.

    make players [ARGS="lengths swap --players hls.js shaka-ll --at-once 2 --minutes 3"]

A scenario has a line of its own, and each group of players a channel. `tests.players.report` judges stalls, jumps and errors. Start: from
the player having its address; latency: median and most; buffer: median and least; CMCD: share of requests with a report, and events
posted. What the machine did stands under each group: an encoder that was late, a page that did not run.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

from infra.kafka import LocalBroker, prepare
from schemas.errors import FinecutError
from tests.line import CACHE, Line, whole_line
from tests.players.report import is_as_expected, row, table
from tests.players.scenarios import PLAYERS, SCENARIOS, Scenario, holes_s, pages, starts_s
from tests.players.stage import playing

RESULT = CACHE / "players.json"
# What a scenario takes beyond what is a matter of choice: pages that start one by one, and acts that wait.
BESIDE_S = 420.0
MINUTE_S = 60.0


def main(words: Sequence[str]) -> int:
    """Run those named, or all; the exit status tells whether a player saw what it should not."""
    parser = _arguments()
    asked = parser.parse_args(words)
    if unknown := sorted(set(asked.scenarios) - set(SCENARIOS)):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    chosen = {name: one for name, one in SCENARIOS.items() if not asked.scenarios or name in asked.scenarios}
    groups = [asked.players[first : first + asked.at_once] for first in range(0, len(asked.players), asked.at_once)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(CACHE)) as kafka:
        for name, scenario in chosen.items():
            seconds = asked.minutes * MINUTE_S if scenario.seconds > MINUTE_S and asked.minutes else scenario.seconds
            _say(f"\n== {name}: {scenario.about}")
            rows += run(kafka, Path(folder), name, replace(scenario, seconds=seconds, logs=asked.logs), groups)
            asked.result.parent.mkdir(parents=True, exist_ok=True)
            asked.result.write_text(json.dumps(rows, indent=1))
    _say(f"\n{table(rows)}\n\nall that was measured: {asked.result}")
    return 0 if all(map(is_as_expected, rows)) else 1


def run(kafka: LocalBroker, folder: Path, name: str, scenario: Scenario, groups: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Rows of a scenario, group after group; a group that comes to nothing has rows that say why."""
    rows: list[dict[str, Any]] = []
    with whole_line(kafka, folder / name, packagers=2, **scenario.settings) as line:
        for number, group in enumerate(groups):
            channel, place = f"{name}-{number}", folder / f"{name}-{number}"
            place.mkdir()
            try:
                seen, holes = act(line, place, scenario, channel, group)
            except (AssertionError, FinecutError) as error:
                seen, holes = {page: {"name": page, "started": False, "why": str(error)[-2_000:]} for page in group}, []
            found = [row(name, page, holes_s=holes) | {"holes_s": holes, "periods_s": starts_s(line, channel)} for page in seen.values()]
            _say(table(found))
            _say(_machine(line, channel, found))
            for why in {one["why"] for one in found if "why" in one}:
                _say(why)
            rows += found
    return rows


def act(
    line: Line, folder: Path, scenario: Scenario, channel: str, players: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], list[float]]:
    """What each player saw of a channel while the scenario was acted, and the channel's holes."""
    if scenario.has_own_channels:
        own = {player: f"{channel}-{number}" for number, player in enumerate(players)}
        queries = {player: query for player, name in own.items() for query in pages(player, channel=name).values()}
        channels = tuple(own.values())
    else:
        queries, channels = pages(*players, channel=channel), (channel,)
    began = time.monotonic()
    line.play(*channels, idle=scenario.idle)
    if scenario.has_own_channels:
        line.until(lambda _: all(name in line.gops and line.gops[name].gop >= line.gops[name].gop_count for name in channels), what="media")
    else:
        line.goes_on(channel, segments=3)
    with playing(line, folder, queries, seconds=scenario.seconds + BESIDE_S, choose_s=scenario.choose_s, logs=scenario.logs) as stage:
        done = scenario.act(line, stage, channel, scenario.seconds)
        seen = stage.end()
    line.run.supervisor.stop([child.name for child in line.run.supervisor.children.values() if child.role == "encode" and child.is_alive])
    _say(f"   {channel}: {time.monotonic() - began:.0f} s{done and ', '}{done}")
    return seen, holes_s(line, channel)


def _machine(line: Line, channel: str, rows: Sequence[dict[str, Any]]) -> str:
    """What may explain a stall that is nobody's fault."""
    took, _ = line.tally.part_latencies_ms()
    parts = f"parts announced {quantiles(took, n=100)[98]:.0f} ms after they were durable (p99)" if len(took) > 1 else "no parts"
    lag = max((ms for name, ms in line.tally.encoder_lag_ms.items() if name.startswith(channel)), default=0)
    late = max((one.get("page_late_s", 0.0) for one in rows), default=0.0)
    holes = rows[0]["holes_s"] if rows else []
    return f"   encoder late by {lag} ms at most, {parts}, a page did not run for {late:.1f} s, holes {holes or 'none'}"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make players", description="hls.js, dash.js and Shaka Player while things happen")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; none: all")
    parser.add_argument("--players", nargs="+", choices=list(PLAYERS), default=list(PLAYERS), help="in which players")
    parser.add_argument("--at-once", type=int, default=3, help="pages at a time")
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of the usual length of the long scenarios")
    parser.add_argument("--logs", action="store_true", help="keep what players tell around a stall, a jump or an error")
    parser.add_argument("--result", type=Path, default=RESULT, help="where all that was measured goes, as JSON")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
