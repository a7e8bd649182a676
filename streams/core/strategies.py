"""How a holder is picked among the packagers that can carry a slice: one interface, chosen by a setting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from schemas.records import Load
from streams.core.load import add, share


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """
    A packager that work can be given to.

    Attributes:
        packager_id: Name.
        life: Run.
        usable: What of its capacity is dealt out.
        used: What is dealt out already.
        held: Slices it holds.
    """

    packager_id: str
    life: str
    usable: Load
    used: Load = Load()
    held: int = 0

    def with_work(self, load: Load) -> "Seat":
        """The seat after one more slice."""
        return replace(self, used=add(self.used, load), held=self.held + 1)

    def share_with(self, load: Load) -> float:
        """Dominant share after one more slice."""
        return share(add(self.used, load), self.usable)


Pick = Callable[[Sequence[Seat], Load, str], Seat]
"""Feasible seats by id (never none), the slice's load, and the packager picked last to the one that takes the slice."""


def least_loaded(seats: Sequence[Seat], load: Load, last: str) -> Seat:
    """The seat whose dominant share stays lowest."""
    del last
    return min(seats, key=lambda seat: (seat.share_with(load), seat.packager_id))


def round_robin(seats: Sequence[Seat], load: Load, last: str) -> Seat:
    """The next seat after the one picked last, by id."""
    del load
    return next((seat for seat in seats if seat.packager_id > last), seats[0])


def weighted_round_robin(seats: Sequence[Seat], load: Load, last: str) -> Seat:
    """The seat with fewest slices for its cores; among equals the next after the one picked last."""
    del load
    return min(
        seats, key=lambda s: ((s.held + 1) / s.usable.cores if s.usable.cores else float("inf"), s.packager_id <= last, s.packager_id)
    )


STRATEGIES: dict[str, Pick] = {
    "least_loaded": least_loaded,
    "round_robin": round_robin,
    "weighted_round_robin": weighted_round_robin,
}
