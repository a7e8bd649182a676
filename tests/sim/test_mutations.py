"""Broken parts must be caught: a simulation that cannot fail proves nothing. Each part here breaks one law in one way."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from packager.boxes import check_chunk
from packager.cuts import CutPicture
from packager.cutter import CutPart, CutSegment, Scope
from packager.slicing import SliceCutter
from schemas.records import Assignment, Decision, Parts, Reports
from schemas.units import Epoch, Msn, Ticks, UnixMs
from streams.core import backlog, reshaping, voids
from streams.core.decide import Cause
from streams.core.progress import Progress
from streams.simulate.faults import Faults
from streams.simulate.log import Entry
from streams.simulate.origin import Origin
from streams.simulate.packager import Packager
from streams.simulate.planner import Planner
from streams.simulate.run import Cast, simulate
from tests.sim.checks import assert_promises
from tests.sim.test_promises import a_run

SEEDS = range(6)


class OwnBoundary(SliceCutter):
    """Ends parts one chunk early, wherever it began to read."""

    def feed(self, record, *, offset, durable_unix_ms, periods):  # type: ignore[no-untyped-def]
        cuts = super().feed(record, offset=offset, durable_unix_ms=durable_unix_ms, periods=periods)
        return tuple(replace(cut, pieces=cut.pieces[:-1]) if isinstance(cut, CutPart) and cut.index == 1 else cut for cut in cuts)


class PackagerWithItsOwnBoundary(Packager):
    def _cutter(self, assignment: Assignment) -> SliceCutter:
        return OwnBoundary(Scope.of(assignment), check=check_chunk)


class PackagerThatNamesByItsLife(Packager):
    """The same bytes under a name of its own: takeover leaves two of each."""

    def _name(self, cut: CutPart | CutSegment | CutPicture) -> str:
        return cut.name.replace("/v0/", f"/v0-{self.life[:4]}/")


class PackagerThatSkips(Packager):
    """Begins at the segment after the one it was given."""

    def _cutter(self, assignment: Assignment) -> SliceCutter:
        return SliceCutter(replace(Scope.of(assignment), from_msn=assignment.from_msn + 1), check=check_chunk)  # type: ignore[arg-type]


class PlannerThatReusesEpochs(Planner):
    def _decide(self, cause: Cause | None) -> Decision | None:
        decision = super()._decide(cause)
        return decision and replace(decision, assignments=tuple(replace(a, epoch=Epoch(1)) for a in decision.assignments))


class PlannerWithAClockOfItsOwn(Planner):
    """Decides for another time than it writes down."""

    def _now(self) -> UnixMs:
        return UnixMs(super()._now() + 3_000)

    def _decide(self, cause: Cause | None) -> Decision | None:
        decision = super()._decide(cause)
        return decision and replace(decision, at_unix_ms=super()._now())


class PlannerThatForgetsTheDead(Planner):
    """Never moves the work of who fell silent."""

    def _decide(self, cause: Cause | None) -> Decision | None:
        decision = super()._decide(cause)
        return None if decision and decision.dead else decision


class OriginThatListsUnpublished(Origin):
    """Takes a part for a sign that the next one is there as well."""

    def _fold(self, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, Parts):
            ahead = tuple(
                replace(part, index=part.index + 1, start_ticks=Ticks(part.start_ticks + part.duration_ticks)) for part in record.parts
            )
            self.presentations.add_parts(replace(record, parts=record.parts + ahead))
        super()._fold(entry)


class OriginThatEdits(Origin):
    """Is off by a frame or none, depending on who it is."""

    def _fold(self, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, Reports):
            segments = tuple(replace(s, duration_ticks=Ticks(s.duration_ticks + 512 * int(self.origin_id[1:]))) for s in record.segments)
            entry = replace(entry, record=replace(record, segments=segments))
        super()._fold(entry)


class PackagerOfOneTrack(Packager):
    """Makes the first track of a slice alone."""

    def _cutter(self, assignment: Assignment) -> SliceCutter:
        return SliceCutter(replace(Scope.of(assignment), tracks=frozenset(assignment.tracks[:1])), check=check_chunk)


def slices_that_begin_late(patch: pytest.MonkeyPatch) -> None:
    """A segment lies between the slices of two shapes."""
    begun: Any = vars(reshaping)["want_new"]
    patch.setattr(reshaping, "want_new", lambda scene, facts, shape, msn, *args, **more: begun(scene, facts, shape, msn + 1, *args, **more))


def ranges_with_gaps(patch: pytest.MonkeyPatch) -> None:
    """The last segment of what a slice was behind with is in no range."""
    cut = backlog._ranges

    def short(*args: Any) -> Any:
        return [replace(piece, until_msn=Msn((piece.until_msn or 0) - 1)) for piece in cut(*args)]

    patch.setattr(backlog, "_ranges", short)


def late_is_done(patch: pytest.MonkeyPatch) -> None:
    """What those who watch have given up is never made."""
    given_up = Progress.is_given_up

    def is_open(self: Progress, facts: Any, **work: Any) -> Any:
        for msn in made(self, facts, **work):
            if not any(given_up(self, facts.channel, msn, track.track) for track in facts.period.tracks):
                yield msn

    made = Progress.open_segments
    patch.setattr(Progress, "open_segments", is_open)


def late_too_soon(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(voids, "HOLD_BACK_TARGETS", 1)


RULES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "slices that begin late": slices_that_begin_late,
    "ranges with gaps": ranges_with_gaps,
    "what is late is never made": late_is_done,
    "late too soon": late_too_soon,
}

MUTANTS = {
    "packager with its own boundary": Cast(packager=PackagerWithItsOwnBoundary),
    "packager that names by its life": Cast(packager=PackagerThatNamesByItsLife),
    "packager that skips": Cast(packager=PackagerThatSkips),
    "planner that reuses epochs": Cast(planner=PlannerThatReusesEpochs),
    "planner with a clock of its own": Cast(planner=PlannerWithAClockOfItsOwn),
    "planner that forgets the dead": Cast(planner=PlannerThatForgetsTheDead),
    "origin that lists what is not published": Cast(origin=OriginThatListsUnpublished),
    "origin that edits": Cast(origin=OriginThatEdits),
}
# Runs in which channels are dealt finely and packagers are away for long.
FINE_SEEDS = (77, *range(1, 49, 4))
# Runs in which slices have several tracks.
WHOLE_SEEDS = (2, 4)


def run_all(cast: Cast) -> None:
    for seed in SEEDS:
        assert_promises(simulate(seed, packagers=4, channels=3, minutes=1, faults=Faults.all(), cast=cast))


def run_seeds(seeds: Iterable[int], cast: Cast | None = None) -> None:
    for seed in seeds:
        assert_promises(a_run(seed, cast))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_part_is_caught(name: str) -> None:
    with pytest.raises(AssertionError):
        run_all(MUTANTS[name])


def test_a_packager_that_makes_one_track_of_a_slice_is_caught() -> None:
    with pytest.raises(AssertionError):
        run_seeds(WHOLE_SEEDS, Cast(packager=PackagerOfOneTrack))


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_is_caught_though_each_decision_follows_from_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    RULES[name](monkeypatch)
    with pytest.raises(AssertionError):
        run_seeds(FINE_SEEDS)
