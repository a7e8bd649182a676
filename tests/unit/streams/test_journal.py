"""Appending to and reading back the journal of decisions."""

from dataclasses import replace
from typing import Any

import pytest

from packager.holding import Assigned, Inbox, Withdrawn
from schemas import topics
from schemas.codec import Codec
from schemas.records import Assignment, Decision, Level, Plan, Reason
from schemas.settings import KafkaSettings
from schemas.units import Epoch, Msn, UnixMs
from streams.journal import Journal, OvertakenError
from streams.log import outgoing

from .fake_log import FakeLog


def decision(number: int, *, whole: bool = False, **fields: Any) -> Decision:
    return Decision(pool=0, number=number, at_unix_ms=UnixMs(0), whole=whole, inputs=(), policy="{}", code_version="t", **fields)


def plan(channel: str, number: int) -> Plan:
    return Plan(channel=channel, level=Level.PARTS, gops_per_segment=2, decision=number, reason=Reason.FORECAST)


def assignment(channel: str, number: int, packager_id: str = "p1") -> Assignment:
    return Assignment(
        slice_id=f"{channel}/all/0", copy=0, epoch=Epoch(number), packager_id=packager_id, life="l", channel=channel, tracks=("v0",),
        turn=0, turns=1, level=Level.PARTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=number, reason=Reason.PLACED,
    )  # fmt: skip


def journal(log: FakeLog) -> Journal:
    return Journal(0, log=log, codec=Codec(), kafka=KafkaSettings())


async def decide(journal: Journal, *decisions: Decision) -> None:
    for made in decisions:
        await journal.append(made)
        await journal.project()


async def test_what_was_appended_stands_after_a_restart() -> None:
    log = FakeLog()
    first = journal(log)
    await first.recover()
    await decide(first, decision(1, whole=True), decision(2, plans=(plan("a", 2),)), decision(3, assignments=(assignment("a", 3),)))
    second = journal(log)
    await second.recover()
    assert second.standing == first.standing
    assert set(second.standing.assignments) == {"a/all/0/0"}


async def test_an_empty_journal_has_no_time() -> None:
    assert await journal(FakeLog()).recover() is None


async def test_projections_follow_the_decision_and_name_it() -> None:
    log = FakeLog()
    ours = journal(log)
    await ours.recover()
    await decide(ours, decision(1, whole=True), decision(2, plans=(plan("a", 2),), assignments=(assignment("a", 2),)))
    assert [record.decision for record in log.records(topics.PLANS) + log.records(topics.ASSIGNMENTS)] == [2, 2]


async def test_a_planner_that_was_overtaken_learns_it_from_the_offset() -> None:
    log = FakeLog()
    stale, ours = journal(log), journal(log)
    await stale.recover()
    await decide(stale, decision(1, whole=True))
    await ours.recover()
    await decide(ours, decision(2, whole=True))
    with pytest.raises(OvertakenError):
        await stale.append(decision(2, plans=(plan("a", 2),)))


async def test_a_record_of_a_stale_planner_does_not_count() -> None:
    log = FakeLog()
    stale, ours = journal(log), journal(log)
    await stale.recover()
    await decide(stale, decision(1, whole=True))
    await ours.recover()
    await decide(ours, decision(2, whole=True))
    with pytest.raises(OvertakenError):
        await stale.append(decision(2, plans=(plan("a", 2),)))
    with pytest.raises(OvertakenError):
        await ours.append(decision(3, plans=(plan("b", 3),)))
    await ours.recover()
    assert ours.standing.number == 2, "neither landed where it was to: a stale record lay between"
    await decide(ours, decision(3, plans=(plan("b", 3),)))
    await stale.recover()
    assert stale.standing == ours.standing


async def test_a_planner_that_comes_between_reading_and_the_first_append_is_noticed() -> None:
    log = FakeLog()
    ours = journal(log)
    await ours.recover()
    other = outgoing(
        topics.DECISIONS, 0, "0", replace(decision(1, whole=True, plans=(plan("a", 1),)), lands_at=0), codec=log.codec, kafka=log.kafka
    )
    log.before_append = lambda: log.put(other)
    with pytest.raises(OvertakenError):
        await ours.append(decision(1, whole=True))
    await ours.recover()
    assert set(ours.standing.plans) == {"a"}


