"""The control plane on real Kafka: decides, survives restarts and kills, loses no record, notices a second planner."""

import asyncio
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from schemas import topics
from schemas.errors import Exit
from schemas.records import Decision, Level, PackagerState, Period, PeriodEnd, Reason
from schemas.units import Ms, Msn, UnixMs
from streams.core.decide import whole
from streams.core.policy import Policy
from streams.core.standing import counts
from streams.core.state import State
from streams.journal import Journal, OvertakenError
from streams.log import KafkaLog
from streams.replay.redecide import redecide_log
from tests.builders import make_period

from .control_plane import CODEC, ControlPlane, Crowd, Installation, gops, heartbeat, until


@pytest.fixture
def installation(kafka: LocalBroker, tmp_path: Path) -> Installation:
    return Installation(kafka, tmp_path / "control")


def go_live(installation: Installation, channel: str, number: int = 0) -> Period:
    period = make_period(channel, period=number, idle_level=Level.PARTS, time_shift_ms=Ms(6_000))
    installation.send(topics.CHANNELS, topics.period_key(channel, number), period)
    installation.send(topics.GOPS, channel, *gops(period, range(5)))
    return period


def holders(installation: Installation) -> dict[str, str]:
    """Who holds each slice now."""
    held: dict[bytes, str] = {}
    for message in installation.read(topics.ASSIGNMENTS):
        held.pop(message.key(), None)
        if message.value() is not None:
            held[message.key()] = CODEC.decode(message.value()).packager_id
    return {key.decode(): packager for key, packager in held.items()}


def counting(decisions: list[Decision]) -> list[Decision]:
    """Those of a whole journal that landed where they were to."""
    return [decision for offset, decision in enumerate(decisions) if counts(decision, offset=offset)]


def assert_unbroken(decisions: list[Decision]) -> None:
    """The numbers that count follow each other, and no epoch of a slice is given away twice."""
    counted = counting(decisions)
    assert all(after.number == before.number + 1 for before, after in pairwise(counted))
    given: dict[tuple[str, int], str] = {}
    for decision in counted:
        for assignment in decision.assignments:
            holder = given.setdefault((assignment.slice_id, assignment.epoch), assignment.packager_id + assignment.life)
            assert holder == assignment.packager_id + assignment.life, f"{assignment.slice_id}: one epoch, two holders"


def test_a_channel_that_goes_live_is_given_to_a_packager(installation: Installation, tmp_path: Path) -> None:
    with ControlPlane(installation, tmp_path / "control") as control, Crowd(installation, "p1", "p2"):
        control.ready()
        go_live(installation, "news")
        until(lambda: holders(installation), what="assignment")
        assert control.stop() == 0
    (assignment,) = installation.records(topics.ASSIGNMENTS)
    assert (assignment.channel, assignment.level, assignment.tracks) == ("news", Level.PARTS, ("v0", "a0"))
    (plan,) = installation.records(topics.PLANS)
    assert plan.channel == "news"
    assert_unbroken(installation.records(topics.DECISIONS))


def test_records_that_waited_for_the_first_start_are_all_folded(installation: Installation, tmp_path: Path) -> None:
    go_live(installation, "news")
    with Crowd(installation, "p1"), ControlPlane(installation, tmp_path / "control") as control:
        until(lambda: holders(installation), what="assignment")
        assert control.stop() == 0
    newest = installation.records(topics.DECISIONS)[-1]
    folded = {entry.topic: entry.next_offset for entry in newest.inputs}
    assert (folded[topics.CHANNELS.name(installation.kafka)], folded[topics.GOPS.name(installation.kafka)]) == (1, 5)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_goes_on_with_what_stood(installation: Installation, tmp_path: Path, how: str) -> None:
    with Crowd(installation, "p1", "p2"):
        with ControlPlane(installation, tmp_path / "control") as first:
            first.ready()
            go_live(installation, "news")
            until(lambda: holders(installation), what="assignment")
            before = holders(installation)
            until(lambda: first.metric("finecut_control_commit_age_seconds") == 0.0, what="commit")
            getattr(first, how)()
        number = installation.records(topics.DECISIONS)[-1].number
        with ControlPlane(installation, tmp_path / "control") as second:
            second.ready()
            go_live(installation, "sport")
            until(lambda: len(holders(installation)) == 2, what="assignment of the new channel")
            assert second.stop() == 0
    decisions = installation.records(topics.DECISIONS)
    restated = next(d for d in decisions if d.number > number)
    assert restated.whole, "the first word of a planner is a whole decision"
    assert {key: holders(installation)[key] for key in before} == before, "work that went well stays where it is"
    assert_unbroken(decisions)


