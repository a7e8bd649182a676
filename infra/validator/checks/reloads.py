"""What must hold of one HLS media playlist from one reload to the next (rules 1, 3, 4, 5, 8, 13, 17, 19, 20, 21, 39)."""

from collections.abc import Iterator
from itertools import pairwise

from infra.validator.evidence import Evidence, Look
from infra.validator.findings import Finding, Limits
from infra.validator.playlist import Media, Part, Segment, unix_ms

MS_S = 0.001


def _finding(look: Look[Media], rule: int, what: str, expected: object, seen: object) -> Finding:
    return Finding(rule=rule, url=look.content.url, what=what, expected=str(expected), seen=str(seen), at_ms=look.answer.done_ms)


def _constants(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.playlists.values():
        first = looks[0].content
        for look in looks[1:]:
            now = look.content
            if now.target != first.target:
                yield _finding(look, 1, "EXT-X-TARGETDURATION changed", first.target, now.target)
            if now.part_target_s != first.part_target_s:
                yield _finding(look, 8, "PART-TARGET changed", first.part_target_s, now.part_target_s)
            if now.control != first.control:
                yield _finding(look, 8, "EXT-X-SERVER-CONTROL changed", first.control, now.control)


def _facts(segment: Segment) -> tuple[tuple[int, str, object], ...]:
    """What may never change of a segment: (rule, what, value)."""
    return (
        (3, "URI of a media sequence number changed", segment.url),
        (3, "EXTINF of a media sequence number changed", segment.duration_s),
        (3, "EXT-X-MAP of a media sequence number changed", segment.map_url),
        (19, "PROGRAM-DATE-TIME of a media sequence number changed", segment.start_ms),
        (20, "discontinuity number of a media sequence number changed", segment.discontinuity),
        (21, "EXT-X-GAP of a media sequence number changed", segment.is_gap),
    )


def _immutable(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for url, looks in evidence.playlists.items():
        known = evidence.segments(url)
        for look in looks:
            for segment in look.content.segments:
                if (first := known[segment.msn]) is segment:
                    continue
                for (rule, what, before), (*_same, after) in zip(_facts(first), _facts(segment), strict=True):
                    # A playlist that begins with a segment says its time only from its own tag; a first break is told by a number.
                    if before != after and not (rule == 19 and (before is None or after is None)):
                        yield _finding(look, 17 if look.is_delta else rule, what, f"{before} at {segment.msn}", after)
        named: dict[str, int] = {}
        for msn, segment in sorted(known.items()):
            if named.setdefault(segment.url, msn) != msn:
                yield _finding(looks[-1], 39, "an object under two media sequence numbers", f"{segment.url} at {named[segment.url]}", msn)


def _sequence(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.playlists.values():
        for before, look in pairwise(looks):
            old, new = before.content, look.content
            if look.answer.sent_ms < before.answer.done_ms:
                continue  # asked for while the other was answered: their order is not known
            if new.first_msn < old.first_msn:
                yield _finding(look, 3, "EXT-X-MEDIA-SEQUENCE fell", f">= {old.first_msn}", new.first_msn)
            if new.edge < old.edge:
                yield _finding(look, 3, "a playlist went back", f"not before {old.edge}", new.edge)
            if new.discontinuity_sequence < old.discontinuity_sequence:
                yield _finding(
                    look, 20, "EXT-X-DISCONTINUITY-SEQUENCE fell", f">= {old.discontinuity_sequence}", new.discontinuity_sequence
                )
            if old.is_ended and look.digest != before.digest and not look.is_delta and not before.is_delta:
                yield _finding(look, 3, "a playlist changed after EXT-X-ENDLIST", "the same", "another")
            if new.first_msn > old.first_msn and not new.is_ended and new.listed_s < 3 * new.target_s - MS_S:
                yield _finding(look, 4, "a playlist shrank under 3 targets", f">= {3 * new.target_s:g} s", f"{new.listed_s:.3f} s")
            if old.is_ended and not new.is_ended:
                yield _finding(look, 3, "EXT-X-ENDLIST was taken back", "ended", "live")
            yield from _same_parts(look, old)


def _same_parts(look: Look[Media], old: Media) -> Iterator[Finding]:
    new = look.content
    lists = {s.msn: s.parts for s in new.segments} | {new.last_msn + 1: tuple(new.open_parts)}
    before = {s.msn: (s.parts, True) for s in old.segments} | {old.last_msn + 1: (tuple(old.open_parts), False)}
    for msn, (were, was_finished) in before.items():
        now = lists.get(msn)
        if not now or not were:
            continue
        kept = [_told(part) for part in now]
        old_ones = [_told(part) for part in were]
        # Parts may be added to an open segment and removed from an old one, at its head.
        is_same = kept[: len(old_ones)] == old_ones if not was_finished else old_ones[len(old_ones) - len(kept) :] == kept
        if not is_same:
            yield _finding(look, 17 if look.is_delta else 3, "listed parts changed", f"{old_ones} at {msn}", kept)


def _told(part: Part) -> tuple[str, float, bool, bool]:
    return part.url, part.duration_s, part.is_independent, part.is_gap


def _cadence(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    for looks in evidence.playlists.values():
        listed: tuple[int, int, int] | None = None  # number of the newest segment, its discontinuity, when it was seen first
        for before, look in pairwise(looks):
            old, new = before.content, look.content
            if listed is None:
                listed = old.last_msn, old.segments[-1].discontinuity if old.segments else 0, before.answer.done_ms
            if new.last_msn > listed[0]:
                known = evidence.segments(new.url)
                added, following = known[new.last_msn], known.get(new.last_msn + 1)
                # A reload that waits is answered when there is something new; another may come long after it.
                waits = "_HLS_msn" in look.answer.query
                took_ms = (look.answer.first_ms if waits else before.answer.first_ms) - listed[2]
                # A hole in the input is a new period, and nobody's delay; only the new one tells where the segment before it ends.
                is_same = added.discontinuity == listed[1] and (following is None or following.discontinuity == added.discontinuity)
                if is_same and took_ms > 1_500 * new.target_s + limits.jitter_ms:
                    expected, seen = f"<= {1.5 * new.target_s:g} s", f"{took_ms / 1_000:.2f} s before {new.last_msn}"
                    yield _finding(look, 5, "time to the next segment", expected, seen)
                listed = new.last_msn, added.discontinuity, look.answer.done_ms
        yield from _late_parts(looks, limits)
        yield from _silent_end(looks, listed, limits)


def _silent_end(looks: list[Look[Media]], listed: tuple[int, int, int] | None, limits: Limits) -> Iterator[Finding]:
    """A playlist to which nothing was added any more when the watch ended."""
    last = looks[-1]
    if listed is None or last.content.is_ended:
        return
    took_ms = last.answer.first_ms - listed[2]
    if took_ms > 1_500 * last.content.target_s + limits.jitter_ms:
        yield _finding(
            last,
            5,
            "no further segment",
            f"one within {1.5 * last.content.target_s:g} s",
            f"none for {took_ms / 1_000:.2f} s after {listed[0]}",
        )


def _late_parts(looks: list[Look[Media]], limits: Limits) -> Iterator[Finding]:
    newest = looks[0]
    for before, look in pairwise(looks):
        if look.content.edge <= newest.content.edge:
            continue
        old, new = newest.content, look.content
        waits = "_HLS_msn" in look.answer.query
        took_ms = (look.answer.first_ms if waits else before.answer.first_ms) - newest.answer.done_ms
        target_s = new.part_target_s
        is_same = old.open_discontinuity == new.open_discontinuity
        if target_s is not None and is_same and took_ms > 1_000 * target_s + limits.jitter_ms:
            yield _finding(look, 13, "time to the next part", f"<= {target_s:g} s", f"{took_ms / 1_000:.2f} s before {new.edge}")
        newest = look


def _discontinuities(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for url, looks in evidence.playlists.items():
        known = evidence.segments(url)
        for before, after in pairwise(known[msn] for msn in sorted(known)):
            if after.msn != before.msn + 1:
                continue
            breaks = after.discontinuity != before.discontinuity
            if after.map_url != before.map_url and not breaks:
                yield _finding(looks[-1], 20, "EXT-X-MAP changed without EXT-X-DISCONTINUITY", "a discontinuity", f"none at {after.msn}")
            if breaks and _is_needless(evidence, before, after):
                yield _finding(
                    looks[-1], 20, "EXT-X-DISCONTINUITY where nothing changes", "none: init, timestamps and time go on", after.msn
                )


def _is_needless(evidence: Evidence, before: Segment, after: Segment) -> bool:
    """Whether init segment, media time and wall time all go on over a discontinuity."""
    old, new = (evidence.inits.get(s.map_url or "") for s in (before, after))
    ends, begins = evidence.span_s(before.url), evidence.span_s(after.url)
    if old is None or new is None or ends is None or begins is None or old.digest != new.digest:
        return False
    if abs(begins[0] - ends[1]) > MS_S or before.start_ms is None or after.start_ms is None:
        return False
    return abs(after.start_ms - before.start_ms - before.duration_s * 1_000) <= 1.01


def _dateranges(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rules 3 and 33: what was said of a date range stays, and its time is one."""
    for looks in evidence.playlists.values():
        starts: dict[str, str] = {}
        for look in looks:
            for fields in look.content.dateranges:
                name, start = fields.get("ID", ""), fields.get("START-DATE", "")
                if not name or unix_ms(start) is None:
                    yield _finding(look, 33, "EXT-X-DATERANGE", "an ID and a START-DATE that is a time", fields)
                elif starts.setdefault(name, start) != start:
                    yield _finding(look, 3, "START-DATE of a date range changed", f"{starts[name]} of {name}", start)


CHECKS = (_constants, _immutable, _sequence, _cadence, _discontinuities, _dateranges)
