"""
The whole line on a real Kafka: encoder, control plane, packagers, origin, each a process of its own.

One line serves the tests of this file, in their order: what they do to it happens while it is watched, and the last of them account for
everything that happened.
"""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from infra.summary import quantiles
from infra.tally import Tally
from schemas.records import Decision, Level, Parts
from schemas.timeline import INIT_NAME, PART_SUFFIX, init_name, object_name
from schemas.topics import CHANNELS, DECISIONS, MEDIA, PARTS
from schemas.units import UnixMs
from streams.replay.redecide import redecide_log
from tests.invariants import read_playlist
from tests.line import WAIT_S, Line, whole_line
from tests.promises import assert_playlists_never_contradict
from tests.validator.recut import Recut, recut

pytestmark = pytest.mark.timeout(240)
SCHEMAS = Path(__file__).parents[2] / "schemas" / "avro"
WATCHED = ("chess", "news")
PLAYLISTS = tuple(f"/{channel}/{kind}/{track}.m3u8" for channel in WATCHED for kind in ("hls", "ll") for track in ("v0", "a0"))
TARGET_S = 4.0
# Until a change is seen in a playlist that is read a few times a second on a busy machine.
LOOK_S = 1.0
OUTAGE_S = 10.0
Tell = Callable[[str, object], None]


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Two channels that are packaged though nobody watches, one that is not, three packagers."""
    with whole_line(kafka, tmp_path_factory.mktemp("line"), packagers=3, GRANULARITY__HOLD_MS=2_000) as made:
        made.play(*WATCHED, idle=Level.PARTS)
        made.play("garden", idle=Level.OFF)
        made.goes_on(*WATCHED, segments=1)
        made.onlooker.watch(*PLAYLISTS)
        yield made


@pytest.fixture(scope="module")
def ended(line: Line) -> Line:
    """The same after its encoders ended and its packagers finished."""
    line.end()
    return line


def account(line: Line) -> Recut:
    """The store holds exactly what a second cut of the log says, and nothing between start and stop is missing."""
    channels = [value for _, value in line.raw(CHANNELS)[0]]
    expected = Recut()
    for records in line.raw(MEDIA).values():
        one = recut(records, channels, SCHEMAS)
        expected.objects |= one.objects
        expected.segments |= one.segments
    stored = line.objects()
    inits = {init_name(p.channel, p.period, t.track): t.init for p in line.tally.periods.values() for t in p.tracks}
    assert {name: data for name, data in stored.items() if name.endswith(INIT_NAME)}.items() <= inits.items()
    # Manifests of what has ended are checked by their own test.
    media = {name: data for name, data in stored.items() if name.count("/") == 3 and not name.endswith(INIT_NAME)}
    wrong = [name for name, data in media.items() if expected.objects.get(name) != data]
    assert not wrong, f"{len(wrong)} of {len(media)} objects are not what the log says: {wrong[:5]}"
    always = [name for name in expected.objects if name.split("/")[0] in WATCHED]
    missing = [name for name in always if name not in media]
    assert not missing, f"{len(missing)} of {len(always)} objects are missing: {missing[:5]}"
    tally = line.tally
    assert tally.lost() == []
    assert not tally.conflicts
    assert not tally.voids
    assert not tally.failures
    assert tally.rejects == 0
    assert tally.discontinuities() == 0
    return expected


def decisions(line: Line) -> list[int]:
    return [entry.record.number for entry in line.entries(DECISIONS) if isinstance(entry.record, Decision)]


def holders(line: Line) -> dict[str, tuple[str, str]]:
    """Who holds the channels that are always wanted."""
    return {a.channel: (a.packager_id, a.life) for a in line.tally.holders.values() if a.channel in WATCHED}


def parts_of(line: Line, channel: str) -> list[UnixMs]:
    return [at for name, _, _, at in line.tally.part_times if name == channel]


def test_chunks_become_playlists_whose_objects_can_be_fetched(line: Line) -> None:
    status, text = line.get("/chess/hls/multivariant.m3u8")
    assert status == 200
    assert text.count("#EXT-X-STREAM-INF") == 2
    assert "v1.m3u8" in text
    for track in ("v0", "v1", "a0"):
        playlist = read_playlist(line.get(f"/chess/hls/{track}.m3u8")[1])
        assert playlist.segments
        for segment in playlist.segments:
            assert line.run.settings.store.directory.joinpath("chess", segment[-1].removeprefix("../")).is_file()
    status, text = line.get("/chess/dash/manifest.mpd")
    assert status == 200
    assert 'type="dynamic"' in text


def test_first_request_of_a_channel_that_is_off_is_answered_within_seconds(line: Line, record_testsuite_property: Tell) -> None:
    line.until(lambda tally: ("garden" in tally.channels and tally.plans["garden"]) or None, what="plan of the garden")
    assert line.tally.plans["garden"][-1].level is Level.OFF
    assert not any(a.channel == "garden" for a in line.tally.holders.values())
    began = time.monotonic()
    status, text = line.get("/garden/hls/v0.m3u8")
    took_s = time.monotonic() - began
    assert status == 200, text
    assert read_playlist(text).segments
    assert took_s < 4, f"the first playlist took {took_s:.1f} s"
    record_testsuite_property("line: first_request_s", round(took_s, 2))


def test_an_audience_that_arrives_shortens_segments(line: Line) -> None:
    turn = 0

    def shorter(tally: Tally) -> bool:
        nonlocal turn
        turn += 1
        line.arrive("chess", 2, prefix=f"turn-{turn}")
        return min(tally.segment_lengths_s("chess")) < TARGET_S

    line.until(shorter, what="shorter segments")
    assert line.tally.segment_lengths_s("news") == [TARGET_S]
    line.goes_on("chess")


def test_slices_of_a_killed_packager_move_and_viewers_get_their_next_segment(line: Line, record_testsuite_property: Tell) -> None:
    holder = line.holder("news")
    assignment = next(a for a in line.tally.holders.values() if a.channel == "news")
    life = (assignment.packager_id, assignment.life)
    line.goes_on("news", segments=1)
    count = len(parts_of(line, "news"))
    # In the middle of a segment: what the dead one made of it, the next makes again.
    line.until(lambda _: len(parts_of(line, "news")) >= count + 6, what="parts of the next segment")
    killed_unix_ms, killed_s = UnixMs(time.time_ns() // 1_000_000), time.monotonic()
    line.run.supervisor.kill(holder)
    line.until(lambda tally: tally.takeovers_ms(life), what=f"takeover from {holder}")
    line.goes_on(*WATCHED)
    takeover_ms = max(line.tally.takeovers_ms(life, killed_unix_ms=killed_unix_ms))
    record_testsuite_property("line: takeover_ms", takeover_ms)
    gap_s = line.onlooker.gap_s("/news/hls/v0.m3u8", since_s=killed_s - TARGET_S)
    record_testsuite_property("line: longest_s_between_listed_segments", round(gap_s, 2))
    assert takeover_ms < 1_500 * TARGET_S
    assert gap_s <= 1.5 * TARGET_S + LOOK_S
    line.run.supervisor.wait_ready([line.run.supervisor.revive(line.run.supervisor.children[holder])], timeout_s=WAIT_S)


def test_a_packager_that_wakes_up_after_its_slices_moved_changes_nothing(line: Line) -> None:
    holder = line.holder("chess")
    sleeper = line.run.supervisor.children[holder].popen
    before = holders(line)["chess"]
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        line.until(lambda _: holders(line).get("chess", before) != before, what=f"takeover from {holder}")
        line.goes_on(*WATCHED, segments=1)
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    line.goes_on(*WATCHED)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_control_plane_comes_back_to_its_decisions_and_the_line_goes_on_meanwhile(line: Line, how: str) -> None:
    supervisor = line.run.supervisor
    before = decisions(line)
    if how == "killed":
        supervisor.kill("control")
    else:
        supervisor.stop(["control"])
        assert supervisor.children["control"].popen.returncode == 0
    plans, held = dict(line.tally.plans), holders(line)
    line.goes_on(*WATCHED)
    control = supervisor.revive(supervisor.children["control"])
    supervisor.wait_ready([control], timeout_s=WAIT_S)
    line.until(lambda _: len(decisions(line)) > len(before), what="next decision")
    line.goes_on(*WATCHED)
    numbers = decisions(line)
    assert numbers == list(range(1, len(numbers) + 1))
    # The garden may have fallen idle meanwhile; what is wanted all the time was neither planned anew nor moved.
    assert {name: line.tally.plans[name][0] for name in WATCHED} == {name: plans[name][0] for name in WATCHED}
    assert holders(line) == held


def test_every_object_is_what_a_second_cut_of_the_log_says(ended: Line, record_testsuite_property: Tell) -> None:
    expected = account(ended)
    lengths = ended.tally.segment_lengths_s("chess")
    assert len(lengths) > 1
    live_ms, _ = ended.tally.part_latencies_ms()
    record_testsuite_property("line: objects", len(expected.objects))
    record_testsuite_property("line: segment_lengths_s", str(lengths))
    record_testsuite_property("line: part_latency_ms", str(quantiles(live_ms)))
    record_testsuite_property("line: assignment_latency_ms", str(quantiles(ended.tally.assignment_ms)))


def test_two_packagers_made_equal_objects_where_both_did(ended: Line) -> None:
    makers: dict[str, set[tuple[str, str]]] = defaultdict(set)
    digests: dict[str, set[bytes]] = defaultdict(set)
    for entry in ended.entries(PARTS):
        if isinstance(entry.record, Parts):
            for part in entry.record.parts:
                name = object_name(part.channel, part.period, part.track, part.start_ticks, PART_SUFFIX)
                makers[name].add((entry.record.packager_id, entry.record.life))
                digests[name].add(part.digest)
    twice = [name for name, lives in makers.items() if len(lives) > 1]
    assert twice, "no part was made twice: the test shows nothing"
    assert all(len(digests[name]) == 1 for name in makers)


def test_playlists_never_contradicted_an_earlier_one(ended: Line) -> None:
    assert_playlists_never_contradict(ended.onlooker.seen)
    assert len(ended.onlooker.seen) > 100
    assert not ended.onlooker.refused


def test_every_decision_comes_out_equal_when_it_is_made_again(ended: Line) -> None:
    verdict = redecide_log(ended.run.settings.kafka)
    assert verdict.is_equal, str(verdict)
    assert verdict.unproved == 0, verdict
    assert verdict.equal == len(decisions(ended))


def test_kafka_away_for_ten_seconds_costs_nothing(own_kafka: LocalBroker, tmp_path: Path) -> None:
    with whole_line(own_kafka, tmp_path, packagers=2, revives=True) as line:
        line.play(*WATCHED, idle=Level.PARTS)
        line.goes_on(*WATCHED, segments=1)
        line.onlooker.watch(*PLAYLISTS[:2])
        own_kafka.kill()
        over = time.monotonic() + OUTAGE_S
        line.onlooker.until(over)
        own_kafka.start()
        line.goes_on(*WATCHED, segments=3)
        line.end()
        account(line)
