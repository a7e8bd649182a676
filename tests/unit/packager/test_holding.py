"""How a packager takes up, continues, changes and drops slices."""

from dataclasses import dataclass, replace

import pytest

from packager.boxes import check_chunk
from packager.cutter import Cut, CutFailed, CutPart, CutSegment, Scope
from packager.holding import Assigned, Died, Inbox, Withdrawn, Work
from packager.slicing import SliceCutter
from schemas.errors import RejectedError
from schemas.records import Assignment, Level, Reason
from schemas.units import Epoch, Msn, UnixMs
from tests.builders import make_chunks, make_period

KEY = "news/all/0/0"
PERIOD = make_period()
GIVEN = Assignment(
    slice_id="news/all/0", copy=0, epoch=Epoch(1), packager_id="p1", life="l1", channel="news", tracks=("v0", "a0"), turn=0, turns=1,
    level=Level.PARTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=1, reason=Reason.PLACED,
)  # fmt: skip


@dataclass
class Job:
    cut: CutPart | CutSegment | CutFailed


def take_up(assignment: Assignment) -> Work[Job]:
    return Work(key=KEY, assignment=assignment, cutter=SliceCutter(Scope.of(assignment), check=check_chunk))


def feed(work: Work[Job], *segments: int) -> list[Cut]:
    """Chunks of segments of that many GOPs; the cuts stay on their way to the store."""
    cuts = [
        cut
        for offset, chunk in enumerate(make_chunks(PERIOD, segments))
        for cut in work.cutter.feed(chunk, offset=offset, durable_unix_ms=UnixMs(0), periods={0: PERIOD})
    ]
    work.jobs.extend(Job(cut) for cut in cuts if isinstance(cut, CutPart | CutSegment | CutFailed))
    return cuts


def test_a_segment_that_the_store_refused_is_made_again_when_the_same_packager_gets_it_again() -> None:
    work = take_up(GIVEN)
    feed(work, 1, 1, 1)
    work.jobs.clear()
    again = replace(GIVEN, epoch=Epoch(2), decision=2, from_msn=Msn(1))
    assert not work.becomes(again)
    assert [c.msn for c in feed(take_up(again), 1, 1, 1) if isinstance(c, CutSegment)] == [1, 1, 2, 2]


def test_it_is_made_again_also_while_its_other_track_is_on_its_way() -> None:
    work = take_up(GIVEN)
    feed(work, 1, 1)
    while work.jobs[0].cut.msn < 1:
        work.jobs.popleft()
    assert work.next_msn == 1
    assert not work.becomes(replace(GIVEN, epoch=Epoch(2), decision=2, from_msn=Msn(1)))


def test_work_goes_on_when_the_same_epoch_is_said_again_or_given_an_end() -> None:
    work = take_up(GIVEN)
    feed(work, 1, 1)
    ended = replace(GIVEN, decision=5, until_msn=Msn(2))
    assert work.becomes(replace(GIVEN, decision=4))
    assert work.becomes(ended)
    assert work.assignment == ended
    work.jobs.clear()
    assert work.is_over


def test_work_begins_anew_when_it_is_to_read_something_else_or_was_stopped() -> None:
    work = take_up(GIVEN)
    assert not work.becomes(replace(GIVEN, media_partition=1))
    assert not work.becomes(replace(GIVEN, tracks=("v0",)))
    work.withdraw(None)
    assert work.is_over
    assert not work.becomes(GIVEN)


def test_what_lies_before_the_segment_that_another_goes_on_from_is_finished() -> None:
    work = take_up(GIVEN)
    feed(work, 1)
    work.withdraw(Msn(3))
    assert not work.is_stopped
    feed(work, 1, 1, 1)
    work.jobs.clear()
    assert work.is_over


def test_a_slice_with_nothing_open_is_left_at_once_by_who_drains() -> None:
    work, idle = take_up(GIVEN), take_up(GIVEN)
    feed(work, 2, 1)
    assert not work.cutter.held_bytes
    for offset, chunk in enumerate(make_chunks(PERIOD, (2,))[:5]):
        idle.cutter.feed(chunk, offset=offset, durable_unix_ms=UnixMs(0), periods={0: PERIOD})
    work.finish()
    idle.finish()
    assert work.is_stopped
    assert not idle.is_stopped
    assert idle.cutter.scope.until_msn == 1


def test_only_the_newest_word_on_a_slice_is_heard_and_only_its_holder_obeys() -> None:
    inbox = Inbox("p1", "l1")
    theirs = replace(GIVEN, packager_id="p2", decision=3, from_msn=Msn(7))
    assert inbox.fold(KEY, GIVEN) == Assigned(key=KEY, assignment=GIVEN)
    assert inbox.fold(KEY, theirs) == Withdrawn(key=KEY, from_msn=Msn(7))
    assert inbox.fold(KEY, replace(GIVEN, decision=2)) is None
    assert inbox.fold(KEY, replace(GIVEN, life="l0", decision=4)) is None
    assert inbox.fold(KEY, None) is None


def test_a_tombstone_of_a_stale_planner_ends_nothing_and_after_one_in_force_a_stale_assignment_begins_nothing() -> None:
    inbox = Inbox("p1", "l1")
    restated = replace(GIVEN, decision=8)
    inbox.fold(KEY, restated)
    assert inbox.fold(KEY, None, decision=7) is None
    assert inbox.fold(KEY, None, decision=9) == Withdrawn(key=KEY, from_msn=None)
    assert inbox.fold(KEY, restated) is None


def test_a_life_is_told_of_its_death_alone_whatever_it_holds() -> None:
    inbox = Inbox("p1", "l1")
    assert inbox.fold("p1/l0", None, decision=4) is None
    assert inbox.fold("p1/l1", None, decision=4) == Died()
    inbox.fold(KEY, replace(GIVEN, decision=5))
    assert inbox.fold("p1/l1", None, decision=4) == Died()


def test_a_record_of_another_kind_is_no_withdrawal() -> None:
    inbox = Inbox("p1", "l1")
    inbox.fold(KEY, GIVEN)
    with pytest.raises(RejectedError, match="a Period under the key news/all/0/0 is no assignment"):
        inbox.fold(KEY, PERIOD)
    assert inbox.fold(KEY, None) == Withdrawn(key=KEY, from_msn=None)


def test_progress_stays_at_a_segment_that_was_refused_until_it_is_given_again() -> None:
    work = take_up(GIVEN)
    feed(work, 1, 1, 1)
    work.jobs.clear()
    work.refuse(replace(GIVEN, epoch=Epoch(0)), Msn(0))
    assert work.progress.next_msn == 3
    work.refuse(GIVEN, Msn(1))
    work.refuse(GIVEN, Msn(2))
    assert work.progress.next_msn == 1
