"""
What a join waits for and what a viewer asks for, by segment length, in real players on a running line, beside what the formula says.

    python -m tests.bench.formula [--joins 8] [--pages 3] [--result FILE]

Three channels show one programme in one rendition, their segments pinned to 1, 2 and 4 s by a plan that outranks all others. Players
join them over a line that is not slowed and over lines of which the programme takes a share phi. The wait is the median join less the
player's median join over the line that is not slowed: what decoding and the machine take stands in both. The order of the joins is
shuffled, so that all cells see the same machine.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from confluent_kafka import Producer

from infra.clip import ensure_clip
from infra.kafka import LocalBroker, prepare
from infra.local import LiveInput
from infra.process import spawn, terminate
from schemas.codec import Codec
from schemas.records import Gop, Level, Plan
from schemas.settings import KafkaSettings
from schemas.topics import GOPS, PLANS
from streams.ingest.ladder import LADDER
from streams.ingest.recording import make_recording
from tests.line import CACHE, Line, whole_line

LENGTHS_S = (1, 2, 4)
# Shares of the line that the programme takes, 0: a line that is not slowed. Half is a viewer who can just have it.
PHIS = (0.0, 0.25, 0.5)
WHOLE = {"hls.js": "hls/plain", "dash.js": "dash/plain", "Shaka": "shaka/plain"}
PARTS = {"hls.js LL": "hls/ll", "Shaka LL": "shaka/ll"}
CHUNKED = {"dash.js LL": "dash/ll", "Shaka LL-D": "shaka/ll-dash"}
CHOICES = WHOLE | PARTS | CHUNKED
# The rendition in the middle of the default ladder.
RENDITION = LADDER[1:2]
RECORDING_S = 8
# Outranks every decision that a run of minutes makes.
DECISION = 2**40
# Plain players hold back three targets of 4 s; two more are the oldest that a player may ask for at once.
BEHIND_SEGMENTS = 5
# Picture and sound.
WATCHED_TRACKS = 2
# A viewer's requests are counted after the buffer has filled.
FILL_S, STAY_S = 5.0, 17.0
# No join begins after this time: a slow machine measures fewer of each cell, as they are shuffled. The rest is for those under way.
JOINING_S = 360.0
LIMIT_S = JOINING_S + 60.0
HERE = Path(__file__).parents[1] / "players"


def channel_of(length_s: int) -> str:
    """The channel with segments of a length."""
    return f"every-{length_s}"


def plan_of_joins(kbps: float, *, joins: int) -> list[dict[str, Any]]:
    """All joins, in an order that does not follow the cells; the first of each player and length stays on, to be counted."""
    every = [
        {
            "name": f"{player} {length} s {phi}", "player": player, "length_s": length, "phi": phi, "channel": channel_of(length),
            "choice": choice, "kbps": kbps / phi if phi else 0, "stay_s": STAY_S if phi == 0 and turn == 0 else 0,
        }
        for player, choice in CHOICES.items() for length in LENGTHS_S for phi in PHIS for turn in range(joins if phi else -(-joins // 2))
    ]  # fmt: skip
    random.Random(1).shuffle(every)
    return sorted(every, key=lambda one: -one["stay_s"])


def waits(results: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """
    One row per player, length and line: the median join, what of it is waiting, and that in shares of what the formula says.

    >>> joins = [{"player": "p", "length_s": 2, "phi": phi, "join_s": s, "requests": []} for phi, s in ((0.0, 0.3), (0.5, 1.3), (0.5, 1.5))]
    >>> [(row["phi"], row["wait_s"], row["formula_s"], row["times"]) for row in waits(joins)]
    [(0.0, 0.0, 0.0, None), (0.5, 1.1, 1.0, 1.1)]
    """
    for player, length in _cells(results):
        unslowed = [one["join_s"] for one in results if one["player"] == player and one["phi"] == 0 and one["join_s"] is not None]
        if not unslowed:
            continue
        free = median(unslowed)
        ones = [one for one in results if (one["player"], one["length_s"]) == (player, length)]
        for phi in sorted({one["phi"] for one in ones}):
            played = [one for one in ones if one["phi"] == phi and one["join_s"] is not None]
            if not played:
                continue
            join_s, formula_s = median(one["join_s"] for one in played), phi * length
            wait_s = join_s - free
            yield {
                "player": player,
                "length_s": length,
                "phi": phi,
                "joins": len(played),
                "join_s": round(join_s, 2),
                "wait_s": round(wait_s, 2),
                "formula_s": round(formula_s, 2),
                "times": round(wait_s / formula_s, 2) if formula_s else None,
                "fetched": median(_fetched(one) for one in played),
            }


def fits(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """
    For each player the n and c of wait = phi x (n x length + c) that fit best: segments a join waits for, and seconds of media whatever
    their length.

    >>> rows = [{"player": "p", "length_s": d, "phi": 0.5, "wait_s": 0.5 * (d + 2)} for d in (1, 2, 4)]
    >>> fits(rows)
    {'p': (1.0, 2.0)}
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["phi"]:
            points.setdefault(row["player"], []).append((row["length_s"], row["wait_s"] / row["phi"]))
    found = {}
    for player, pairs in points.items():
        if len({x for x, _ in pairs}) < 2:
            continue
        fit = linear_regression([x for x, _ in pairs], [y for _, y in pairs])
        found[player] = (round(fit.slope, 2), round(fit.intercept, 2))
    return found


