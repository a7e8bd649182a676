"""How a run stands now, and that this does not grow with the time it lasts."""

import pickle
from dataclasses import replace

from infra.present import RECENT_MAX, Present
from schemas import topics
from schemas.records import DeadLife, Decision, Heartbeat, Load, PackagerState, Reason
from schemas.units import Ms, UnixMs
from streams.replay.entries import Entry
from tests.unit.infra.test_tally import ENDED, entry, given, parts, period, report, reports


def present(*entries: Entry) -> Present:
    made = Present()
    for each in entries:
        made.absorb(each)
    return made


def beat(name: str, state: PackagerState = PackagerState.READY, life: str = "l") -> Entry:
    capacity = Load(cores=1.0)
    record = Heartbeat(packager_id=name, life=life, state=state, number=1, interval_ms=Ms(500), capacity=capacity, use=Load(), slices=())
    return entry(record, topic=topics.HEARTBEATS, key=name)


def death(*names: str) -> Entry:
    dead = tuple(DeadLife(packager_id=name, life="l", at_unix_ms=UnixMs(0), reason=Reason.PACKAGER_DEAD) for name in names)
    decision = Decision(pool=0, number=1, at_unix_ms=UnixMs(0), whole=False, inputs=(), policy="", code_version="", dead=dead)
    return entry(decision, topic=topics.DECISIONS)


def assigned(epoch: int, packager: str) -> Entry:
    return entry(given(epoch, packager), topic=topics.ASSIGNMENTS, key="a/all/0/0", at=epoch)


LIVE = entry(period(), topic=topics.CHANNELS, key="a/0")


def test_a_segment_counts_once_however_often_it_is_reported() -> None:
    made = present(
        LIVE, *(entry(reports(report(msn, track), packager=p)) for msn in (3, 4, 3) for track in ("v0", "a0") for p in ("p", "q"))
    )
    assert made.segments_out("a") == 4


def test_a_move_is_told_once_by_the_record_that_makes_it() -> None:
    made = Present()
    moves = [made.absorb(each) for each in (assigned(1, "p1"), assigned(1, "p1"), assigned(2, "p1"), assigned(3, "p2"), assigned(3, "p2"))]
    assert [(move.before, move.after) if move else None for move in moves] == [None, None, None, (("p1", "l"), ("p2", "l")), None]


def test_packagers_that_left_or_died_are_not_there_even_if_a_last_heartbeat_comes_late() -> None:
    made = present(beat("p1"), beat("p2"), beat("p3"), beat("p1", PackagerState.GONE), death("p2"), beat("p2"))
    assert set(made.heartbeats) == {"p3"}
    made.absorb(beat("p2", life="next"))
    assert set(made.heartbeats) == {"p2", "p3"}


def test_a_channel_that_ended_may_begin_anew_and_is_gone_with_its_configuration() -> None:
    made = present(LIVE, ENDED, entry(reports(report(1))))
    assert (made.channels, made.ended) == (("a",), {"a"})
    made.absorb(entry(replace(period(), period=1), topic=topics.CHANNELS, key="a/1"))
    assert made.ended == set()
    made.absorb(entry(None, topic=topics.CHANNELS, key="a/0"))
    assert made.channels == ("a",)
    made.absorb(entry(None, topic=topics.CHANNELS, key="a/1/end"))
    made.absorb(entry(None, topic=topics.CHANNELS, key="a/1"))
    assert not made.channels
    assert made.segments_out("a") == 0


def test_what_is_held_does_not_grow_with_the_length_of_a_run() -> None:
    made = present(LIVE)
    sizes = []
    for n in range(6 * RECENT_MAX):
        for each in (entry(reports(report(n))), entry(parts("p", n, n)), assigned(n, f"p{n % 3}"), beat(f"p{n}"), death(f"p{n}")):
            made.absorb(each)
        sizes.append(len(pickle.dumps(made)) if n % RECENT_MAX == 0 else 0)
    assert max(sizes[5 * RECENT_MAX :]) <= 1.2 * max(sizes[: 4 * RECENT_MAX])
    assert made.segments_out("a") == 6 * RECENT_MAX