async def test_what_the_last_planner_owed_is_sent_by_the_next() -> None:
    log = FakeLog()
    dying = journal(log)
    await dying.recover()
    await decide(dying, decision(1, whole=True), decision(2, assignments=(assignment("a", 2),)))
    await dying.append(decision(3, ended_slices=("a/all/0/0",)))
    ours = journal(log)
    await ours.recover()
    await decide(ours, decision(4, whole=True))
    assert log.records(topics.ASSIGNMENTS)[-1] is None


async def test_what_a_stale_planner_left_in_a_compacted_topic_is_removed_by_the_next() -> None:
    log = FakeLog()
    ours = journal(log)
    await ours.recover()
    await decide(ours, decision(1, whole=True))
    log.put(outgoing(topics.ASSIGNMENTS, 0, "b/all/0/0", assignment("b", 1), codec=log.codec, kafka=log.kafka))
    following = journal(log)
    await following.recover()
    await decide(following, decision(2, whole=True))
    assert log.records(topics.ASSIGNMENTS)[-1] is None


async def test_reading_back_stops_at_whole_decisions_however_long_the_journal_is() -> None:
    log = FakeLog()
    ours = journal(log)
    await ours.recover()
    await decide(ours, decision(1, whole=True))
    for number in range(2, 1_203):
        made = (
            decision(number, whole=True, plans=(plan("a", number),)) if number % 600 == 0 else decision(number, plans=(plan("b", number),))
        )
        await decide(ours, made)
    following = journal(log)
    await following.recover()
    assert following.standing == ours.standing


async def test_what_follows_decisions_that_are_not_kept_any_more_prevails_over_what_they_left() -> None:
    log = FakeLog()
    ours = journal(log)
    await ours.recover()
    await decide(ours, decision(1, whole=True), decision(2, assignments=(assignment("a", 2),)), decision(3, plans=(plan("a", 3),)))
    log.first[topics.DECISIONS.name(log.kafka), 0] = 3
    following = journal(log)
    await following.recover()
    assert (following.standing.assignments, following.standing.number) == ({}, 3)
    assert obeyed(log, "p1") == ["a/all/0/0"]
    await decide(following, decision(4, whole=True, assignments=(assignment("b", 4),)))
    assert obeyed(log, "p1") == ["b/all/0/0"]


async def test_a_record_that_is_no_decision_or_cannot_be_read_stops_nobody() -> None:
    log = FakeLog()
    ours = journal(log)
    await ours.recover()
    await decide(ours, decision(1, whole=True, plans=(plan("a", 1),)))
    log.put(outgoing(topics.DECISIONS, 0, "0", plan("b", 2), codec=log.codec, kafka=log.kafka))
    log.put(replace(outgoing(topics.DECISIONS, 0, "0", decision(2), codec=log.codec, kafka=log.kafka), value=b"of another version"))
    with pytest.raises(OvertakenError):
        await ours.append(decision(2))
    following = journal(log)
    await following.recover()
    assert set(following.standing.plans) == {"a"}
    # Either may have been decision 2 or 3 of a version that can read it.
    assert following.standing.number == 3
    await decide(following, decision(4, whole=True, plans=(plan("a", 4),)))
    last = journal(log)
    await last.recover()
    assert last.standing == following.standing


async def test_a_decision_that_landed_elsewhere_does_not_count_wherever_reading_begins() -> None:
    log, ours = FakeLog(), decision(1, whole=True, plans=(plan("a", 1),))
    written = [replace(ours, lands_at=0), decision(2, lands_at=1), replace(decision(2, whole=True), lands_at=1, cause="late")]
    for record in [*written, decision(3, plans=(plan("b", 3),), lands_at=3)]:
        log.put(outgoing(topics.DECISIONS, 0, "0", record, codec=log.codec, kafka=log.kafka))
    following = journal(log)
    await following.recover()
    assert (following.standing.number, set(following.standing.plans)) == (3, {"a", "b"})


async def stale_and_ours(log: FakeLog) -> tuple[Journal, Journal]:
    """A planner that stood still after the ack of its decision to give a slice, a plan and an end, and one that went on meanwhile."""
    stale, ours = journal(log), journal(log)
    await stale.recover()
    await decide(stale, decision(1, whole=True), decision(2, assignments=(assignment("a", 2), assignment("b", 2))))
    await stale.append(decision(3, plans=(plan("a", 3),), assignments=(assignment("a", 3, "p2"),), ended_slices=("b/all/0/0",)))
    await ours.recover()
    held = (assignment("a", 5, "p3"), assignment("b", 5, "p3"))
    await decide(ours, decision(4, whole=True), decision(5, assignments=held, plans=(plan("a", 5),)))
    return stale, ours


