"""What of a channel is to be cut: of which segments, which tracks, in which turn, with parts or without."""

from dataclasses import dataclass, replace

from schemas.records import Assignment, Level
from schemas.units import Msn


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """
    What of a channel is to be cut.

    Attributes:
        tracks: Tracks wanted; the others only say how far the channel is.
        from_msn: First segment.
        until_msn: First segment no longer wanted; absent while open-ended.
        turn: Segments whose number modulo ``turns`` is this are wanted.
        turns: Holders that take turns.
        parts: Whether parts are wanted, or whole segments alone.
        before: What is wanted of the segments before ``from_msn``: the rest of the work that this one follows; absent: nothing.
    """

    tracks: frozenset[str]
    from_msn: Msn
    until_msn: Msn | None = None
    turn: int = 0
    turns: int = 1
    parts: bool = True
    before: "Scope | None" = None

    @classmethod
    def of(cls, assignment: Assignment) -> "Scope":
        """The scope that an assignment gives."""
        return cls(
            tracks=frozenset(assignment.tracks),
            from_msn=assignment.from_msn,
            until_msn=assignment.until_msn,
            turn=assignment.turn,
            turns=assignment.turns,
            parts=assignment.level is Level.PARTS,
        )

    @property
    def first_msn(self) -> Msn:
        """First segment of which anything is wanted."""
        return self.before.first_msn if self.before else self.from_msn

    @property
    def all_tracks(self) -> frozenset[str]:
        """Tracks wanted of any segment."""
        return self.tracks | self.before.all_tracks if self.before else self.tracks

    def at(self, msn: int) -> "Scope":
        """The scope that a segment falls under."""
        return self.before.at(msn) if self.before and msn < self.from_msn else self

    def wants(self, track: str, msn: int) -> bool:
        """
        Whether a segment of a track is to be made.

        >>> Scope(tracks=frozenset({"v0"}), from_msn=Msn(4), until_msn=Msn(9), turn=1, turns=2).wants("v0", 5)
        True
        """
        scope = self.at(msn)
        within = scope.from_msn <= msn and (scope.until_msn is None or msn < scope.until_msn)
        return within and msn % scope.turns == scope.turn and track in scope.tracks

    def wants_parts(self, msn: int) -> bool:
        """Whether the parts of a segment are to be made, too."""
        return self.at(msn).parts

    def is_like(self, other: "Scope") -> bool:
        """Whether both want the same of a segment that lies within both."""
        return (self.tracks, self.turn, self.turns, self.parts) == (other.tracks, other.turn, other.turns, other.parts)

    def limited(self, until_msn: Msn) -> "Scope":
        """
        What of it lies before a segment.

        >>> Scope(tracks=frozenset({"v0"}), from_msn=Msn(4)).limited(Msn(7)).until_msn
        7
        """
        until = until_msn if self.until_msn is None else min(until_msn, self.until_msn)
        return replace(self, until_msn=until, before=self.before and self.before.limited(until_msn))

    def following(self, held: "Scope", *, next_msn: Msn) -> "Scope":
        """
        It, after the rest of another.

        Args:
            held: The scope in force until here.
            next_msn: The segment in hand: what lies before it is done.

        >>> parts, whole = (Scope(tracks=frozenset({"v0"}), from_msn=Msn(n), parts=n > 0) for n in (8, 0))
        >>> both = parts.following(whole, next_msn=Msn(6))
        >>> [both.wants_parts(msn) for msn in (7, 8)], both.wants("v0", 7)
        ([False, True], True)
        """
        if next_msn >= self.from_msn:
            return self
        rest = held.before and held.from_msn > next_msn and held.before
        return replace(self, before=replace(held, before=rest or None).limited(self.from_msn))
