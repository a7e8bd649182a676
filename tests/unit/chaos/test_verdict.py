"""The verdict of a chaos run can fail: each promise broken in a small recorded run is named."""

import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.processes import Supervisor
from schemas.codec import Codec
from schemas.records import Assignment, Decision, Level, MarkKind, MediaMark, Reason
from schemas.topics import DECISIONS
from schemas.units import Epoch, Msn, UnixMs
from streams.replay.entries import Entry
from tests.builders import make_chunks, make_period, make_start
from tests.chaos.__main__ import keep_logs
from tests.chaos.account import Account, SegmentId, Word
from tests.chaos.audience import Look, Stall
from tests.chaos.effects import Effect, History, explain
from tests.chaos.plan import KINDS, Fault, make_plan
from tests.chaos.story import Done
from tests.chaos.verdict import checks_of, recovered, told_by, told_in_turn
from tests.line import just_ended
from tests.validator.recut import recut

AVRO = Path(__file__).parents[3] / "schemas" / "avro"
PLAYLIST = (Path(__file__).parents[2] / "golden" / "manifest" / "across.ll.v0.m3u8").read_text()
PERIOD = make_period()
CODEC = Codec()
EVERY: tuple[SegmentId, ...] = tuple(("news", msn, track) for msn in (0, 1) for track in ("a0", "v0"))
END = MediaMark(channel="news", life=PERIOD.life, kind=MarkKind.CHANNEL_END, period=0, parts_reached=8, next_msn=Msn(2))
# The sound of the last GOP did not come: the channel ends a GOP before the last chunk.
CHUNKS = [chunk for chunk in make_chunks(PERIOD, (2, 3)) if (chunk.track, chunk.gop) != ("a0", 4)]
RECORDS = (make_start(PERIOD), *CHUNKS, END)
LOG = [(offset, CODEC.encode(record)) for offset, record in enumerate(RECORDS)]
CHANNELS = [CODEC.encode(PERIOD)]
STORE = recut(LOG, CHANNELS, AVRO).objects
WORD = Word(packaged={"news": [(0, None)]}, published=EVERY, voids={})


def account(word: Word = WORD, store: dict[str, bytes] | None = None) -> Account:
    """Of the recorded run."""
    made, there = Account(), STORE if store is None else store
    made.take(LOG, CHANNELS, word, stored=there.keys(), get=there.__getitem__)
    return made


def broken(made: Account) -> dict[str, str]:
    """Promises that are not kept, and what is told of them."""
    return {check.name: check.told for check in checks_of(made) if not check.is_kept}


def look(text: str) -> Look:
    """A playlist that somebody saw."""
    return Look(origin_id="o", channel="news", track="v0", low_latency=True, at_unix_ms=0, packed=zlib.compress(text.encode()))


def segment(msn: int) -> str:
    """Of 4 s, as it is listed."""
    at = datetime.fromtimestamp(4 * msn, UTC).isoformat(timespec="milliseconds")
    return f"#EXT-X-PROGRAM-DATE-TIME:{at}\n#EXTINF:4.0,\n{msn}.m4s\n"


def listed(first: int, *, origin: str) -> Look:
    """Ten segments of 4 s as an origin lists them."""
    head = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
    return replace(look(head + "".join(map(segment, range(first, first + 10)))), origin_id=origin)


def effect(kind: str, takeover_ms: int | None) -> Effect:
    """Of a fault that touched two tracks."""
    return Effect(
        number=1, kind=kind, target="x", begin_unix_ms=0, healed_unix_ms=1, tracks=2, takeover_ms=takeover_ms, gap_ms=1, stalls=0
    )  # fmt: skip


def test_every_chunk_of_a_run_without_faults_is_published_or_cut() -> None:
    made = account()
    beyond = sum(chunk.gop == 4 for chunk in CHUNKS)
    assert broken(made) == {}
    assert made.total == len(CHUNKS)
    assert made.chunks == {"published": len(CHUNKS) - beyond, "cut": beyond, "ignored": 0}


