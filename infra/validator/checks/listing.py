"""What each HLS media playlist must hold by itself (rules 1, 2, 4, 8, 9, 10, 11, 14, 17, 18, 19, 23)."""

from collections.abc import Iterator
from itertools import pairwise

from infra.validator.evidence import Evidence, Look
from infra.validator.findings import Finding, Limits
from infra.validator.playlist import Media, Part

MS = 0.001
ROUNDING_S = 0.0006
SKIP_VERSION, SKIP_DATERANGES_VERSION = 9, 10


def distinct_looks(evidence: Evidence) -> Iterator[Look[Media]]:
    """Looks at media playlists that differ from the one before."""
    for looks in evidence.playlists.values():
        yield from (look for before, look in zip([None, *looks], looks, strict=False) if before is None or look.digest != before.digest)


def _each(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    for look in distinct_looks(evidence):
        yield from _header(look, limits)
        yield from _durations(look)
        yield from _times(look)
        if look.content.is_low_latency:
            yield from _parts(look)
            yield from _edge(look)


def _finding(look: Look[Media], rule: int, what: str, expected: str, seen: str) -> Finding:
    return Finding(rule=rule, url=look.content.url, what=what, expected=expected, seen=seen, at_ms=look.answer.done_ms)


def _header(look: Look[Media], limits: Limits) -> Iterator[Finding]:
    found = look.content
    for problem in found.problems:
        yield _finding(look, 23, "a playlist that cannot be read whole", "RFC 8216bis section 4", problem)
    if found.target is None or not found.target.isdigit() or int(found.target) < 1:
        yield _finding(look, 1, "EXT-X-TARGETDURATION", "a whole number >= 1", str(found.target))
    if found.playlist_type is not None and not found.is_ended:
        yield _finding(look, 4, "EXT-X-PLAYLIST-TYPE in a live playlist", "none", found.playlist_type)
    if not found.is_low_latency and limits.needs_low_latency and not found.is_ended:
        yield _finding(look, 8, "no parts where low latency is asked for", "EXT-X-PART-INF and EXT-X-PART", "neither")
    hold_back = found.seconds("HOLD-BACK")
    if hold_back is not None and hold_back < 3 * found.target_s - MS:
        yield _finding(look, 9, "HOLD-BACK", f">= {3 * found.target_s:g}", f"{hold_back:g}")
    skip_until = found.seconds("CAN-SKIP-UNTIL")
    if skip_until is not None and skip_until < 6 * found.target_s - MS:
        yield _finding(look, 9, "CAN-SKIP-UNTIL", f">= {6 * found.target_s:g}", f"{skip_until:g}")
    if not found.is_low_latency:
        return
    if found.part_target_s is None:
        yield _finding(look, 8, "EXT-X-PART-INF", "there when parts are", "none")
        return
    part_hold_back = found.seconds("PART-HOLD-BACK")
    if part_hold_back is None:
        yield _finding(look, 8, "PART-HOLD-BACK", "there when parts are", "none")
    elif part_hold_back < 3 * found.part_target_s - MS:
        yield _finding(
            look, 9, "PART-HOLD-BACK", f">= {3 * found.part_target_s:g} (must be >= 2 parts, should be 3)", f"{part_hold_back:g}"
        )


def _durations(look: Look[Media]) -> Iterator[Finding]:
    found = look.content
    for segment in found.segments:
        # RFC 8216bis 4.4.3.1: the EXTINF duration, rounded to the nearest integer.
        if found.target_s and int(segment.duration_s + 0.5) > found.target_s:
            yield _finding(
                look, 2, "EXTINF longer than the target", f"<= {found.target_s:g} rounded", f"{segment.duration_s} at {segment.msn}"
            )
        if not segment.duration_s:
            yield _finding(look, 2, "a segment without duration", "EXTINF > 0", f"none at {segment.msn}")


def _times(look: Look[Media]) -> Iterator[Finding]:
    found = look.content
    if found.segments and not look.is_delta and found.segments[0].start_ms is None:
        yield _finding(look, 19, "EXT-X-PROGRAM-DATE-TIME", "from the first segment on", "none")
    for segment in found.segments:
        if segment.jump_ms is not None and abs(segment.jump_ms) > 1.01:
            yield _finding(
                look, 19, "PROGRAM-DATE-TIME against the durations before it", "within 1 ms", f"{segment.jump_ms:+.1f} ms at {segment.msn}"
            )


def _parts(look: Look[Media]) -> Iterator[Finding]:
    found = look.content
    target = found.part_target_s
    lists: list[tuple[int, tuple[Part, ...], bool]] = [(s.msn, s.parts, True) for s in found.segments if s.parts]
    lists.append((found.last_msn + 1, tuple(found.open_parts), False))
    for msn, parts, is_finished in lists:
        for index, part in enumerate(parts):
            if target is None:
                break
            if part.duration_s > target + ROUNDING_S:
                yield _finding(look, 10, "part longer than PART-TARGET", f"<= {target}", f"{part.duration_s} at {msn}.{index}")
            following = parts[index + 1] if index + 1 < len(parts) else None
            is_free = part.is_independent or part.is_gap or following is None or following.is_gap
            if not is_free and part.duration_s < 0.85 * target - ROUNDING_S:
                yield _finding(
                    look, 10, "part shorter than 85 % of PART-TARGET", f">= {0.85 * target:.3f}", f"{part.duration_s} at {msn}.{index}"
                )
        if not is_finished:
            continue
        segment = found.segments[msn - found.first_msn]
        total = sum(part.duration_s for part in parts)
        is_oldest = msn == lists[0][0]
        if abs(total - segment.duration_s) > MS and not (is_oldest and total < segment.duration_s):
            yield _finding(look, 11, "durations of parts against EXTINF", f"{segment.duration_s}", f"{total:.6f} at {msn}")
    if not found.target_s:
        return
    # Counted from the end: what lies there when the oldest segment with parts ends.
    behind = sum(part.duration_s for part in found.open_parts)
    for segment in reversed(found.segments):
        if segment.parts and behind > 3 * found.target_s + MS:
            yield _finding(
                look, 18, "EXT-X-PART far from the end", f"within 3 x {found.target_s:g} s", f"{behind:.2f} s before it, at {segment.msn}"
            )
            break
        behind += segment.duration_s


def _edge(look: Look[Media]) -> Iterator[Finding]:
    found = look.content
    kinds = [hint.get("TYPE", "") for hint in found.hints]
    if found.is_ended:
        if kinds:
            yield _finding(look, 14, "EXT-X-PRELOAD-HINT after the end", "none", ", ".join(kinds))
        return
    if kinds.count("PART") == 0:
        yield _finding(look, 14, "EXT-X-PRELOAD-HINT for the next part", "always there while live", f"none after {found.edge}")
    for kind in {k for k in kinds if kinds.count(k) > 1}:
        yield _finding(look, 14, "EXT-X-PRELOAD-HINT of one type", "one", f"{kinds.count(kind)} of {kind}")
    if found.ends_in_segment:
        yield _finding(look, 14, "the end of a low-latency playlist", "a part or a hint", "a segment's URI")


def _deltas(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for look in evidence.lone_deltas:
        yield _finding(
            look, 17, "a delta update of unknown segments", "skips what was listed before", f"{look.skipped} from {look.content.first_msn}"
        )
    for look in distinct_looks(evidence):
        if not look.is_delta:
            continue
        found = look.content
        wanted = SKIP_DATERANGES_VERSION if found.has_removed_dateranges else SKIP_VERSION
        if (found.version or 0) < wanted:
            yield _finding(look, 17, "EXT-X-VERSION of a delta update", f">= {wanted}", str(found.version))
        kept_s = sum(s.duration_s for s in found.segments[look.skipped :]) + sum(p.duration_s for p in found.open_parts)
        boundary = found.seconds("CAN-SKIP-UNTIL")
        if boundary is None:
            yield _finding(look, 17, "a delta update though none is offered", "CAN-SKIP-UNTIL", "none")
        elif kept_s < boundary - MS:
            yield _finding(
                look, 17, "a delta update skips what is newer than the skip boundary", f">= {boundary:g} s kept", f"{kept_s:.3f} s"
            )
        for before, after in pairwise(found.segments):
            if before.url == after.url:
                yield _finding(look, 17, "a segment twice after merging a delta update", "once", after.url)


def _several_skips(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.playlists.values():
        for look in looks:
            if look.skip_tags > 1:
                yield _finding(look, 17, "EXT-X-SKIP in one playlist", "at most one", str(look.skip_tags))


CHECKS = (_each, _deltas, _several_skips)
