"""What players saw in a scenario: one row each, whether it is what is expected, and all rows as a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.players.stage import STUCK_S

# Shaka Player keeps about a second in these modes, and leaves out the last part of a segment that it asks for too late: told, not judged.
ADVISORY = ("shaka-ll", "shaka-ll-dash")
# A frame: anything longer between two periods is a hole, which players may wait at and jump over. Shaka Player jumps from up to half a
# second before it (its gapDetectionThreshold), however small it is.
HOLE_S = 0.04
JUMP_BEFORE_S = 0.75
# Shaka Player's word for an answer like 404: to the part that was hinted and that the end of a period or channel took back (media rule 14).
TAKEN_BACK, PART = 1001, ".part.m4s"
HEAD = (
    "scenario", "player", "start s", "played s", "stalls", "hitches", "jumps", "switches", "errors", "dropped", "latency s", "buffer s",
    "CMCD", "refused", "verdict",
)  # fmt: skip


def row(scenario: str, page: Mapping[str, Any], *, holes_s: Sequence[float] = (), at_least_s: float = 10.0) -> dict[str, Any]:
    """
    What a page saw, and the verdict: ``ok``, ``told`` (advisory, or as the holes explain), else what is wrong.

    Args:
        scenario: Its name.
        page: What play.mjs measured.
        holes_s: Seconds without content at each new period.
        at_least_s: What must have been played.
    """
    told = {key: value for key, value in page.items() if key not in {"page", "name"}}
    said = page.get("page") or {}
    judged = verdict(page, holes_s=holes_s, at_least_s=at_least_s)
    heard = {"join_s": said.get("startup_s"), "ended": said.get("ended")}
    return {"scenario": scenario, "player": page["name"], "verdict": judged, **heard, **told}


def verdict(page: Mapping[str, Any], *, holes_s: Sequence[float] = (), at_least_s: float = 10.0) -> str:
    """
    Whether a page saw what it should.

    >>> smooth = {"name": "hls.js", "started": True, "played_s": 30.0, "errors": [], "stalls": [], "jumps": [], "hitches": []}
    >>> verdict(smooth)
    'ok'
    >>> verdict(smooth | {"stalls": [{"seconds": 2.0}]})
    '1 stalls'
    >>> verdict(smooth | {"stalls": [{"seconds": 2.0}], "jumps": [{"seconds": 3.4}]}, holes_s=[3.0])
    'told'
    """
    if not page["started"]:
        return "never played"
    wrong = ["behind"] if page.get("behind") else []
    if page["played_s"] < at_least_s:
        wrong.append(f"played {page['played_s']} s")
    if any(is_fatal(page["name"], error) for error in page["errors"]):
        wrong.append("fatal error")
    holes, widest = sum(hole > HOLE_S for hole in holes_s), max(holes_s, default=0.0)
    if any(hitch["seconds"] >= STUCK_S + widest for hitch in page["hitches"]):
        wrong.append("stuck")
    uneven = {kind: len(page[kind]) for kind in ("stalls", "jumps") if page[kind]}
    # At a hole a player may stop before it and once more behind it.
    over_holes = len(page["jumps"]) <= holes and all(abs(jump["seconds"]) <= widest + JUMP_BEFORE_S for jump in page["jumps"])
    explained = page["name"] in ADVISORY or (len(page["stalls"]) <= 2 * holes and over_holes)
    if not explained:
        wrong += [f"{count} {kind}" for kind, count in uneven.items()]
    return ", ".join(wrong) or ("told" if uneven or page["errors"] else "ok")


def is_fatal(player: str, error: Mapping[str, Any] | str) -> bool:
    """Whether an error ended, or should not have come in, what a player plays; exceptions of a page always are."""
    if not isinstance(error, Mapping):
        return True
    is_taken_back = player in ADVISORY and error.get("code") == TAKEN_BACK and PART in error.get("text", "")
    return bool(error.get("fatal", True)) and not is_taken_back


def is_as_expected(row: Mapping[str, Any]) -> bool:
    """Whether nothing is wrong."""
    return row["verdict"] in {"ok", "told"}


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """All rows, readable."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if not row.get("started"):
        return (row["scenario"], row["player"], *["-"] * (len(HEAD) - 3), row["verdict"])
    asked, notes = row["asked"], row["errors"]
    fatal = sum(is_fatal(row["player"], error) for error in notes)
    cmcd = f"{100 * asked['with_cmcd'] // max(1, asked['media'])} % + {asked['events']}"
    refused = {**asked["refused"], **asked["failed"]}
    return (
        row["scenario"], row["player"], _number(row["join_s"]), f"{row['played_s']:.0f}",
        _times(row["stalls"]), _times(row["hitches"]), _times(row["jumps"]), str(row["switches_seen"]),
        f"{fatal} fatal, {len(notes) - fatal}" if notes else "0", f"{row['dropped_frames']}/{row['frames']}",
        f"{_number(row['latency_median_s'])} ({_number(row['latency_max_s'])})",
        f"{row['buffer_median_s']:.1f} ({row['buffer_min_s']:.1f})", cmcd,
        " ".join(f"{count} x {what}" for what, count in refused.items()) or "0", row["verdict"],
    )  # fmt: skip


def _times(found: Sequence[Mapping[str, float]]) -> str:
    return f"{len(found)} ({sum(abs(one['seconds']) for one in found):.1f} s)" if found else "0"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
