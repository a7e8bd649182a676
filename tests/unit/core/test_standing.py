"""Decisions add up to what is in force, and tell others."""

from dataclasses import replace

import pytest

from schemas.codec import Codec
from schemas.records import DeadLife, Decision, Level, PackagerState, Packaging, Reason, Reject, Void
from schemas.topics import ASSIGNMENTS, PLANS, REJECTS, REPORTS, SCALING
from schemas.units import Msn, Ticks
from streams.core.decide import Projection, Standing, apply, decide, orphans, projections, whole
from streams.core.policy import Policy
from tests.builders_control import ControlPlane, a_heartbeat, a_period, a_period_end, a_report, beats, gops


def a_story() -> ControlPlane:
    plane = ControlPlane()
    beats(plane, "p1", "p2")
    plane.settle()
    plane.add("channels", a_period("news", idle_level=Level.PARTS), a_period("arts", idle_level=Level.PARTS), a_period("zoo"))
    plane.settle()
    plane.add("gops", *gops("news", count=9), *gops("arts", count=9))
    plane.add("heartbeats", a_heartbeat("p1", number=20, state=PackagerState.GONE))
    plane.settle()
    return plane


def test_a_whole_decision_restates_what_the_others_added_up_to() -> None:
    plane = a_story()
    restated = whole(plane.state, plane.standing, plane.policy, now=plane.now, code_version="test")
    after = apply(Standing.empty(0), restated)
    assert after == replace(plane.standing, number=restated.number, at_unix_ms=plane.now, whole_unix_ms=plane.now)
    assert apply(plane.standing, restated) == after


def test_decisions_survive_the_wire() -> None:
    codec = Codec()
    plane = a_story()
    standing = Standing.empty(0)
    for decision in plane.decisions:
        standing = apply(standing, codec.decode(codec.encode(decision)))
    assert standing == plane.standing


def test_a_decision_must_follow_the_last() -> None:
    plane = a_story()
    with pytest.raises(ValueError, match="does not follow"):
        apply(plane.standing, replace(plane.decisions[-1], number=plane.standing.number + 2))
    with pytest.raises(ValueError, match="pool"):
        apply(Standing.empty(1), plane.decisions[0])


def test_a_whole_decision_may_follow_what_is_missing_and_never_what_is_newer() -> None:
    plane = a_story()
    restated = whole(plane.state, plane.standing, plane.policy, now=plane.now, code_version="test")
    assert apply(plane.standing, replace(restated, number=restated.number + 3)).plans == plane.standing.plans
    with pytest.raises(ValueError, match="does not follow"):
        apply(plane.standing, replace(restated, number=plane.standing.number))


def test_lives_that_died_lately_stay_dead_however_many_they_are() -> None:
    plane = ControlPlane()
    for number in range(400):
        plane.add("heartbeats", a_heartbeat(f"p{number % 100}", life=f"l{number:03}", state=PackagerState.READY))
        plane.log.pass_ms(100)
    beats(plane, "q", count=24)
    plane.settle()
    assert len(plane.standing.dead) > 300
    plane.log.pass_ms(1_000)
    beats(plane, "q", count=8, start=24)
    made = plane.settle()
    assert not [dead for decision in made for dead in decision.dead], "the same lives die again and again"


