"""The fold of facts into what can be watched."""

from dataclasses import replace
from itertools import islice

from packager.manifest.known import ALL, Reading
from packager.manifest.presentation import View
from packager.manifest.presentations import Presentations
from schemas.records import Level, Outcome, Period, Reason
from schemas.units import UnixMs
from tests import facts


def fold(*records: object, reading: Reading = ALL) -> Presentations:
    presentations = Presentations(reading)
    for record in records:
        presentations.apply(record)
    return presentations


def view(presentations: Presentations, channel: str = "c1") -> View:
    held = presentations.get(channel)
    assert held is not None
    found = held.view()
    assert found is not None
    return found


def numbers(presentations: Presentations) -> list[int]:
    held = presentations.get("c1")
    found = held.view() if held else None
    return [segment.msn for segment in found.segments] if found else []


def reported(period: Period, msn: int, first_gop: int, length: int, *tracks: str, outcome: Outcome = Outcome.PUBLISHED) -> object:
    made = [t for t in period.tracks if not tracks or t.track in tracks]
    return facts.tell(period, (facts.report(period, t, msn, first_gop, length, outcome) for t in made))


def test_segments_are_listed_from_the_start_without_a_gap() -> None:
    period = facts.period()
    assert numbers(fold(period, facts.start(from_msn=1), *facts.run(period, [2, 2, 4]))) == [1, 2]


def test_nothing_is_listed_before_a_start() -> None:
    period = facts.period()
    assert numbers(fold(period, *facts.run(period, [2, 2]))) == []


def test_nothing_is_listed_after_a_stop() -> None:
    period = facts.period()
    assert numbers(fold(period, facts.start(), *facts.run(period, [2, 2]), facts.stop())) == []


def test_what_was_published_before_a_stop_counts_again_after_the_next_start() -> None:
    period = facts.period()
    records = (period, facts.start(), *facts.run(period, [2, 2, 2]))
    assert numbers(fold(*records, facts.stop(), facts.start(from_msn=1, decision=3))) == [1, 2]


def test_a_segment_waits_for_all_tracks() -> None:
    period = facts.period()
    presentations = fold(period, facts.start(level=Level.SEGMENTS), reported(period, 0, 0, 2, "v0", "a0"))
    assert numbers(presentations) == []
    presentations.apply(reported(period, 0, 0, 2, "v1"))
    assert numbers(presentations) == [0]


def test_a_later_segment_waits_for_an_earlier_one() -> None:
    period = facts.period()
    presentations = fold(period, facts.start(level=Level.SEGMENTS), reported(period, 1, 2, 2))
    assert numbers(presentations) == []
    presentations.apply(reported(period, 0, 0, 2))
    assert numbers(presentations) == [0, 1]


def test_a_failure_lists_nothing() -> None:
    period = facts.period()
    assert numbers(fold(period, facts.start(level=Level.SEGMENTS), reported(period, 0, 0, 2, outcome=Outcome.FAILED))) == []


def test_the_first_of_published_and_void_wins() -> None:
    period = facts.period()
    v0 = period.tracks[0]
    lost = fold(period, facts.start(level=Level.SEGMENTS), facts.void(period, v0, 0, 0, 2), reported(period, 0, 0, 2))
    made = fold(
        period,
        facts.start(level=Level.SEGMENTS),
        reported(period, 0, 0, 2, "v0"),
        facts.void(period, v0, 0, 0, 2),
        reported(period, 0, 0, 2),
    )
    assert view(lost).segments[0].tracks["v0"].is_void
    assert not view(lost).segments[0].tracks["v1"].is_void
    assert not view(made).segments[0].tracks["v0"].is_void


def test_a_segment_waits_for_the_announcement_of_its_parts() -> None:
    period = facts.period()
    records = list(facts.run(period, [2]))
    presentations = fold(period, facts.start(), records[-1], *records[:3])
    assert numbers(presentations) == []
    assert view(presentations).open_count == 3
    presentations.apply(records[3])
    assert numbers(presentations) == [0]