def test_tables_survive_a_kill_of_worker_and_commits(installation: Installation, tmp_path: Path) -> None:
    with Crowd(installation, "p1"):
        with ControlPlane(installation, tmp_path / "control") as first:
            go_live(installation, "news")
            until(lambda: holders(installation), what="assignment")
            until(lambda: first.metric("finecut_control_commit_age_seconds") == 0.0, what="commit")
            first.kill()
        with ControlPlane(installation, tmp_path / "control") as second:
            second.ready()
            until(lambda: second.metric("finecut_control_records_total"), what="heartbeat after the restart")
            assert second.stop() == 0
    newest = installation.records(topics.DECISIONS)[-1]
    folded = {entry.topic: entry.next_offset for entry in newest.inputs}
    assert folded[topics.GOPS.name(installation.kafka)] == 5, "known from the table: its records are committed and not read again"


def test_a_worker_that_stood_still_beyond_its_session_goes_on(installation: Installation, tmp_path: Path) -> None:
    with ControlPlane(installation, tmp_path / "control") as control, Crowd(installation, "p1", "p2"):
        control.ready()
        go_live(installation, "news")
        until(lambda: holders(installation), what="assignment")
        before = holders(installation)
        control.process.send_signal(signal.SIGSTOP)
        # Nothing can be asked of a stopped process: its session is over once this much time has passed.
        time.sleep(2 * installation.settings.control.session_timeout_ms / 1_000)
        go_live(installation, "sport")
        control.process.send_signal(signal.SIGCONT)
        until(lambda: len(holders(installation)) == 2, what="assignment of the new channel")
        assert control.stop() == 0
    assert {key: holders(installation)[key] for key in before} == before
    assert_unbroken(installation.records(topics.DECISIONS))


def test_a_packager_that_falls_silent_loses_its_slices(installation: Installation, tmp_path: Path) -> None:
    with ControlPlane(installation, tmp_path / "control") as control, Crowd(installation, "p2", "p3", "p4"):
        control.ready()
        with Crowd(installation, "p1"):
            for name in ("a", "b", "c", "d"):
                go_live(installation, name)
            until(lambda: "p1" in holders(installation).values(), what="slice of p1")
        until(lambda: "p1" not in holders(installation).values(), what="takeover")
        assert control.stop() == 0
    reasons = {a.reason for d in installation.records(topics.DECISIONS) if not d.whole for a in d.assignments}
    assert Reason.PACKAGER_DEAD in reasons
    assert_unbroken(installation.records(topics.DECISIONS))


def test_a_packager_that_leaves_is_relieved_at_once(installation: Installation, tmp_path: Path) -> None:
    with ControlPlane(installation, tmp_path / "control") as control, Crowd(installation, "p2"):
        control.ready()
        installation.send(topics.HEARTBEATS, "p1", heartbeat("p1", state=PackagerState.READY))
        go_live(installation, "news")
        until(lambda: holders(installation), what="assignment")
        installation.send(topics.HEARTBEATS, "p1", heartbeat("p1", number=1, state=PackagerState.GONE))
        until(lambda: set(holders(installation).values()) == {"p2"}, what="takeover by p2")
        assert control.stop() == 0