def test_nothing_is_written_until_the_minute_is_over_and_then_everything() -> None:
    plane = a_story()
    plane.add("reports", a_report("news", msns=[0, 1]), a_report("arts", msns=[0, 1]))
    restate_ms = plane.policy.planner.restate_ms
    since = plane.standing.whole_unix_ms
    for number in range(30, 31 + restate_ms // 500):
        plane.add("heartbeats", a_heartbeat("p2", number=number))
        made = plane.settle()
        assert not made or made[0].whole
        plane.log.pass_ms(500)
    restated = [decision for decision in plane.decisions if decision.whole and decision.at_unix_ms > since]
    assert [decision.at_unix_ms - since for decision in restated] == [restate_ms]
    assert len(restated[0].assignments) == 2


def test_projections_carry_the_number_of_their_decision_even_when_restated() -> None:
    plane = a_story()
    restated = whole(plane.state, plane.standing, plane.policy, now=plane.now, code_version="test")
    sent = projections(restated, plane.standing)
    assert {projection.record.decision for projection in sent if projection.record} == {restated.number}
    assert [(p.topic, p.key) for p in sent] == [
        (PLANS, "arts"), (PLANS, "news"), (PLANS, "zoo"),
        (REPORTS, "arts"), (REPORTS, "news"),
        (ASSIGNMENTS, "arts/all/0/0"), (ASSIGNMENTS, "news/all/0/0"),
        (SCALING, "0"),
    ]  # fmt: skip
    assert all(not p.record.cause for p in sent if isinstance(p.record, Packaging))


def test_what_ended_gets_tombstones_also_when_the_decision_is_whole() -> None:
    plane = a_story()
    before = plane.standing
    plane.add("channels", a_period_end("news", next_msn=2))
    plane.add("reports", a_report("news", msns=range(2)))
    plane.log.pass_ms(plane.policy.planner.restate_ms)
    decision = plane.decide()
    assert isinstance(decision, Decision)
    assert decision.whole
    assert (decision.ended_channels, decision.ended_slices) == (("news",), ("news/all/0/0",))
    tombstones = {(p.topic.title, p.key) for p in projections(decision, before) if p.record is None}
    assert tombstones == {("plans", "news"), ("assignments", "news/all/0/0")}


def test_a_life_that_is_declared_dead_is_told_so_once() -> None:
    plane = a_story()
    died = DeadLife(packager_id="p1", life="f00d", at_unix_ms=plane.now, reason=Reason.LATE)
    decision = Decision(
        pool=0, number=plane.standing.number + 1, at_unix_ms=plane.now, whole=False, inputs=(), policy="", code_version="", lands_at=0,
        dead=(died,),
    )  # fmt: skip
    assert projections(decision, plane.standing) == [Projection(topic=ASSIGNMENTS, key="p1/f00d", record=None)]
    after = apply(plane.standing, decision)
    restated = whole(plane.state, after, plane.policy, now=plane.now, code_version="test")
    assert restated.dead[-1] == died
    assert "p1/f00d" not in {projection.key for projection in projections(restated, after)}


def test_what_no_packager_could_make_is_told_among_the_rejects_once() -> None:
    plane = a_story()
    number = plane.standing.number + 1
    void = Void(channel="news", period=0, track="v0", msn=Msn(1), start_ticks=Ticks(0), duration_ticks=Ticks(1), decision=number,
                reason=Reason.FAILED_THRICE, media_partition=3, first_offset=40, until_offset=52)  # fmt: skip
    decision = Decision(
        pool=0, number=number, at_unix_ms=plane.now, whole=True, inputs=(), policy="", code_version="", lands_at=0,
        voids=(void, replace(void, msn=Msn(2), reason=Reason.LATE), replace(void, msn=Msn(0), decision=number - 1)),
    )  # fmt: skip
    (told,) = [p.record for p in projections(decision, plane.standing) if p.topic is REJECTS]
    assert isinstance(told, Reject)
    assert (told.source_topic, told.source_partition, told.source_offset, told.source_key) == ("media", 3, 40, b"news")
    assert "segment 1 of news/0/v0, offsets 40 to before 52" in told.error


def test_what_a_crash_left_in_a_topic_is_an_orphan() -> None:
    plane = a_story()
    keys = ["news/all/0/0", "old/all/0/0"]
    assert [(p.key, p.record) for p in orphans(ASSIGNMENTS, keys, plane.standing)] == [("old/all/0/0", None)]


def test_a_decision_is_made_again_from_the_policy_it_names() -> None:
    plane = a_story()
    for decision in plane.decisions[1:]:
        assert Policy.from_json(decision.policy) == plane.policy
    again = ControlPlane(Policy.from_json(plane.decisions[0].policy))
    assert decide(again.state, again.standing, again.policy, now=plane.decisions[0].at_unix_ms, code_version="test", cause=None)


def test_a_policy_with_a_wrong_key_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown section granulation"):
        Policy.from_json('{"granulation":{}}')
    with pytest.raises(ValueError, match="idle_millis"):
        Policy.from_json('{"granularity":{"idle_millis":3}}')