def test_an_object_with_another_byte_is_named() -> None:
    name = next(name for name in sorted(STORE) if not name.endswith(".part.m4s"))
    made = account(store=STORE | {name: STORE[name][:-1] + b"?"})
    assert name in broken(made)["every object is what the log says"]


def test_an_object_that_the_log_does_not_know_is_named() -> None:
    assert "news/0/v0/99.m4s" in broken(account(store=STORE | {"news/0/v0/99.m4s": b""}))["every object is what the log says"]


def test_a_segment_that_is_reported_and_not_there_is_named() -> None:
    name = next(name for name in sorted(STORE) if not name.endswith(".part.m4s"))
    assert name in broken(account(store={key: data for key, data in STORE.items() if key != name}))["what is reported is there"]


def test_chunks_of_which_nothing_was_said_are_named() -> None:
    lost = ("news", 1, "v0")
    made = account(replace(WORD, published=[one for one in EVERY if one != lost]))
    assert "news/v0 segment 1" in broken(made)["every chunk is accounted for"]
    assert made.chunks["lost"] > 0


def test_what_is_void_for_a_reason_is_accounted_for() -> None:
    lost = ("news", 1, "v0")
    made = account(replace(WORD, published=[one for one in EVERY if one != lost], voids={lost: "late"}))
    assert broken(made) == {}
    assert made.chunks["void: late"] > 0


def test_what_is_not_packaged_is_owed_to_nobody() -> None:
    made = account(Word(packaged={"news": [(1, None)]}, published=[one for one in EVERY if one[1] == 1], voids={}))
    assert broken(made) == {}
    assert made.chunks["off"] > 0


def test_a_playlist_that_takes_back_what_it_said_is_named() -> None:
    assert told_by([look(PLAYLIST), look(PLAYLIST)])
    uri = next(line for line in PLAYLIST.splitlines() if line.endswith(".m4s"))
    with pytest.raises(AssertionError, match=r"news/v0 at o.*segment 0"):
        told_by([look(PLAYLIST), look(PLAYLIST.replace(uri, f"{uri[:-4]}0.m4s"))])


def test_a_playlist_whose_end_falls_back_is_named() -> None:
    lines = PLAYLIST.splitlines()
    last = max(number for number, line in enumerate(lines) if line.endswith(".m4s"))
    with pytest.raises(AssertionError, match=r"news/v0 at o: the last segment fell"):
        told_by([look(PLAYLIST), look("\n".join([*lines[: last - 2], ""]))])


def test_a_fault_after_which_nothing_went_on_is_named() -> None:
    assert recovered([effect("packager-kill", 3_000)]).is_kept
    check = recovered([effect("packager-kill", 3_000), effect("broker-pause", None)])
    assert not check.is_kept
    assert "broker-pause x" in check.told


def test_what_stands_before_a_mark_counts_even_if_who_wrote_it_had_not_read_it() -> None:
    said_too_little = make_start(replace(PERIOD, period=1, first_msn=Msn(2)), ended_period=0, parts_reached=6, next_msn=Msn(1))
    too_late = make_start(replace(PERIOD, period=1, first_msn=Msn(1)), ended_period=0, parts_reached=2, next_msn=Msn(1))
    log = [*LOG[:-1], (len(LOG) - 1, CODEC.encode(said_too_little)), (len(LOG), CODEC.encode(too_late))]
    assert recut(log, CHANNELS, AVRO).objects == STORE


def test_a_stall_is_explained_by_the_last_fault_before_it_and_by_none_that_is_long_over() -> None:
    def done(number: int, begin: int, healed: int) -> Done:
        fault = Fault(number=number, kind="packager-kill", at_s=0, lasts_s=1, pick=0)
        return Done(fault=fault, target="packager-1", begin_unix_ms=begin, healed_unix_ms=healed)

    stalls = [Stall(channel="news", viewer="news-ll-0", begin_unix_ms=at, end_unix_ms=at + 500) for at in (13_000, 90_000)]
    found = explain(stalls, [done(1, 5_000, 9_000), done(2, 12_000, 20_000)])
    assert [one.causes for one in found] == [(2, 1), ()]