def asked(results: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row per player and length: requests per second of a viewer who watches, by kind."""
    for player, length in _cells(results):
        for one in results:
            if (one["player"], one["length_s"]) == (player, length) and one["stay_s"] and one["joined"]:
                begin, seconds = one["joined"] + FILL_S * 1_000, (one["ended"] - one["joined"]) / 1_000 - FILL_S
                kinds = Counter(request["kind"] for request in one["requests"] if request["asked"] >= begin)
                rates = {kind: round(kinds[kind] / seconds, 2) for kind in ("segment", "part", "manifest")}
                yield {"player": player, "length_s": length, **rates, "formula": round(WATCHED_TRACKS / length, 2)}


def _cells(results: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    order = list(CHOICES)
    found = {(one["player"], one["length_s"]) for one in results}
    return sorted(found, key=lambda cell: (order.index(cell[0]) if cell[0] in order else 0, cell[1]))


def _fetched(one: Mapping[str, Any]) -> int:
    """Segments of the picture that were there whole when it began to move."""
    media = (r for r in one["requests"] if r["kind"] in {"segment", "part"} and "/v" in r["path"] and "had" in r)
    return sum(request["had"] <= one["joined"] for request in media)


def pin(kafka: KafkaSettings, channels: Mapping[str, int]) -> None:
    """Give channels a number of GOPs per segment that no planner outranks."""
    producer, codec = Producer(kafka.client()), Codec()
    for channel, gops in channels.items():
        plan = Plan(channel=channel, level=Level.PARTS, gops_per_segment=gops, decision=DECISION)
        producer.produce(PLANS.name(kafka), codec.encode(plan), channel, 0)
    if producer.flush(30):
        raise TimeoutError("the plans were not taken")


def bits_per_s(line: Line) -> float:
    """What the programme takes, picture and sound."""
    gops = [entry.record for entry in line.entries(GOPS) if isinstance(entry.record, Gop)]
    return sum(track.size for gop in gops for track in gop.tracks) * 8 / len(gops)  # a GOP is a second


def measure(line: Line, folder: Path, *, joins: int, pages: int) -> tuple[list[dict[str, Any]], float]:
    """What every join saw, and the programme's bits per second."""
    channels = {channel_of(length): length for length in LENGTHS_S}
    pin(line.run.settings.kafka, channels)
    source = CACHE / "recording" / f"formula-{RENDITION[0].track}-{RECORDING_S}"
    make_recording(str(ensure_clip(CACHE)), source, RECORDING_S, ladder=RENDITION)
    line.run.go_live(LiveInput(name="play", source=source, channels=tuple(channels), idle_level=Level.PARTS))
    line.goes_on(channel_of(max(LENGTHS_S)), segments=BEHIND_SEGMENTS)
    rate = bits_per_s(line)
    spec = {
        "chromium": shutil.which("chromium"), "origin": line.run.origin_url, "pages": pages, "seconds": JOINING_S,
        "joins": plan_of_joins(rate / 1_000, joins=joins),
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec))
    with (folder / "join.log").open("wb") as log:
        process = spawn(["node", HERE / "join.mjs", folder / "spec.json", folder / "result.json"], stdout=log, stderr=log)
    try:
        line.until(lambda _: process.poll() is not None, what="end of all joins", timeout_s=LIMIT_S)
    finally:
        terminate(process, timeout_s=30)
    if process.returncode:
        raise RuntimeError(f"join.mjs ended with status {process.returncode}:\n{(folder / 'join.log').read_text()[-2_000:]}")
    lengths = {channel: line.tally.segment_lengths_s(channel) for channel in channels}
    wrong = [channel for channel, length in channels.items() if set(lengths[channel]) != {float(length)}]
    if wrong:
        raise ValueError(f"segments of {wrong} were not pinned: {lengths}")
    return json.loads((folder / "result.json").read_text()), rate