def test_bytes_that_are_no_record_are_kept_in_rejects_and_nothing_stops(installation: Installation, tmp_path: Path) -> None:
    with ControlPlane(installation, tmp_path / "control") as control, Crowd(installation, "p1"):
        control.ready()
        (garbage,) = installation.send(topics.GOPS, "news", b"\xc3\x01 not a record")
        go_live(installation, "news")
        until(lambda: holders(installation), what="assignment")
        assert control.stop() == 0
    (reject,) = installation.records(topics.REJECTS)
    assert (reject.payload, reject.source_key, reject.source_offset) == (b"\xc3\x01 not a record", b"news", garbage.offset())


def test_an_exception_of_ours_ends_the_worker_and_its_successor_reads_the_record_again(installation: Installation, tmp_path: Path) -> None:
    # A folder where the worker believes that every first heartbeat of a life is a bug of ours.
    fault = tmp_path / "fault"
    fault.mkdir()
    (fault / "sitecustomize.py").write_text(FAULT)
    installation.send(topics.HEARTBEATS, "p0", heartbeat("p0", life="calm"))
    installation.send(topics.HEARTBEATS, "p1", heartbeat("p1", life="broken"))
    with ControlPlane(installation, tmp_path / "control", PYTHONPATH=str(fault)) as first:
        assert first.process.wait(30) == 1
    with ControlPlane(installation, tmp_path / "control") as second:
        second.ready()
        until(lambda: len(installation.records(topics.DECISIONS)) > 0, what="decision")
        assert second.stop() == 0
    folded = {entry.topic: entry.next_offset for entry in installation.records(topics.DECISIONS)[-1].inputs}
    assert folded[topics.HEARTBEATS.name(installation.kafka)] == 2
    assert installation.records(topics.REJECTS) == [], "it was our bug, not the packager's"


