"""hls.js, dash.js and Shaka Player in real Chromium on a whole line: what a viewer sees when granularity and packagers change."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.kafka import LocalBroker
from schemas.records import Demand, Level
from schemas.topics import DEMAND
from tests.invariants import read_playlist
from tests.line import Line, whole_line
from tests.players.report import ADVISORY
from tests.players.scenarios import EACH_S, PLAIN, TARGET_S, pages
from tests.players.stage import assert_smooth, figures, playing

pytestmark = pytest.mark.timeout(240)
HERE = Path(__file__).parent
CHANNELS = ("arena", "bistro", "delta")
Tell = Callable[[str, object], None]


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One channel for each test, so that each begins with long segments."""
    with whole_line(kafka, tmp_path_factory.mktemp("players"), packagers=2, GRANULARITY__HOLD_MS=2_000) as made:
        made.play(*CHANNELS, idle=Level.PARTS)
        made.goes_on(*CHANNELS, segments=3)
        yield made


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


def sessions(line: Line, channel: str) -> tuple[int, int, int]:
    """Most sessions of whole segments and of parts that the origin told of in one second, and all joins."""
    told = [
        one for entry in line.entries(DEMAND) if isinstance(entry.record, Demand) for one in entry.record.channels if one.channel == channel
    ]
    return max(one.whole_sessions for one in told), max(one.part_sessions for one in told), sum(one.joins for one in told)


def tell(record: Tell, seen: Mapping[str, Mapping[str, Any]]) -> None:
    for name, page in seen.items():
        record(f"players: {name}", json.dumps(figures(page)))


def test_plain_players_notice_neither_a_change_of_segment_length_nor_the_death_of_a_packager(
    line: Line, tmp_path: Path, record_testsuite_property: Tell
) -> None:
    with playing(line, tmp_path, pages(*PLAIN, channel="arena")) as stage:
        arrive_until_short(line, "arena")
        stage.play_on(EACH_S)
        holder = line.holder("arena")
        line.run.supervisor.kill(holder)
        stage.until_seen(more_s=EACH_S)
        seen = stage.end()
    assert line.holder("arena") != holder
    tell(record_testsuite_property, seen)
    record_testsuite_property("players: segment_lengths_s", str(line.tally.segment_lengths_s("arena")))
    for page in seen.values():
        assert_smooth(page)


def test_low_latency_players_play_across_a_change_of_segment_length(line: Line, tmp_path: Path, record_testsuite_property: Tell) -> None:
    with playing(line, tmp_path, pages("hls.js-ll", "shaka-ll", "dash.js-ll", channel="bistro")) as stage:
        arrive_until_short(line, "bistro")
        stage.until_seen(more_s=EACH_S)
        seen = stage.end()
    tell(record_testsuite_property, seen)
    # Shaka keeps about a second in this mode, and leaves out the last part of a segment that it asks for too late: what a busy machine
    # does to it is told, not counted.
    for name, page in seen.items():
        assert_smooth(page, is_advisory=name in ADVISORY)
    # media section 4: dash.js takes the latency of the service description
    assert seen["dash.js-ll"]["page"]["latency_s"] < 5.0
    told = [one for entry in line.entries(DEMAND) if isinstance(entry.record, Demand) for one in entry.record.channels]
    assert max(one.chunked_sessions for one in told if one.channel == "bistro") == 1


def test_reports_of_all_players_arrive_as_demand(line: Line, tmp_path: Path) -> None:
    watched = pages("hls.js-ll", "dash.js", "shaka", channel="delta")
    with playing(line, tmp_path, watched) as stage:
        # Each is told apart by the session it names in its own dialect: what cannot be read would be one client of this machine.
        stage.until(lambda _: sessions(line, "delta") >= (2, 1, len(watched)), what="sessions of all players")
        seen = stage.end()
    assert sessions(line, "delta") == (2, 1, len(watched))
    for page in seen.values():
        assert page["asked"]["with_cmcd"] == page["asked"]["media"] > 0, page["asked"]
        assert page["asked"]["events"] > 0, page["asked"]
    metrics = line.get("/metrics")[1]
    reports = {kind: float(count) for kind, count in re.findall(r'player_reports_total\{[^}]*="(\w+)"\} (\S+)', metrics)}
    assert reports.get("known", 0) > 0
    # A player may post its first event before its first request.
    assert reports.get("unknown", 0) <= len(watched)


def test_other_parsers_read_in_manifests_what_we_wrote(line: Line, tmp_path: Path) -> None:
    paths = ("hls/multivariant.m3u8", "ll/multivariant.m3u8", "hls/v0.m3u8", "hls/a0.m3u8", "ll/v0.m3u8", "ll/a0.m3u8", "dash/manifest.mpd")
    manifests = {path: line.get(f"/delta/{path}")[1] for path in paths}
    file = tmp_path / "manifests.json"
    file.write_text(json.dumps(manifests))
    answer = subprocess.run(["node", HERE / "read.mjs", file], check=True, capture_output=True, text=True)
    found = json.loads(answer.stdout)
    assert found["hls/multivariant.m3u8"] == found["ll/multivariant.m3u8"] == {"variants": 2, "audio": True}
    for path in paths[2:6]:
        listed = read_playlist(manifests[path])
        told = found[path]
        assert (told["segments"], told["target"]) == (len(listed.segments), TARGET_S)
        assert told["parts"] == sum(map(len, listed.parts))
        assert told["hints"] == (1 if path.startswith("ll/") else 0)
    assert found["dash/manifest.mpd"]["representations"] == 2
    assert found["dash/manifest.mpd"]["segments"] >= found["hls/v0.m3u8"]["segments"]


def test_a_page_whose_player_gave_up_says_so_and_plays_again_once_the_origin_gives_manifests(line: Line, tmp_path: Path) -> None:
    watched = {
        name: {"url": f"{line.run.origin_url}/?{query}", "gives_up": name != "shaka"}  # Shaka Player asks on by itself while it plays
        for name, query in pages(*PLAIN, channel="delta").items()
    }
    (tmp_path / "spec.json").write_text(json.dumps({"chromium": shutil.which("chromium"), "pages": watched}))
    subprocess.run(["node", HERE / "away.mjs", tmp_path / "spec.json", tmp_path / "seen.json"], check=True, timeout=150)
    for name, seen in json.loads((tmp_path / "seen.json").read_text()).items():
        assert "failed" not in seen, (name, seen)
        assert "asked again in" in seen["refused"]["notice"], (name, seen)
        # The origin asks for more time than the page would take.
        waits = [int(told.rpartition(" in ")[2].split()[0]) for told in reversed(seen["asked"]["log"]) if "asked again in" in told]
        assert waits == [1, 5], (name, seen)
        assert (seen["first"]["starts"], seen["first"]["notice"]) == (2, ""), (name, seen)
        assert seen["again"]["starts"] == (3 if watched[name]["gives_up"] else 2), (name, seen)
        assert seen["again"]["notice"] == "", (name, seen)
        assert seen["again"]["errors"] >= seen["away"]["errors"] > 0, "what went wrong is not forgotten"
        assert seen["stood"]["starts"] == seen["again"]["starts"] + 1, (name, seen)
        assert any("the player stands still" in told for told in seen["stood"]["log"]), (name, seen)