def test_a_stall_is_the_machines_only_if_the_audience_did_not_run_for_as_long_just_then() -> None:
    def is_machine(seconds: int, *asleep: tuple[int, int]) -> bool:
        stall = Stall(channel="news", viewer="news-hls-0", begin_unix_ms=60_000, end_unix_ms=60_000 + 1_000 * seconds)
        return explain([stall], [], asleep=asleep)[0].is_machine

    assert is_machine(2, (59_000, 61_500))
    assert not is_machine(8, (59_000, 61_500)), "had it run, it would have stood still for 5.5 s"
    assert is_machine(8, (58_000, 61_500), (63_000, 67_600))
    assert not is_machine(2, (48_000, 51_500)), "it had time to fill its buffer again"


def test_what_a_process_said_before_it_ended_by_itself_is_told_and_kept_though_it_was_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs", {})
    child = supervisor.start("encode", "encode", ["wrong"], module="json.tool")
    child.popen.wait()
    (seen,) = just_ended(supervisor)
    supervisor.tend(lambda _: None)
    assert just_ended(supervisor) == [], "told once"
    supervisor.revive(child).popen.wait()
    assert (seen.name, seen.status) == ("encode", child.popen.returncode)
    assert "wrong" in seen.last
    assert len(seen.told) < len(seen.log.read_text().splitlines()), "another wrote more"
    kept = keep_logs([{"log": seen.log}], tmp_path / "chaos.json")
    assert (kept / "encode.log").read_text() == seen.log.read_text()
    supervisor.kill("encode")
    assert just_ended(supervisor) == []


def test_a_plan_has_every_kind_before_any_comes_again_and_ends_before_the_story_does() -> None:
    plan = make_plan(5, seconds=1_800)
    assert {fault.kind for fault in plan[: len(KINDS)]} == set(KINDS)
    assert all(fault.at_s + fault.lasts_s < 1_800 for fault in plan)
    assert make_plan(6, seconds=1_800) != plan


def test_who_held_a_slice_at_a_time_is_known_from_decisions_however_long_ago() -> None:
    def decided(at: int, *given: tuple[str, str], ended: tuple[str, ...] = (), whole: bool = False) -> Entry:
        assignments = tuple(
            Assignment(
                slice_id=f"{channel}/all", copy=0, channel=channel, packager_id=packager, life="l", epoch=Epoch(at), tracks=("v0",),
                turn=0, turns=1, from_msn=Msn(0), level=Level.PARTS, media_partition=0, first_offset=0, decision=at,
                reason=Reason.NEW_CHANNEL,
            )
            for channel, packager in given
        )  # fmt: skip
        record = Decision(
            pool=0, number=at, at_unix_ms=UnixMs(at), whole=whole, inputs=(), policy="", code_version="", lands_at=at,
            assignments=assignments, ended_slices=ended,
        )  # fmt: skip
        return Entry(topic=DECISIONS, partition=0, offset=at, at_unix_ms=UnixMs(at), key="0", record=record)

    history = History()
    for entry in (
        decided(1, ("a", "p1"), ("b", "p1"), whole=True), decided(2, ("a", "p2")), decided(3, ended=("b/all/0",)), decided(4, whole=True),
    ):  # fmt: skip
        history.absorb(entry)
    held = [(history.held_by("p1", at), history.held_by("p2", at)) for at in (0, 1, 2, 3, 4)]
    a, b = ("a", "v0"), ("b", "v0")
    assert held == [(set(), set()), ({a, b}, set()), ({b}, {a}), (set(), {a}), (set(), set())]


@pytest.mark.parametrize(("back", "is_kept"), [(3, True), (4, False)])
def test_an_origin_may_show_what_is_as_old_as_it_may_be_and_no_older(back: int, is_kept: bool) -> None:
    looks = [listed(20, origin="quick"), listed(20 - back, origin="slow")]
    if is_kept:
        assert "12.0 s at most" in told_in_turn(looks, behind_s=10.0)
    else:
        with pytest.raises(AssertionError, match=r"the first segment fell from 20 to 16, 16\.0 s"):
            told_in_turn(looks, behind_s=10.0)
