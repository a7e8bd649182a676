"""What the promises hold for kept, and what not."""

from dataclasses import replace

import pytest

from schemas.records import Assignment, DeadLife, Level, Queued, Reason
from schemas.units import Epoch, Msn, UnixMs
from streams.core.standing import Standing
from tests.sim.checks import waiting_alone

SLICE = "c0/all/0"
HELD = Assignment(
    slice_id=SLICE, copy=1, epoch=Epoch(1), packager_id="p1", life="a", channel="c0", tracks=("v0",), turn=0, turns=1, level=Level.PARTS,
    from_msn=Msn(0), until_msn=None, media_partition=0, first_offset=0, decision=1, reason=Reason.PLACED,
)  # fmt: skip


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize(
    ("held", "is_kept"),
    [
        ([], False),
        ([HELD], True),
        ([replace(HELD, life="dead")], False),
        ([replace(HELD, until_msn=Msn(9))], False),
        ([replace(HELD, hedges="p2")], False),
        ([replace(HELD, slice_id="c0/all/1of2")], False),
    ],
    ids=["nobody makes it", "another copy is made", "its holder is dead", "it ends", "it makes up for who is late", "another is made"],
)
def test_a_slice_may_wait_while_another_copy_of_it_is_made(held: list[Assignment], is_kept: bool, copy: int) -> None:
    waits = Queued(slice_id=SLICE, copy=copy, since_unix_ms=UnixMs(0), viewers_at_stake=0, full_count=3, unavailable_count=1)
    standing = replace(Standing.empty(0), queued={f"{SLICE}/{copy}": waits}, assignments={f"{a.slice_id}/{a.copy}": a for a in held})
    assert waiting_alone(standing, {"p1/a"}) == ([] if is_kept else [f"{SLICE}/{copy}"])
    died = replace(standing, dead={"p1/dead": DeadLife(packager_id="p1", life="dead", at_unix_ms=UnixMs(0), reason=Reason.PACKAGER_DEAD)})
    assert died.waiting_alone() == ([] if is_kept else [waits])