def test_parts_that_never_come_are_not_waited_for_beyond_three_targets() -> None:
    period = facts.period()
    presentations = fold(period, facts.start(), *[r for r in facts.run(period, [4, 4, 4]) if type(r).__name__ == "Reports"])
    assert numbers(presentations) == []
    presentations.apply(reported(period, 3, 12, 4))
    assert numbers(presentations) == [0]


def test_parts_of_the_open_segment_are_in_step() -> None:
    period = facts.period()
    v0, v1, a0 = period.tracks
    presentations = fold(period, facts.start(), *facts.run(period, [1]))
    presentations.apply(facts.announce(period, (facts.part(period, t, 1, 1, 1, 0) for t in (v0, v1))))
    assert view(presentations).open_count == 0
    presentations.apply(facts.announce(period, [facts.part(period, a0, 1, 1, 1, 0)]))
    assert view(presentations).open_count == 1


def test_the_hint_names_the_next_part() -> None:
    period = facts.period()
    presentations = fold(period, facts.start(), *facts.run(period, [1]), *islice(facts.run(period, [1], first_gop=1, first_msn=1), 1))
    assert view(presentations).hints["v0"] == f"c1/0/v0/{facts.part(period, period.tracks[0], 1, 1, 1, 1).start_ticks}.part.m4s"


def test_after_a_period_the_hint_names_the_next_ones_first_part() -> None:
    first, second = facts.period(), facts.period(number=1, start_ms=2_000, first_msn=1)
    presentations = fold(first, facts.start(), *facts.run(first, [2]))
    assert view(presentations).hints["v0"].startswith("c1/0/v0/")
    presentations.apply(facts.period_end(first, gops=2, next_msn=1))
    assert view(presentations).hints["v0"].startswith("c1/0/v0/")  # nothing better is known
    presentations.apply(second)
    assert view(presentations).hints["v0"] == f"c1/1/v0/{second.tracks[0].start_ticks}.part.m4s"


def test_the_window_follows_media_time_and_not_a_clock() -> None:
    period = facts.period(time_shift_ms=24_000)
    presentations = fold(period, facts.start(), *facts.run(period, [4] * 20))
    listed = view(presentations).segments
    assert [s.msn for s in listed] == list(range(14, 20))
    assert listed[-1].end_ms - listed[0].start_ms >= 24_000


def test_restated_starts_change_nothing() -> None:
    period = facts.period()
    presentations = fold(period, facts.start(), *facts.run(period, [2, 2]))
    before = view(presentations)
    presentations.apply(facts.start(decision=8, cause=""))
    assert view(presentations).segments == before.segments


def test_an_older_decision_is_ignored() -> None:
    period = facts.period()
    assert numbers(fold(period, facts.start(decision=5), *facts.run(period, [2]), facts.stop(decision=4))) == [0]


def since(ms: int) -> Reading:
    """Parts and reports are read from so long after the start of the first period on; reading began after all of it."""
    return Reading(from_unix_ms=UnixMs(facts.ZERO + ms), began_unix_ms=UnixMs(facts.ZERO + 10_000_000))


def test_an_origin_that_begins_late_lists_what_the_others_do() -> None:
    period = facts.period(time_shift_ms=24_000)
    records = list(facts.run(period, [2] * 40))
    early = fold(period, facts.start(), *records)
    late = fold(period, facts.start(decision=7, cause=""), *records[-5 * 18 + 2 :], reading=since(45_000))
    assert view(late).segments == view(early).segments


def test_an_origin_does_not_wait_for_a_track_that_was_reported_before_it_began_to_read() -> None:
    period = facts.period()
    rest = [reported(period, msn, 2 * msn, 2) for msn in range(1, 4)]
    restated = facts.start(level=Level.SEGMENTS, cause="")
    late = fold(period, restated, reported(period, 0, 0, 2, "a0"), *rest, reading=since(2_100))
    assert numbers(late) == [2, 3]


