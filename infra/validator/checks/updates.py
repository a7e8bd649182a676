"""What must hold of an MPD from one reload to the next (rules 25, 27, 28, 30, 31)."""

from collections.abc import Iterator
from itertools import pairwise

from infra.validator.checks.dash import distinct, end_ms, finding
from infra.validator.evidence import Evidence, Look
from infra.validator.findings import Finding, Limits
from infra.validator.mpd import Mpd, Representation

Key = tuple[str, str, str]


def _ids(mpd: Mpd) -> dict[str, list[tuple[str, list[str]]]]:
    """Sets and representations of each period, in order."""
    return {p.id: [(s.attributes.get("id", ""), [r.key[2] for r in s.representations]) for s in p.sets] for p in mpd.periods}


def _members(mpd: Mpd) -> dict[Key, Representation]:
    return {r.key: r for p in mpd.periods for r in p.representations}


def _constants(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.mpds.values():
        starts: dict[str, object] = {}
        ids: dict[str, list[tuple[str, list[str]]]] = {}
        offsets: dict[str, float] = {}
        for look in distinct(looks):
            mpd, first = look.content, looks[0].content
            if mpd.attributes.get("availabilityStartTime") != first.attributes.get("availabilityStartTime"):
                was = first.attributes.get("availabilityStartTime")
                yield finding(look, 25, "availabilityStartTime changed", was, mpd.attributes.get("availabilityStartTime"))
            for period in mpd.periods:
                if starts.setdefault(period.id, period.start_s) != period.start_s:
                    yield finding(look, 25, "Period@start changed", f"{starts[period.id]} s of {period.id}", f"{period.start_s} s")
            for name, sets in _ids(mpd).items():
                if ids.setdefault(name, sets) != sets:
                    yield finding(look, 25, "ids or order of sets and representations changed", f"{ids[name]} in {name}", sets)
            for key, r in _members(mpd).items():
                if r.availability_offset_s is None:
                    continue
                # Shaka Player keeps the smallest it has seen.
                known = offsets.setdefault(key[2], r.availability_offset_s)
                if known != r.availability_offset_s:
                    yield finding(look, 31, "availabilityTimeOffset changed", f"{known} in {r.name}", r.availability_offset_s)


def _published(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.mpds.values():
        for before, look in pairwise(distinct(looks)):
            was, now = before.content.published_ms, look.content.published_ms
            if was is None or now is None or look.answer.sent_ms < before.answer.done_ms:
                continue
            if now < was:
                yield finding(
                    look, 25, "publishTime fell", before.content.attributes["publishTime"], look.content.attributes["publishTime"]
                )
            elif now == was and look.content.is_dynamic:
                yield finding(look, 25, "content changed and publishTime did not", "a later one", look.content.attributes["publishTime"])


def _entries(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.mpds.values():
        durations: dict[tuple[Key, int], int] = {}
        numbers: dict[tuple[Key, int], int] = {}
        for before, look in zip([None, *distinct(looks)], distinct(looks), strict=False):
            for r in _members(look.content).values():
                for entry in r.entries:
                    known = durations.setdefault((r.key, entry.time), entry.duration)
                    if known != entry.duration:
                        yield finding(look, 27, "S edited", f"d={known} at t={entry.time} in {r.name}", f"d={entry.duration}")
                    if r.uses_number and numbers.setdefault((r.key, entry.number), entry.time) != entry.time:
                        yield finding(
                            look,
                            28,
                            "time of a segment number changed",
                            f"{numbers[r.key, entry.number]} of {entry.number} in {r.name}",
                            entry.time,
                        )
            if before is not None and look.answer.sent_ms >= before.answer.done_ms:
                yield from _update(before, look)


def _update(before: Look[Mpd], look: Look[Mpd]) -> Iterator[Finding]:
    old, new = _members(before.content), _members(look.content)
    for key, was in old.items():
        now = new.get(key)
        if now is None or not was.entries:
            continue
        if not now.entries:
            continue
        times = {e.time for e in now.entries}
        missing = [e.time for e in was.entries if e.time not in times and e.time > now.entries[0].time]
        if missing:
            yield finding(look, 27, "S removed elsewhere than at the head", f"t={missing[0]} in {was.name}", "none")
        if now.entries[0].time < was.entries[0].time:
            yield finding(look, 27, "S put before the first", f"t>={was.entries[0].time} in {was.name}", f"t={now.entries[0].time}")
        dropped = sum(e.time < now.entries[0].time for e in was.entries)
        if was.uses_number and now.start_number != was.start_number + dropped:
            yield finding(look, 27, "startNumber", f"{was.start_number + dropped} in {was.name}", now.start_number)
    kept = [p.id for p in look.content.periods]
    gone = [p.id for p in before.content.periods if p.id not in kept]
    if gone and gone != [p.id for p in before.content.periods][: len(gone)]:
        yield finding(look, 27, "a period removed elsewhere than at the head", f"{gone}", kept)


def _window(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """Rules 27 and 30: what expired goes, and what the depth promises stays."""
    for looks in evidence.mpds.values():
        for before, look in zip([None, *looks], looks, strict=False):
            depth_s, mpd = look.content.seconds("timeShiftBufferDepth"), look.content
            longest_s = mpd.seconds("maxSegmentDuration") or 0.0
            if depth_s is None or not mpd.is_dynamic or mpd.is_ended:
                continue
            spans = [(end_ms(mpd, p, r, e), e, r) for p in mpd.periods for r in p.representations for e in r.entries[:1]]
            oldest = [(ends, e, r) for ends, e, r in spans if ends is not None]
            for ends, entry, r in oldest:
                # It may stay for a segment's length, and for the time that a late edge lags behind the clock.
                late_s = (look.answer.sent_ms - limits.jitter_ms - ends) / 1_000 - depth_s
                if late_s > 3 * longest_s:
                    yield finding(look, 27, "an expired S stays", f"gone {late_s:.1f} s ago", f"t={entry.time} in {r.name}")
            was = before.content if before is not None else None
            if was is not None and _first(was) != _first(mpd):
                listed_s = min(_listed_s(mpd).values(), default=0.0)
                if listed_s < depth_s - longest_s:
                    yield finding(look, 30, "less listed than timeShiftBufferDepth", f">= {depth_s:g} s", f"{listed_s:.2f} s")


def _first(mpd: Mpd) -> tuple[str, int] | None:
    return next(((p.id, r.entries[0].time) for p in mpd.periods for r in p.representations if r.entries), None)


def _listed_s(mpd: Mpd) -> dict[str, float]:
    """Length of what is listed of each representation, holes between periods included."""
    spans: dict[str, list[float]] = {}
    for period in mpd.periods:
        for r in period.representations:
            start_s = float(period.start_s or 0) - r.offset / r.timescale
            for entry in (*r.entries[:1], *r.entries[-1:]):
                spans.setdefault(r.key[2], []).extend(
                    (start_s + entry.time / r.timescale, start_s + (entry.time + entry.duration) / r.timescale)
                )
    return {name: max(ends) - min(ends) for name, ends in spans.items()}


CHECKS = (_constants, _published, _entries, _window)