def tell(results: Sequence[Mapping[str, Any]], rate: float, *, total: int) -> None:
    """Print the tables."""
    rows = list(waits(results))
    print(f"one rendition and sound, {rate / 1e6:.2f} Mb/s; phi: its share of the line; fetched: segments or parts before it moves")
    print(f"\n{'player':<10} {'length':>6} {'phi':>5} {'joins':>6} {'join p50':>9} {'wait':>7} {'phi x d':>8} {'ratio':>6} {'fetched':>8}")
    for row in rows:
        times = "" if row["times"] is None else f"{row['times']:.2f}"
        told = f"{row['player']:<10} {row['length_s']:>4} s {row['phi']:>5} {row['joins']:>6} {row['join_s']:>7.2f} s"
        print(f"{told} {row['wait_s']:>5.2f} s {row['formula_s']:>6.2f} s {times:>6} {row['fetched']:>8g}")
    print(f"\nwait = phi x (n x d + c)\n{'player':<10} {'n':>6} {'c':>8}   formula: n 1, c 0; clients of parts n 0")
    for player, (segments, seconds) in fits(rows).items():
        print(f"{player:<10} {segments:>6.2f} {seconds:>6.2f} s")
    print(f"\nrequests per second of a viewer of {WATCHED_TRACKS} tracks")
    print(f"{'player':<10} {'length':>6} {'segments':>9} {'parts':>6} {'manifests':>10} {'T/d':>6}")
    for row in asked(results):
        told = f"{row['player']:<10} {row['length_s']:>4} s {row['segment']:>9.2f} {row['part']:>6.2f}"
        print(f"{told} {row['manifest']:>10.2f} {row['formula']:>6.2f}")
    print(f"\n{len(results)} joins measured of {total} wanted" if len(results) < total else "")
    for one in results:
        if one["errors"] or one["join_s"] is None:
            print(f"{one['name']}: {one['errors'] or 'never played'}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--joins", type=int, default=8)
    parser.add_argument("--pages", type=int, default=3)
    parser.add_argument("--result", type=Path, help="write what every join saw to this file, as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka", prepare(CACHE)) as broker:
        folder = Path(name)
        with whole_line(broker, folder, packagers=1) as line:
            results, rate = measure(line, folder, joins=arguments.joins, pages=arguments.pages)
    if arguments.result:
        arguments.result.write_text(json.dumps(results))
    tell(results, rate, total=len(plan_of_joins(rate, joins=arguments.joins)))


if __name__ == "__main__":
    main()