def test_an_origin_that_begins_late_waits_where_the_others_wait() -> None:
    period = facts.period()
    rest = [reported(period, msn, 2 * msn, 2) for msn in (1, 2, 4)]
    restated = facts.start(level=Level.SEGMENTS, cause="")
    late = fold(period, restated, reported(period, 0, 0, 2, "a0"), reported(period, 3, 6, 2, "a0"), *rest, reading=since(2_100))
    assert numbers(late) == [2]
    late.apply(reported(period, 3, 6, 2))
    assert numbers(late) == [2, 3, 4]


def test_an_origin_lists_nothing_that_may_have_been_declared_lost_before_it_began_to_read() -> None:
    period = facts.period()
    rest = [reported(period, msn, 2 * msn, 2) for msn in range(1, 4)]
    late = fold(period, facts.start(level=Level.SEGMENTS, cause=""), reported(period, 0, 0, 2), *rest, reading=since(2_100))
    assert numbers(late) == [2, 3]


def test_what_is_made_late_is_listed_if_it_comes_before_anything_was_shown() -> None:
    period = facts.period()
    announced = [facts.announce(period, [facts.part(period, period.tracks[0], msn, 2 * msn, 2, 0)]) for msn in (3, 1)]
    late = fold(period, facts.start(level=Level.SEGMENTS, cause=""), announced[0], reading=since(0))
    assert numbers(late) == []
    late.apply(announced[1])
    for msn in (2, 1, 3):
        late.apply(reported(period, msn, 2 * msn, 2))
    assert numbers(late) == [1, 2, 3]


def test_what_starts_while_an_origin_reads_begins_at_its_own_number_whatever_is_reported_first() -> None:
    period = facts.period()
    reading = Reading(from_unix_ms=UnixMs(facts.ZERO - 60_000), began_unix_ms=facts.ZERO)
    begun = replace(facts.start(level=Level.SEGMENTS, cause=""), since_unix_ms=facts.ZERO)
    held = fold(period, begun, reported(period, 1, 2, 2), reading=reading)
    assert numbers(held) == []
    held.apply(reported(period, 0, 0, 2))
    assert numbers(held) == [0, 1]


def test_an_origin_that_knows_of_nothing_new_lists_nothing() -> None:
    period = facts.period()
    late = fold(period, facts.start(level=Level.SEGMENTS, cause=""), reported(period, 3, 6, 2, "a0"), reading=since(60_000))
    assert numbers(late) == []
    late.apply(facts.announce(period, [facts.part(period, period.tracks[0], 30, 60, 2, 0)]))
    late.apply(reported(period, 30, 60, 2))
    assert numbers(late) == [30]


def test_the_end_of_a_channel_leaves_its_last_segments_up() -> None:
    period = facts.period()
    presentations = fold(
        period, facts.start(), *facts.run(period, [2, 2]), facts.period_end(period, gops=4, next_msn=2, channel_ended=True)
    )
    presentations.apply(facts.stop(from_msn=2, reason=Reason.CHANNEL_ENDED))
    assert view(presentations).is_ended
    assert view(presentations).hints == {}
    assert numbers(presentations) == [0, 1]


def test_a_channel_whose_records_are_deleted_is_gone() -> None:
    presentations = fold(facts.period())
    presentations.forget("c1", 0, is_end=False)
    assert presentations.get("c1") is None


def test_memory_is_bounded_while_a_channel_is_off() -> None:
    period = facts.period()
    presentations = fold(period, *facts.run(period, [1] * 400))
    held = presentations.get("c1")
    assert held is not None
    held.view()
    assert len(held._facts) <= 40
    assert len(held._parts) <= 40


def test_blocking_directives_are_judged_by_what_is_listed() -> None:
    period = facts.period()
    presentations = fold(period, facts.start(), *facts.run(period, [2, 1]), *islice(facts.run(period, [2], first_gop=3, first_msn=2), 1))
    now = view(presentations)
    assert now.has(1, None)
    assert not now.has(2, None)
    assert now.has(1, 1)
    assert now.has(1, 2)  # beyond the last part of a finished segment: the first of the next
    assert now.has(2, 0)
    assert not now.has(2, 1)
    assert not now.has(3, 0)