def obeyed(log: FakeLog, packager_id: str) -> list[str]:
    """What a packager that reads `assignments` from its beginning to its end holds then."""
    inbox, held = Inbox(packager_id, "l"), set()
    for stored in log.partitions[topics.ASSIGNMENTS.name(log.kafka), 0]:
        record = None if stored.value is None else log.codec.decode(stored.value)
        ended_by = log.tombstones.get((topics.ASSIGNMENTS.name(log.kafka), stored.offset))
        match inbox.fold(stored.key.decode(), record, decision=ended_by):
            case Assigned(key=key):
                held.add(key)
            case Withdrawn(key=key):
                held.discard(key)
    return sorted(held)


def compacted(log: FakeLog, topic: topics.Topic) -> dict[str, Any]:
    """The newest by key, which is all that compaction leaves."""
    newest = {stored.key.decode(): stored.value for stored in log.partitions[topic.name(log.kafka), 0]}
    return {key: log.codec.decode(value) for key, value in newest.items() if value is not None}


async def test_who_stood_still_between_ack_and_projections_changes_nothing_for_those_who_read_along() -> None:
    log = FakeLog()
    stale, _ = await stale_and_ours(log)
    before = [obeyed(log, packager) for packager in ("p1", "p2", "p3")]
    await stale.project()
    assert before == [[], [], ["a/all/0/0", "b/all/0/0"]]
    assert [obeyed(log, packager) for packager in ("p1", "p2", "p3")] == before, "its assignments and its tombstone are older"


async def test_what_a_stale_planner_wrote_over_is_sent_again_for_those_who_begin_to_read() -> None:
    log = FakeLog()
    stale, ours = await stale_and_ours(log)
    assert await ours.mend() == ()
    await stale.project()
    assert compacted(log, topics.ASSIGNMENTS)["a/all/0/0"].packager_id == "p2"
    assert set(await ours.mend()) == {"a/all/0/0", "b/all/0/0", "a"}
    assert compacted(log, topics.ASSIGNMENTS) == ours.standing.assignments
    assert compacted(log, topics.PLANS) == ours.standing.plans
    assert await ours.mend() == (), "what was sent again is our own"


async def test_what_a_stale_planner_brought_back_is_ended_again() -> None:
    log = FakeLog()
    stale, ours = await stale_and_ours(log)
    await decide(ours, decision(6, ended_slices=("a/all/0/0",), ended_channels=("a",)))
    await stale.project()
    await ours.mend()
    assert set(compacted(log, topics.ASSIGNMENTS)) == {"b/all/0/0"}
    assert compacted(log, topics.PLANS) == {}
    assert None not in log.tombstones.values(), "every tombstone names a decision"


async def test_what_was_written_over_and_then_decided_anew_is_not_sent_again() -> None:
    log = FakeLog()
    stale, ours = await stale_and_ours(log)
    await stale.project()
    await decide(ours, decision(6, assignments=(assignment("a", 6, "p1"),)))
    assert set(await ours.mend()) == {"b/all/0/0", "a"}


async def test_a_planner_that_was_overtaken_mends_nothing() -> None:
    log = FakeLog()
    stale, _ = await stale_and_ours(log)
    with pytest.raises(OvertakenError):
        await stale.mend()


async def test_a_planner_that_stood_still_before_its_append_sends_nothing_that_follows_from_it() -> None:
    log = FakeLog()
    stale, ours = journal(log), journal(log)
    await stale.recover()
    await decide(stale, decision(1, whole=True))

    async def goes_on_meanwhile() -> None:
        await ours.recover()
        await decide(ours, decision(2, whole=True), decision(3, assignments=(assignment("a", 3, "p3"),)))

    log.while_appending = goes_on_meanwhile
    with pytest.raises(OvertakenError):
        await decide(stale, decision(2, assignments=(assignment("a", 2, "p2"),)))
    assert obeyed(log, "p2") == []
    assert obeyed(log, "p3") == ["a/all/0/0"]
    assert await ours_after(log) == ours.standing


async def ours_after(log: FakeLog) -> object:
    """What a planner finds in force that reads the journal now."""
    reader = journal(log)
    await reader.recover()
    return reader.standing
