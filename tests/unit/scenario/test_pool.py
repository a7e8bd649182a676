"""A packager as a server: who is at the live edge goes first, what is left is for those who catch up, too little is shared by all."""

import pytest

from schemas.records import Assignment, Level, Reason
from schemas.units import Epoch, Msn
from streams.simulate.scenario.pool import Packager, Piece
from streams.simulate.scenario.timeline import Timeline


def a_piece(name: str, *, cores: float, done_ms: float, until_msn: int | None = None, ready_ms: float = 0.0) -> Piece:
    given = Assignment(
        slice_id=f"{name}/all/0", copy=0, epoch=Epoch(1), packager_id="p1", life="l1", channel=name, tracks=("v0",), turn=0, turns=1,
        level=Level.PARTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=1, reason=Reason.PLACED,
        until_msn=None if until_msn is None else Msn(until_msn),
    )  # fmt: skip
    return Piece(f"{name}/all/0/0", given, 0, Timeline(0.0, length_ms=4_000), cores, done_ms, ready_ms)


def a_packager(*pieces: Piece, cores: float = 1.0) -> Packager:
    held = {piece.key: piece for piece in pieces}
    return Packager(name="packager-1", life="l1", cores=cores, ordered_ms=0.0, ready_ms=0.0, pieces=held)


def test_a_slice_at_the_live_edge_follows_it() -> None:
    piece = a_piece("a", cores=0.5, done_ms=10_000.0)
    packager = a_packager(piece)
    packager.serve(10_000.0, 20_000.0, slice_cores=1.0)
    assert (piece.done_ms, piece.path, packager.used_core_ms) == (20_000.0, [], 5_000.0)


def test_a_backlog_is_caught_up_with_what_the_live_edge_leaves() -> None:
    follows, lags = a_piece("a", cores=0.5, done_ms=10_000.0), a_piece("b", cores=0.1, done_ms=2_000.0)
    packager = a_packager(follows, lags)
    packager.serve(10_000.0, 20_000.0, slice_cores=1.0)
    # 0.4 cores are left: 8 s of 0.1 cores take 2 s.
    assert follows.path == []
    assert lags.reached(12_000.0) == pytest.approx(12_000.0)
    assert lags.done_at(11_000.0) == pytest.approx(7_000.0)
    assert lags.done_ms == 20_000.0
    assert packager.used_core_ms == pytest.approx(5_000.0 + 10 * 100.0 + 800.0)


def test_too_few_cores_are_shared_by_all() -> None:
    pieces = [a_piece(name, cores=0.5, done_ms=10_000.0) for name in "abcd"]
    packager = a_packager(*pieces)
    packager.serve(10_000.0, 20_000.0, slice_cores=1.0)
    assert [piece.done_ms for piece in pieces] == [pytest.approx(15_000.0)] * 4
    assert packager.used_core_ms == pytest.approx(10_000.0)


def test_a_slice_uses_no_more_than_one_thread() -> None:
    piece = a_piece("a", cores=0.5, done_ms=0.0)
    a_packager(piece, cores=8.0).serve(10_000.0, 12_000.0, slice_cores=1.0)
    assert piece.done_ms == pytest.approx(4_000.0)


def test_a_slice_that_ends_is_done_at_its_end() -> None:
    piece = a_piece("a", cores=0.1, done_ms=0.0, until_msn=2)
    packager = a_packager(piece)
    packager.serve(10_000.0, 20_000.0, slice_cores=1.0)
    assert (piece.done_ms, piece.is_done) == (8_000.0, True)
    assert packager.used_core_ms == pytest.approx(800.0)


def test_nobody_works_before_the_handover() -> None:
    piece = a_piece("a", cores=0.1, done_ms=10_000.0, ready_ms=10_500.0)
    a_packager(piece).serve(10_000.0, 11_000.0, slice_cores=1.0)
    assert piece.reached(10_000.0) == pytest.approx(10_000.0)
    assert piece.done_at(10_500.0) == pytest.approx(10_000.0)
    assert piece.done_ms == 11_000.0


def test_who_was_killed_does_nothing() -> None:
    piece = a_piece("a", cores=0.1, done_ms=10_000.0)
    packager = a_packager(piece)
    packager.is_up = False
    packager.serve(10_000.0, 20_000.0, slice_cores=1.0)
    assert (piece.done_ms, packager.used_core_ms) == (10_000.0, 0.0)