def test_a_worker_whose_loop_stands_still_ends_with_a_status_that_says_so_and_with_its_stacks(
    installation: Installation, tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    fault.mkdir()
    (fault / "sitecustomize.py").write_text(FAULT.replace('raise ZeroDivisionError("a bug of ours")', "import time; time.sleep(600)"))
    installation.send(topics.HEARTBEATS, "p1", heartbeat("p1", life="broken"))
    stuck = {"PYTHONPATH": str(fault), "FINECUT_CONTROL__STUCK_AFTER_MS": "2000"}
    with ControlPlane(installation, tmp_path / "control", **stuck) as control:
        assert control.process.wait(60) == Exit.STUCK
    log = control.log_path.read_text()
    assert "loop_stands_still" in log
    assert "in _heartbeats" in log


FAULT = """
import streams.core.folds as folds
whole = folds._heartbeats
def _heartbeats(row, heartbeat, *rest):
    if heartbeat.life == "broken":
        raise ZeroDivisionError("a bug of ours")
    return whole(row, heartbeat, *rest)
folds.FOLDS["heartbeats"] = folds.replace(folds.FOLDS["heartbeats"], step=_heartbeats)
"""


def test_a_channel_whose_record_was_passed_over_is_packaged(installation: Installation, tmp_path: Path) -> None:
    # A folder where Faust drops the first record of `channels` that it fetched, as it may in a rebalance.
    fault = tmp_path / "fault"
    fault.mkdir()
    (fault / "sitecustomize.py").write_text(PASSING)
    with ControlPlane(installation, tmp_path / "control", PYTHONPATH=str(fault)) as control, Crowd(installation, "p1"):
        control.ready()
        for name in ("passed", "found"):
            go_live(installation, name)
        until(lambda: {key.split("/")[0] for key in holders(installation)} == {"passed", "found"}, what="assignment of both channels")
        assert control.stop() == 0
        assert "records_passed_over" in control.log_path.read_text()
    assert redecide_log(installation.kafka).is_equal


PASSING = """
import streams.transport as transport
whole, passed = transport.Consumer.getmany, []
async def getmany(consumer, timeout):
    async for tp, message in whole(consumer, timeout):
        if tp.topic.endswith(".channels") and not passed:
            passed.append(message)
        else:
            yield tp, message
transport.Consumer.getmany = getmany
"""


def test_what_nobody_needs_any_more_leaves_tables_and_channels_and_a_restart_goes_on(installation: Installation, tmp_path: Path) -> None:
    short = {
        "FINECUT_MEDIA__TARGET_DURATION_MS": "1000",
        "FINECUT_MEDIA__TIME_SHIFT_MS": "6000",
        "FINECUT_GRANULARITY__IDLE_MS": "5000",
        "FINECUT_PLANNER__MEMORY_MS": "12000",
        "FINECUT_PLANNER__RESTATE_MS": "1000",
        "FINECUT_KAFKA__MEDIA_RETENTION_MS": "6000",
        "FINECUT_KAFKA__CONTROL_RETENTION_MS": "1000",
    }
    changelog = replace(topics.HEARTBEATS, title="control-packagers-changelog")
    with Crowd(installation, "p1"):
        with ControlPlane(installation, tmp_path / "control", **short) as first:
            first.ready()
            installation.send(topics.HEARTBEATS, "gone", heartbeat("gone"))
            for number in range(2):
                go_live(installation, "news", number)
            end = PeriodEnd(channel="news", period=0, parts_reached=3, next_msn=Msn(2), channel_ended=False)
            installation.send(topics.CHANNELS, topics.period_end_key("news", 0), end)
            until(lambda: deleted(installation, topics.CHANNELS) == {"news/0", "news/0/end"}, what="deletion of the old period")
            until(lambda: deleted(installation, changelog) == {"0/gone"}, what="deletion of the row of a packager that left")
            until(lambda: first.metric("finecut_control_commit_age_seconds") == 0.0, what="commit")
            first.kill()
        before = installation.records(topics.DECISIONS)[-1]
        with ControlPlane(installation, tmp_path / "control", **short) as second:
            second.ready()
            go_live(installation, "sport")
            until(lambda: any(key.startswith("sport") for key in holders(installation)), what="assignment of the new channel")
            assert second.stop() == 0
    decisions = installation.records(topics.DECISIONS)
    assert_unbroken(decisions)
    after = next(d for d in decisions if d.number == before.number + 1)
    assert all(was.next_offset <= now.next_offset for was, now in zip(before.inputs, after.inputs, strict=True))
    assert redecide_log(installation.kafka).is_equal


def deleted(installation: Installation, topic: topics.Topic) -> set[str]:
    """Keys of a topic whose newest record is a tombstone."""
    newest = {message.key().decode(): message.value() for message in installation.read(topic)}
    return {key for key, value in newest.items() if value is None}


def test_of_two_planners_the_stale_one_notices_and_the_other_goes_on(installation: Installation, tmp_path: Path) -> None:
    with ControlPlane(installation, tmp_path / "control") as control, Crowd(installation, "p1"):
        control.ready()
        go_live(installation, "news")
        until(lambda: holders(installation), what="assignment")
        with pytest.raises(OvertakenError):
            asyncio.run(decide_once_too_late(installation))
        go_live(installation, "sport")
        until(lambda: len(holders(installation)) == 3, what="assignment by the planner in charge")
        until(lambda: control.metric("finecut_control_overtaken_total"), what="notice of the other")
        assert control.stop() == 0
    decisions = installation.records(topics.DECISIONS)
    assert len(counting(decisions)) < len(decisions)
    assert_unbroken(decisions)


async def decide_once_too_late(installation: Installation) -> None:
    """Read the journal as a planner would, let the one in charge go on, then append."""
    kafka, state = installation.kafka, State(0, topic_prefix=installation.kafka.topic_prefix)
    async with KafkaLog(kafka) as log:
        stale = Journal(0, log=log, codec=CODEC, kafka=kafka)
        await stale.recover()
        number = stale.standing.number
        go_live(installation, "late")
        await asyncio.to_thread(until, lambda: installation.records(topics.DECISIONS)[-1].number > number, what="decision in between")
        now = UnixMs(int(time.time() * 1_000))
        await stale.append(whole(state, stale.standing, Policy.of(installation.settings), now=now, code_version="stale"))
