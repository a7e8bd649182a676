"""One thing that `finecut doctor` looked at: how it is, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """How it is with something."""

    FINE = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """
    One thing looked at.

    Attributes:
        what: What was looked at.
        mark: How it is.
        found: What was found.
        do: What to do, if anything is to be done.
    """

    what: str
    mark: Mark
    found: str
    do: str = ""


def note(what: str, found: str, do: str) -> Finding:
    """Something that works and may be regretted."""
    return Finding(what=what, mark=Mark.NOTE, found=found, do=do)


def wrong(what: str, found: str, do: str) -> Finding:
    """Something that loses or stops something."""
    return Finding(what=what, mark=Mark.WRONG, found=found, do=do)
