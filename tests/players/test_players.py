"""hls.js, dash.js and Shaka Player in real Chromium on a whole line: what a viewer sees when granularity and packagers change."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.kafka import LocalBroker
from schemas.records import Demand, Level
from schemas.topics import DEMAND
from tests.line import Line, whole_line
from tests.players.stage import assert_smooth, playing

pytestmark = pytest.mark.timeout(240)
HERE = Path(__file__).parent
TARGET_S = 4.0
PLAIN = {
    "hls.js": "player=hls&mode=plain",
    "dash.js": "player=dash&mode=plain",
    "shaka": "player=shaka&mode=plain",
}
LOW_LATENCY = {"hls.js-ll": "player=hls&mode=ll", "shaka-ll": "player=shaka&mode=ll"}


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One channel for each test, so that each begins with long segments."""
    with whole_line(kafka, tmp_path_factory.mktemp("players"), packagers=2, GRANULARITY__HOLD_MS=2_000) as made:
        made.play("arena", "bistro", "chess", idle=Level.PARTS)
        made.goes_on("arena", "bistro", "chess", segments=3)
        yield made


def on(channel: str, pages: dict[str, str]) -> dict[str, str]:
    return {name: f"channel={channel}&{query}" for name, query in pages.items()}


def arrive_until_short(line: Line, channel: str) -> float:
    """An audience comes until the channel's segments are shorter than the target; their length then."""
    turn = 0

    def shorter(_: object) -> float | None:
        nonlocal turn
        turn += 1
        line.arrive(channel, 1, prefix=f"guest-{turn}")
        length = line.tally.segment_lengths_s(channel)[-1]
        return length if length < TARGET_S else None

    return line.until(shorter, what=f"shorter segments of {channel}", timeout_s=60)


def demand(line: Line, channel: str) -> list[Any]:
    return [
        (entry.record, told)
        for entry in line.entries(DEMAND)
        if isinstance(entry.record, Demand)
        for told in entry.record.channels
        if told.channel == channel
    ]


def test_plain_players_play_across_a_change_of_segment_length_and_their_reports_arrive(
    line: Line, tmp_path: Path, record_testsuite_property: Any
) -> None:
    with playing(line, tmp_path, on("arena", PLAIN | {"shaka-dash": "player=shaka&mode=dash"})) as stage:
        length = arrive_until_short(line, "arena")
        # Players hold back three targets: what is short now is played that much later.
        short = line.published("arena") + 1
        stage.until(lambda _: line.published("arena") >= short + (3 * TARGET_S) // length, what="short segments to be played")
        seen = stage.end()
    for name, page in seen.items():
        record_testsuite_property(f"players: {name}", json.dumps({key: value for key, value in page.items() if key != "page"}))
    record_testsuite_property("players: segment_lengths_s", str(line.tally.segment_lengths_s("arena")))
    for page in seen.values():
        assert_smooth(page)


def test_low_latency_players_play_across_a_change_of_segment_length(line: Line, tmp_path: Path, record_testsuite_property: Any) -> None:
    with playing(line, tmp_path, on("bistro", LOW_LATENCY)) as stage:
        length = arrive_until_short(line, "bistro")
        short = line.published("bistro") + 1
        stage.until(lambda _: line.published("bistro") >= short + 8 // length, what="short segments to be played")
        seen = stage.end()
    for name, page in seen.items():
        record_testsuite_property(f"players: {name}", json.dumps({key: value for key, value in page.items() if key != "page"}))
    assert_smooth(seen["hls.js-ll"])
    # Shaka keeps about a second in this mode, so that a busy machine alone makes it wait: errors and jumps count, waits are told.
    assert_smooth(seen["shaka-ll"], stalls_count=False)


def test_plain_players_do_not_notice_the_death_of_a_packager(line: Line, tmp_path: Path, record_testsuite_property: Any) -> None:
    holder = line.holder("chess")
    with playing(line, tmp_path, on("chess", PLAIN)) as stage:
        line.goes_on("chess", segments=1)
        began, before = time.monotonic(), line.published("chess")
        line.run.supervisor.kill(holder)
        # What was buffered at the kill is played, and what the next holder made after it.
        stage.until(lambda _: line.published("chess") >= before + 3 + (3 * TARGET_S) // TARGET_S, what="segments of the next holder")
        assert time.monotonic() - began > 3 * TARGET_S
        seen = stage.end()
    assert line.holder("chess") != holder
    for name, page in seen.items():
        record_testsuite_property(f"players: {name}", json.dumps({key: value for key, value in page.items() if key != "page"}))
    for page in seen.values():
        assert_smooth(page)
